//! What is known of an actor from outside, whether it answers or not: path, mailbox, counters, last error.
//!
//! Lives in the address, so it survives restarts. What only the role knows comes from [`crate::Role::observe`].

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use ractor::ActorId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::now_ms;
use crate::failure::Failure;
use crate::gate::{Gate, MailboxView};

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
    /// Time spent in handlers over all its lives, waiting inside them included.
    pub busy_us: u64,
    pub last_error: Option<Failure>,
    /// What the role tells of itself; null when it did not answer.
    pub detail: Value,
    #[serde(default)]
    pub children: Vec<ActorView>,
}

pub(crate) struct Vitals {
    pub(crate) path: String,
    pub(crate) gate: Arc<Gate>,
    kind: OnceLock<&'static str>,
    restarts: AtomicU32,
    started_at_ms: AtomicU64,
    handled: AtomicU64,
    busy_us: AtomicU64,
    last_error: Mutex<Option<Failure>>,
    life: Mutex<Option<ActorId>>,
}

impl Vitals {
    pub(crate) fn new(path: String, capacity: usize) -> Self {
        Self {
            path,
            gate: Gate::new(capacity),
            kind: OnceLock::new(),
            restarts: AtomicU32::new(0),
            started_at_ms: AtomicU64::new(0),
            handled: AtomicU64::new(0),
            busy_us: AtomicU64::new(0),
            last_error: Mutex::new(None),
            life: Mutex::new(None),
        }
    }

    pub(crate) fn view(&self, state: ActorState) -> ActorView {
        ActorView {
            path: self.path.clone(),
            kind: self.kind.get().copied().unwrap_or_default().to_owned(),
            state,
            restarts: self.restarts(),
            started_at_ms: self.started_at_ms.load(Ordering::Relaxed),
            mailbox: self.gate.view(),
            handled: self.handled.load(Ordering::Relaxed),
            busy_us: self.busy_us.load(Ordering::Relaxed),
            last_error: self.last_error.lock().expect(LOCK).clone(),
            detail: Value::Null,
            children: Vec::new(),
        }
    }

    /// A new life begins under ractor's id `life`.
    pub(crate) fn begin(&self, kind: &'static str, life: ActorId) {
        self.kind.get_or_init(|| kind);
        *self.life.lock().expect(LOCK) = Some(life);
        self.started_at_ms.store(now_ms(), Ordering::Relaxed);
    }

    /// Whether `life` is the last life begun.
    pub(crate) fn is_life(&self, life: ActorId) -> bool {
        *self.life.lock().expect(LOCK) == Some(life)
    }

    pub(crate) fn restarts(&self) -> u32 {
        self.restarts.load(Ordering::Relaxed)
    }

    pub(crate) fn count_restart(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_handled(&self, busy: Duration) {
        self.handled.fetch_add(1, Ordering::Relaxed);
        self.busy_us.fetch_add(busy.as_micros() as u64, Ordering::Relaxed);
    }

    pub(crate) fn record_error(&self, failure: &Failure) {
        *self.last_error.lock().expect(LOCK) = Some(failure.clone());
    }
}

const LOCK: &str = "nothing panics while it holds this lock";
