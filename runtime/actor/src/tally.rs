//! `Tally`: what is counted of one actor over all its lives, and `census`: the same for every kind in this process.
//!
//! The path of a message writes plain numbers only: an actor has one handler at a time, so that nothing is contended.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// A handler that takes longer than this is slow: counted, logged, shown.
pub const SLOW_HANDLER: Duration = Duration::from_secs(1);

/// An actor's handler in figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandlerView {
    /// Time the last input took, waiting inside the handler included.
    pub last_us: u64,
    /// The longest time one took.
    pub longest_us: u64,
    /// Inputs that took longer than [`SLOW_HANDLER`].
    pub slow: u64,
    /// How long the present one is in the handler; none when there is none.
    pub current_ms: Option<u64>,
}

/// Counters of one actor.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) handled: AtomicU64,
    pub(crate) busy_us: AtomicU64,
    last_us: AtomicU64,
    longest_us: AtomicU64,
    slow: AtomicU64,
    /// When the present input came into the handler, in µs of `since_base`; 0 when there is none.
    begun_us: AtomicU64,
    pub(crate) restarts: AtomicU64,
    pub(crate) dead_letters: AtomicU64,
    pub(crate) rejected: AtomicU64,
    pub(crate) unanswered: AtomicU64,
}

impl Tally {
    /// An input goes into the handler.
    pub(crate) fn begin(&self, now: Instant) {
        self.begun_us.store(since_base(now), Ordering::Relaxed);
    }

    /// It came out again; whether it was slow.
    pub(crate) fn end(&self, took: Duration) -> bool {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let slow = took > SLOW_HANDLER;
        self.begun_us.store(0, Ordering::Relaxed);
        self.last_us.store(us, Ordering::Relaxed);
        if us > self.longest_us.load(Ordering::Relaxed) {
            self.longest_us.store(us, Ordering::Relaxed);
        }
        bump(&self.handled, 1);
        bump(&self.busy_us, us);
        if slow {
            bump(&self.slow, 1);
        }
        slow
    }

    /// What was in the handler is gone with its life.
    pub(crate) fn abandon(&self) {
        self.begun_us.store(0, Ordering::Relaxed);
    }

    pub(crate) fn handler(&self) -> HandlerView {
        let begun = self.begun_us.load(Ordering::Relaxed);
        HandlerView {
            last_us: self.last_us.load(Ordering::Relaxed),
            longest_us: self.longest_us.load(Ordering::Relaxed),
            slow: self.slow.load(Ordering::Relaxed),
            current_ms: (begun > 0).then(|| since_base(Instant::now()).saturating_sub(begun) / 1000),
        }
    }

    fn totals(&self) -> Totals {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Totals {
            actors: 0,
            handled: of(&self.handled),
            busy_us: of(&self.busy_us),
            slow: of(&self.slow),
            restarts: of(&self.restarts),
            dead_letters: of(&self.dead_letters),
            rejected: of(&self.rejected),
            unanswered: of(&self.unanswered),
        }
    }
}

/// One writer: no need of an atomic addition, which costs more.
fn bump(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
}

/// Never 0.
fn since_base(now: Instant) -> u64 {
    static BASE: OnceLock<Instant> = OnceLock::new();
    let since = now.saturating_duration_since(*BASE.get_or_init(Instant::now));
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX).max(1)
}

/// What was counted of all actors of one kind since the process started. Only `actors` can fall.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Addresses there are now at which an actor has lived.
    pub actors: u64,
    /// Inputs handled.
    pub handled: u64,
    /// Time spent on them.
    pub busy_us: u64,
    /// Those that took longer than [`SLOW_HANDLER`].
    pub slow: u64,
    /// Restarts.
    pub restarts: u64,
    /// Messages that nobody took.
    pub dead_letters: u64,
    /// Messages turned away from a full mailbox.
    pub rejected: u64,
    /// Observes that were not answered in time.
    pub unanswered: u64,
}

impl Totals {
    fn add(&mut self, other: Self) {
        self.actors += other.actors;
        self.handled += other.handled;
        self.busy_us += other.busy_us;
        self.slow += other.slow;
        self.restarts += other.restarts;
        self.dead_letters += other.dead_letters;
        self.rejected += other.rejected;
        self.unanswered += other.unanswered;
    }
}

/// The totals of every kind that has lived in this process. Asks no actor.
pub fn census() -> BTreeMap<&'static str, Totals> {
    let book = book();
    let mut totals = book.gone.clone();
    for (kind, tally) in book.here.values() {
        totals.entry(*kind).or_default().add(Totals { actors: 1, ..tally.totals() });
    }
    totals
}

/// An actor's place in the census; dropping it keeps what was counted.
#[derive(Debug)]
pub(crate) struct Counted(u64);

impl Counted {
    pub(crate) fn new(kind: &'static str, tally: &Arc<Tally>) -> Self {
        let mut book = book();
        book.next += 1;
        let number = book.next;
        book.here.insert(number, (kind, Arc::clone(tally)));
        Self(number)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut book = book();
        if let Some((kind, tally)) = book.here.remove(&self.0) {
            book.gone.entry(kind).or_default().add(tally.totals());
        }
    }
}

#[derive(Default)]
struct Book {
    next: u64,
    here: HashMap<u64, (&'static str, Arc<Tally>)>,
    gone: BTreeMap<&'static str, Totals>,
}

fn book() -> MutexGuard<'static, Book> {
    static BOOK: OnceLock<Mutex<Book>> = OnceLock::new();
    BOOK.get_or_init(Mutex::default).lock().expect("nothing panics while it holds the book")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_figures_are_those_of_the_inputs(took_ms in proptest::collection::vec(0u64..3000, 0..50)) {
            let tally = Tally::default();
            let slow = took_ms.iter().filter(|ms| {
                tally.begin(Instant::now());
                tally.end(Duration::from_millis(**ms))
            });
            let slow = slow.count() as u64;
            let view = tally.handler();
            prop_assert_eq!(slow, took_ms.iter().filter(|ms| **ms > 1000).count() as u64);
            prop_assert_eq!(view.slow, slow);
            prop_assert_eq!(view.last_us, took_ms.last().copied().unwrap_or_default() * 1000);
            prop_assert_eq!(view.longest_us, took_ms.iter().copied().max().unwrap_or_default() * 1000);
            prop_assert_eq!(view.current_ms, None);
            let totals = tally.totals();
            prop_assert_eq!(totals.handled, took_ms.len() as u64);
            prop_assert_eq!(totals.busy_us, took_ms.iter().sum::<u64>() * 1000);
        }
    }

    #[test]
    fn what_was_counted_stays_when_the_actor_goes() {
        let tally = Arc::new(Tally::default());
        let counted = Counted::new("census-test", &tally);
        tally.end(Duration::from_micros(5));
        let now = || census()["census-test"];
        assert_eq!((now().actors, now().handled), (1, 1));
        drop(counted);
        assert_eq!((now().actors, now().handled, now().busy_us), (0, 1, 5));
    }
}
