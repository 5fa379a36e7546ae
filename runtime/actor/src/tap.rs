//! `Tap`: who looks at the messages of one actor, for a while. Without anybody it costs a look at a flag.

use std::fmt::{self, Debug, Write as _};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

/// An input that an actor has handled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traced {
    /// When it was done, Unix time in milliseconds.
    pub at_ms: u64,
    /// Its variant's name.
    pub message: String,
    /// How long it waited in the mailbox; none for a timer or a result of the actor's own work.
    pub waited_us: Option<u64>,
    /// How long it was in the handler.
    pub handled_us: u64,
    /// Whether the actor went on after it.
    pub ok: bool,
}

/// Inputs that a slow reader may be behind; older ones it misses.
const BEHIND: usize = 1024;

#[derive(Debug, Default)]
pub(crate) struct Tap {
    open: AtomicBool,
    sender: Mutex<Option<broadcast::Sender<Traced>>>,
}

impl Tap {
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// Opens it for one more reader.
    pub(crate) fn listen(&self) -> broadcast::Receiver<Traced> {
        let mut sender = self.sender.lock().expect(LOCK);
        self.open.store(true, Ordering::Relaxed);
        sender.get_or_insert_with(|| broadcast::channel(BEHIND).0).subscribe()
    }

    /// Closes it when nobody reads any more.
    pub(crate) fn send(&self, traced: Traced) {
        let mut sender = self.sender.lock().expect(LOCK);
        if sender.as_ref().is_some_and(|sender| sender.send(traced).is_err()) {
            *sender = None;
            self.open.store(false, Ordering::Relaxed);
        }
    }
}

/// The name of an enum's variant, or of the type: the first word of how it is debugged; nothing after it is formatted.
pub(crate) fn variant(value: &impl Debug) -> String {
    struct FirstWord(String);
    impl fmt::Write for FirstWord {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let word = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
            self.0.push_str(&text[..word]);
            if word < text.len() { Err(fmt::Error) } else { Ok(()) }
        }
    }
    let mut first = FirstWord(String::new());
    // an error says that the word is over
    let _ = write!(first, "{value:?}");
    first.0
}

const LOCK: &str = "nothing panics while it holds the tap's lock";

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    #[allow(dead_code, reason = "only debugged")]
    enum Sample {
        Unit,
        Tuple(Never),
        Fields { a: Never },
    }

    struct Never;

    impl Debug for Never {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("a field was formatted")
        }
    }

    #[test]
    fn a_message_is_called_by_its_variant_and_its_fields_are_left_alone() {
        let names = [Sample::Unit, Sample::Tuple(Never), Sample::Fields { a: Never }].map(|sample| variant(&sample));
        assert_eq!(names, ["Unit", "Tuple", "Fields"]);
        assert_eq!(variant(&7), "7");
    }

    #[test]
    fn it_closes_when_nobody_reads() {
        let tap = Tap::default();
        let traced = Traced { at_ms: 1, message: "M".into(), waited_us: None, handled_us: 1, ok: true };
        assert!(!tap.is_open());
        let mut reader = tap.listen();
        tap.send(traced.clone());
        assert!(tap.is_open());
        assert_eq!(reader.try_recv().unwrap(), traced);
        drop(reader);
        tap.send(traced);
        assert!(!tap.is_open());
    }
}
