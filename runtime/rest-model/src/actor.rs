//! An actor as REST shows it, with the actors below it.

use crate::Time;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How full an actor's mailbox is, in messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mailbox {
    /// Waiting now.
    pub depth: u64,
    /// Room.
    pub capacity: u64,
    /// Most that ever waited.
    pub high_water: u64,
    /// Senders held back.
    #[serde(default)]
    pub waiting: u64,
    /// Age of the oldest in milliseconds; 0 when none waits.
    pub oldest_ms: u64,
}

/// An actor's handler in figures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handler {
    /// Time the last input took, microseconds.
    pub last_us: u64,
    /// The longest time one took.
    pub longest_us: u64,
    /// Inputs that took over a second.
    pub slow: u64,
    /// How long the present one is in the handler; `null` when there is none.
    pub current_ms: Option<u64>,
}

/// One restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActorRestart {
    /// When.
    pub at: Time,
    /// Why; `null` when it was asked for.
    pub cause: Option<String>,
}

/// What ended an actor last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActorFailure {
    /// What went wrong.
    pub message: String,
    /// What caused that, nearest cause first.
    pub causes: Vec<String>,
    /// When.
    pub at: Option<Time>,
}

/// One actor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Actor {
    /// Its path in the tree.
    pub path: String,
    /// Its role, or `supervisor`.
    pub kind: String,
    /// `starting`, `running`, `restarting`, `stopped` or `unresponsive`.
    pub state: String,
    /// How often it was started again.
    pub restarts: u32,
    /// When it was started last; `null` before the first time.
    pub started: Option<Time>,
    /// Its mailbox.
    pub mailbox: Mailbox,
    /// Inputs it has handled.
    pub handled: u64,
    /// Inputs per second, lately.
    #[serde(default)]
    pub rate: f64,
    /// Time spent on them in microseconds.
    pub busy_us: u64,
    /// Its handler.
    #[serde(default)]
    pub handler: Handler,
    /// Messages to it that it never read.
    #[serde(default)]
    pub dead_letters: u64,
    /// Messages turned away from its full mailbox.
    #[serde(default)]
    pub rejected: u64,
    /// Times it did not answer in time when it was looked at.
    #[serde(default)]
    pub unanswered: u64,
    /// Its last restarts, the newest first.
    #[serde(default)]
    pub restarted: Vec<ActorRestart>,
    /// What ended it last, in one line.
    pub last_error: Option<String>,
    /// The same with its causes.
    #[serde(default)]
    pub failure: Option<ActorFailure>,
    /// What the role tells of itself.
    #[serde(default)]
    pub detail: Value,
    /// The actors below it.
    #[serde(default)]
    pub children: Vec<Actor>,
}

/// An input that a traced actor has handled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TracedMessage {
    /// When it was done.
    pub at: Time,
    /// Its name.
    pub message: String,
    /// `mailbox`, or `own` for a timer or a result of the actor's own work.
    pub from: String,
    /// How long it waited in the mailbox, microseconds.
    pub waited_us: Option<u64>,
    /// How long it was in the handler.
    pub handled_us: u64,
    /// Whether the actor went on after it.
    pub ok: bool,
}
