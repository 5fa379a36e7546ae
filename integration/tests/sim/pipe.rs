//! One direction of one stream: what is under way and when it arrives. Knows no weather.

use crate::dice::NodeLife;
use crate::net::{Breaks, Connection, Way};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub struct Pipe<T> {
    inside: Mutex<Inside<T>>,
    changed: Notify,
    abandoned: CancellationToken,
}

struct Inside<T> {
    under_way: BTreeMap<(Instant, u64), T>,
    pushed: u64,
    last: Option<Instant>,
    ends: Option<Instant>,
    broken: bool,
    told: bool,
}

/// What a receiver finds.
pub enum State<T> {
    Item(T),
    /// Nothing before then, unless something changes.
    Until(Instant),
    /// Nothing before something changes.
    Changed,
    Ended,
    Broken,
    /// The receiver is no more.
    Never,
}

impl<T> Default for Pipe<T> {
    fn default() -> Self {
        let inside =
            Inside { under_way: BTreeMap::new(), pushed: 0, last: None, ends: None, broken: false, told: false };
        Self { inside: Mutex::new(inside), changed: Notify::new(), abandoned: CancellationToken::new() }
    }
}

impl<T> Pipe<T> {
    /// In order: not before what was sent before it.
    pub fn push(&self, at: Instant, item: T, in_order: bool) {
        let mut inside = self.inside.lock().unwrap();
        let at = if in_order { inside.last.map_or(at, |last| last.max(at)) } else { at };
        inside.last = Some(inside.last.map_or(at, |last| last.max(at)));
        inside.pushed += 1;
        let number = inside.pushed;
        inside.under_way.insert((at, number), item);
        drop(inside);
        self.changed.notify_one();
    }

    pub fn end(&self, at: Instant) {
        let mut inside = self.inside.lock().unwrap();
        inside.ends = Some(inside.last.map_or(at, |last| last.max(at)));
        drop(inside);
        self.changed.notify_one();
    }

    pub fn take(&self, now: Instant, cut: bool) -> State<T> {
        let mut inside = self.inside.lock().unwrap();
        if inside.told {
            return State::Ended;
        }
        if cut {
            return State::Changed;
        }
        if inside.broken {
            inside.told = true;
            return State::Broken;
        }
        match inside.under_way.first_key_value().map(|((at, _), _)| *at) {
            Some(at) if at <= now => inside.under_way.pop_first().map_or(State::Changed, |(_, item)| State::Item(item)),
            Some(at) => State::Until(at),
            None => match inside.ends {
                Some(at) if at <= now => {
                    inside.told = true;
                    State::Ended
                }
                Some(at) => State::Until(at),
                None => State::Changed,
            },
        }
    }

    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Done when nobody receives any more.
    pub async fn abandoned(&self) {
        self.abandoned.cancelled().await;
    }
}

impl<T: Send> Breaks for Pipe<T> {
    fn break_off(&self) {
        let mut inside = self.inside.lock().unwrap();
        inside.broken = true;
        inside.under_way.clear();
        drop(inside);
        self.abandoned.cancel();
        self.changed.notify_one();
    }

    fn look_again(&self) {
        self.changed.notify_one();
    }
}

/// The receiving end; dropped, the sending end is told.
pub struct Receiver<T> {
    pub pipe: Arc<Pipe<T>>,
    pub connection: Arc<Connection>,
    pub way: Way,
    pub to: NodeLife,
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.pipe.abandoned.cancel();
    }
}
