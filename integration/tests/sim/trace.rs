//! What happened in one simulation, in order: hashed, its end kept for people; and the first rule that was broken.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};
use tokio::time::Instant;

/// Lines that a report of a violation shows.
const SHOWN: usize = 60;

#[derive(Clone)]
pub struct Trace(Arc<Mutex<Inner>>);

struct Inner {
    start: Instant,
    hash: u64,
    lines: u64,
    last: VecDeque<String>,
    print: bool,
    violation: Option<String>,
}

impl Trace {
    pub fn new(print: bool) -> Self {
        let (start, last) = (Instant::now(), VecDeque::new());
        Self(Arc::new(Mutex::new(Inner { start, hash: 0xcbf2_9ce4_8422_2325, lines: 0, last, print, violation: None })))
    }

    /// Something happened.
    pub fn note(&self, what: fmt::Arguments<'_>) {
        let mut inner = self.0.lock().unwrap();
        let line = format!("{:9.3} {what}", inner.start.elapsed().as_secs_f64());
        for byte in line.bytes() {
            inner.hash = (inner.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        inner.lines += 1;
        if inner.print {
            println!("{line}");
        }
        if line.contains("] heartbeat") {
            return;
        }
        if inner.last.len() == SHOWN {
            inner.last.pop_front();
        }
        inner.last.push_back(line);
    }

    /// A rule does not hold. The first one counts.
    pub fn violated(&self, rule: fmt::Arguments<'_>) {
        self.note(format_args!("VIOLATED {rule}"));
        self.0.lock().unwrap().violation.get_or_insert_with(|| rule.to_string());
    }

    pub fn check(&self, holds: bool, rule: fmt::Arguments<'_>) {
        if !holds {
            self.violated(rule);
        }
    }

    pub fn violation(&self) -> Option<String> {
        self.0.lock().unwrap().violation.clone()
    }

    /// Hash and number of lines so far, and time passed.
    pub fn stand(&self) -> (u64, u64, f64) {
        let inner = self.0.lock().unwrap();
        (inner.hash, inner.lines, inner.start.elapsed().as_secs_f64())
    }

    pub fn last_lines(&self) -> String {
        let inner = self.0.lock().unwrap();
        inner.last.iter().fold(String::new(), |text, line| text + "  " + line + "\n")
    }
}
