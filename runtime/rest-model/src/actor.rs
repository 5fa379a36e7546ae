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
    /// Age of the oldest in milliseconds; 0 when none waits.
    pub oldest_ms: u64,
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
    /// Time spent on them in microseconds.
    pub busy_us: u64,
    /// What ended it last.
    pub last_error: Option<String>,
    /// What the role tells of itself.
    pub detail: Value,
    /// The actors below it.
    pub children: Vec<Actor>,
}
