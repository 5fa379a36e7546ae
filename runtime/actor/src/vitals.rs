//! What is known of an actor from outside, whether it answers or not: path, mailbox, counters, last error.
//!
//! Lives in the address, so it survives restarts. What only the role knows comes from [`crate::Role::observe`].

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use ractor::ActorId;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;

use crate::clock::now_ms;
use crate::failure::Failure;
use crate::gate::{Gate, MailboxView};
use crate::tally::{Counted, HandlerView, Tally};
use crate::tap::Tap;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorState {
    Starting,
    Running,
    /// Failed; waits for its next start.
    Restarting,
    /// Not running, or about to end, and nobody will start it again.
    Stopped,
    /// Running, but gave no answer in time.
    Unresponsive,
}

/// One restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartView {
    /// Unix time, milliseconds.
    pub at_ms: u64,
    /// Why; none when it was asked for.
    pub cause: Option<String>,
}

/// One actor at one moment, with the actors below it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActorView {
    pub path: String,
    /// [`crate::Role::KIND`], or `"supervisor"`.
    pub kind: String,
    pub state: ActorState,
    /// How often a supervisor has started it again.
    pub restarts: u32,
    /// Unix time of its last start, milliseconds; 0 if it never started.
    pub started_at_ms: u64,
    pub mailbox: MailboxView,
    /// Inputs handled over all its lives: messages, timers and results of spawned work.
    pub handled: u64,
    /// Inputs handled per second, lately.
    #[serde(default)]
    pub rate: f64,
    /// Time spent in handlers over all its lives, waiting inside them included.
    pub busy_us: u64,
    #[serde(default)]
    pub handler: HandlerView,
    /// Messages to it that it never read: it was down, or ended with them in its mailbox.
    #[serde(default)]
    pub dead_letters: u64,
    /// Messages turned away because its mailbox was full.
    #[serde(default)]
    pub rejected: u64,
    /// Observes it did not answer in time.
    #[serde(default)]
    pub unanswered: u64,
    /// Its last restarts, the newest first.
    #[serde(default)]
    pub restarted: Vec<RestartView>,
    pub last_error: Option<Failure>,
    /// Unix time of that, milliseconds; 0 when there was none.
    #[serde(default)]
    pub last_error_at_ms: u64,
    /// What the role tells of itself; null when it did not answer.
    pub detail: Value,
    #[serde(default)]
    pub children: Vec<ActorView>,
}

/// Restarts that are remembered with their times.
const RESTARTS: usize = 16;

pub(crate) struct Vitals {
    pub(crate) path: String,
    pub(crate) gate: Arc<Gate>,
    pub(crate) tally: Arc<Tally>,
    pub(crate) tap: Tap,
    born: OnceLock<(&'static str, Counted)>,
    started_at_ms: AtomicU64,
    last_error: Mutex<Option<(u64, Failure)>>,
    restarted: Mutex<VecDeque<RestartView>>,
    pace: Mutex<Option<Pace>>,
    life: Mutex<Option<ActorId>>,
}

/// How fast it handles inputs: looked at when somebody looks, so that it costs a message nothing.
#[derive(Clone, Copy)]
struct Pace {
    at: Instant,
    handled: u64,
    rate: f64,
}

/// A rate is of at least this long a time.
const PACE: Duration = Duration::from_secs(1);

impl Pace {
    fn looked(self, now: Instant, handled: u64) -> Self {
        let since = now.saturating_duration_since(self.at);
        if since < PACE {
            return self;
        }
        let rate = handled.saturating_sub(self.handled) as f64 / since.as_secs_f64();
        Self { at: now, handled, rate }
    }
}

impl Vitals {
    pub(crate) fn new(path: String, capacity: usize) -> Self {
        let tally = Arc::<Tally>::default();
        Self {
            path,
            gate: Gate::new(capacity, Arc::clone(&tally)),
            tally,
            tap: Tap::default(),
            born: OnceLock::new(),
            started_at_ms: AtomicU64::new(0),
            last_error: Mutex::new(None),
            restarted: Mutex::default(),
            pace: Mutex::new(None),
            life: Mutex::new(None),
        }
    }

    pub(crate) fn view(&self, state: ActorState) -> ActorView {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let last_error = self.last_error.lock().expect(LOCK).clone();
        ActorView {
            path: self.path.clone(),
            kind: self.born.get().map(|(kind, _)| *kind).unwrap_or_default().to_owned(),
            state,
            restarts: self.restarts(),
            started_at_ms: of(&self.started_at_ms),
            mailbox: self.gate.view(),
            handled: of(&self.tally.handled),
            rate: self.rate(),
            busy_us: of(&self.tally.busy_us),
            handler: self.tally.handler(),
            dead_letters: of(&self.tally.dead_letters),
            rejected: of(&self.tally.rejected),
            unanswered: of(&self.tally.unanswered),
            restarted: self.restarted.lock().expect(LOCK).iter().cloned().collect(),
            last_error_at_ms: last_error.as_ref().map_or(0, |(at_ms, _)| *at_ms),
            last_error: last_error.map(|(_, failure)| failure),
            detail: Value::Null,
            children: Vec::new(),
        }
    }

    /// A new life begins under ractor's id `life`.
    pub(crate) fn begin(&self, kind: &'static str, life: ActorId) {
        self.born.get_or_init(|| (kind, Counted::new(kind, &self.tally)));
        self.tally.abandon();
        self.pace.lock().expect(LOCK).get_or_insert_with(|| Pace { at: Instant::now(), handled: 0, rate: 0.0 });
        *self.life.lock().expect(LOCK) = Some(life);
        self.started_at_ms.store(now_ms(), Ordering::Relaxed);
    }

    /// Whether `life` is the last life begun.
    pub(crate) fn is_life(&self, life: ActorId) -> bool {
        *self.life.lock().expect(LOCK) == Some(life)
    }

    pub(crate) fn restarts(&self) -> u32 {
        u32::try_from(self.tally.restarts.load(Ordering::Relaxed)).unwrap_or(u32::MAX)
    }

    pub(crate) fn record_restart(&self, cause: Option<String>) {
        self.tally.restarts.fetch_add(1, Ordering::Relaxed);
        let mut restarted = self.restarted.lock().expect(LOCK);
        restarted.truncate(RESTARTS - 1);
        restarted.push_front(RestartView { at_ms: now_ms(), cause });
    }

    pub(crate) fn record_error(&self, failure: &Failure) {
        *self.last_error.lock().expect(LOCK) = Some((now_ms(), failure.clone()));
    }

    fn rate(&self) -> f64 {
        let mut pace = self.pace.lock().expect(LOCK);
        let Some(before) = *pace else { return 0.0 };
        let after = before.looked(Instant::now(), self.tally.handled.load(Ordering::Relaxed));
        *pace = Some(after);
        after.rate
    }
}

const LOCK: &str = "nothing panics while it holds this lock";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_of_a_second_at_least() {
        let at = Instant::now();
        let pace = Pace { at, handled: 10, rate: 7.0 };
        assert_eq!(pace.looked(at + Duration::from_millis(999), 500).rate, 7.0);
        assert_eq!(pace.looked(at + Duration::from_secs(2), 50).rate, 20.0);
    }

    #[test]
    fn the_newest_restarts_are_remembered() {
        let vitals = Vitals::new("a".into(), 1);
        (0..20).for_each(|n| vitals.record_restart(Some(n.to_string())));
        let view = vitals.view(ActorState::Running);
        assert_eq!((view.restarts, view.restarted.len()), (20, RESTARTS));
        assert_eq!(view.restarted[0].cause.as_deref(), Some("19"));
    }
}
