//! The round policy: whom a round invites, when it is over, and what becomes of those who are not done by then.

use nsfl_types::TaskKind;
use serde::{Deserialize, Serialize};

/// What becomes of an update whose round has closed, with the numbers the run machine decides by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LatePolicy {
    /// It does not count, and its task is called back.
    #[default]
    Drop,
    /// It counts in the train round that is open when it comes, or the next.
    Stale {
        /// Rounds closed after the one of its task at most.
        max_staleness: u32,
    },
    /// A train round is one step: it is over with the K-th update, to whatever model.
    Buffer {
        /// K.
        k: u32,
        /// Steps taken since its task was sent at most; none: any number.
        max_staleness: Option<u32>,
    },
}

impl LatePolicy {
    pub(crate) fn is_drop(&self) -> bool {
        *self == LatePolicy::Drop
    }

    /// The largest staleness that counts.
    #[must_use]
    pub fn max_staleness(self) -> u32 {
        match self {
            LatePolicy::Drop => 0,
            LatePolicy::Stale { max_staleness } => max_staleness,
            LatePolicy::Buffer { max_staleness, .. } => max_staleness.unwrap_or(u32::MAX),
        }
    }
}

/// Whom a round invites, when it is over, and what becomes of those who are not done by then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundPolicy {
    /// Target number of clients a round.
    pub client_num: u32,
    /// Over-selection: clients to invite, the target times redundancy. With `Buffer`: clients at work at once.
    pub cohort: u32,
    /// Least number of updates that completes a round. With `Buffer`: an evaluate round.
    pub quorum: u32,
    /// From opening a round to its deadline, in milliseconds. With `Buffer`: from sending a task to its own.
    pub round_timeout_ms: u64,
    /// Early close: a round is over as soon as the quorum is met. With `Buffer` always.
    pub close_at_threshold: bool,
    /// What becomes of an update whose round has closed.
    #[serde(default, skip_serializing_if = "LatePolicy::is_drop")]
    pub late: LatePolicy,
}

impl RoundPolicy {
    /// What rounds of this kind do with those who are not done: an evaluation of an older model says nothing.
    pub(crate) fn late_of(&self, kind: TaskKind) -> LatePolicy {
        if kind == TaskKind::Train { self.late } else { LatePolicy::Drop }
    }

    pub(crate) fn quorum_of(&self, kind: TaskKind) -> u32 {
        match self.late_of(kind) {
            LatePolicy::Buffer { k, .. } => k,
            _ => self.quorum,
        }
    }

    pub(crate) fn closes_early(&self) -> bool {
        self.close_at_threshold || self.is_buffer()
    }

    pub(crate) fn is_buffer(&self) -> bool {
        matches!(self.late, LatePolicy::Buffer { .. })
    }

    /// How long a client may take for a task, in milliseconds.
    #[must_use]
    pub fn task_timeout_ms(&self) -> u64 {
        match self.late {
            LatePolicy::Stale { max_staleness } => self.round_timeout_ms.saturating_mul(u64::from(max_staleness) + 1),
            _ => self.round_timeout_ms,
        }
    }

    /// Train tasks that are under way at once at most.
    pub(crate) fn at_once(&self) -> u32 {
        match self.late {
            LatePolicy::Stale { max_staleness } => self.cohort.saturating_mul(max_staleness.saturating_add(1)),
            _ => self.cohort,
        }
    }
}
