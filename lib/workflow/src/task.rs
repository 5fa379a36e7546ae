//! One task on its client: fetch the model, train, upload, report until the coordinator has answered. Not the
//! trainer, not the transfer: those are effects.

mod message;
#[cfg(test)]
mod tests;

pub use message::{Outcome, Report, TaskEffect, TaskInput, TaskOrder};

use crate::round::UpdateRef;
use crate::run::RetryPolicy;
use crate::snapshot::{self, SnapshotError};
use nsfl_types::{BlobRef, Code, Timestamp};
use serde::{Deserialize, Serialize};

/// What a task is at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskPhase {
    /// The model is being fetched, or will be again at `retry_at`.
    Fetching { failures: u32, retry_at: Option<Timestamp> },
    /// The trainer works; it is killed at `until` if it has not ended by itself.
    Running { until: Timestamp },
    /// The outcome is kept and handed in again at `retry_at` unless the coordinator has answered.
    Offering { outcome: Outcome, uploaded: bool, failures: u32, retry_at: Timestamp },
    /// Nobody needs it any more.
    Ended,
}

/// The state machine of one task on its client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskMachine {
    order: TaskOrder,
    phase: TaskPhase,
    /// It has ended with its update accepted: what its script wants to keep is to be kept before it is forgotten.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    keeps: bool,
}

/// The trainer keeps to its time by itself and then says more of its end than could be known here. So long after that it
/// is taken for broken.
const PATIENCE_MS: u64 = 30_000;

impl TaskMachine {
    /// A task that was just offered: its model is fetched.
    #[must_use]
    pub fn accept(order: TaskOrder, effects: &mut Vec<TaskEffect>) -> Self {
        effects.push(TaskEffect::Fetch { base: order.base });
        Self { order, phase: TaskPhase::Fetching { failures: 0, retry_at: None }, keeps: false }
    }

    /// Takes in what happened; what does not fit the phase is stale and changes nothing.
    pub fn handle(&mut self, now: Timestamp, input: TaskInput, effects: &mut Vec<TaskEffect>) {
        match (&mut self.phase, input) {
            (TaskPhase::Ended, _) => {}
            (TaskPhase::Fetching { .. }, TaskInput::Fetched) => self.start(now, effects),
            (TaskPhase::Fetching { failures, retry_at: retry_at @ None }, TaskInput::FetchFailed { code, reason }) => {
                if is_passing(code) {
                    *failures += 1;
                    *retry_at = Some(now.plus_ms(RetryPolicy::default().pause_ms(*failures)));
                } else {
                    self.offer(now, Outcome::Failed { code, reason, cause: None }, effects);
                }
            }
            (TaskPhase::Running { .. }, TaskInput::TrainerEnded { outcome }) => self.offer(now, outcome, effects),
            (TaskPhase::Offering { uploaded, .. }, TaskInput::Uploaded) => {
                *uploaded = true;
                self.hand_in(effects);
            }
            (phase, TaskInput::Acked) => {
                self.keeps = phase.has_update();
                self.end(effects);
            }
            (_, TaskInput::Refused { .. } | TaskInput::Cancelled) => self.end(effects),
            (phase, TaskInput::Offered) => {
                // asked for again, perhaps because the server has it no longer; what it has is not sent twice
                if let TaskPhase::Offering { outcome, uploaded, .. } = phase {
                    *uploaded = blobs(outcome).is_empty();
                }
                self.try_again(now, effects);
            }
            (_, TaskInput::LinkUp) => {
                self.forget_failures();
                self.try_again(now, effects);
            }
            (_, TaskInput::Tick) => self.pass_time(now, effects),
            _ => {}
        }
    }

    /// When it wants a `Tick`.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        match &self.phase {
            TaskPhase::Fetching { retry_at, .. } => *retry_at,
            TaskPhase::Running { until } => Some(*until),
            TaskPhase::Offering { retry_at, .. } => Some(*retry_at),
            TaskPhase::Ended => None,
        }
    }

    /// After a restart: what is still owed. The trainer died with the process, so it starts again and has its
    /// full time again.
    pub fn resume(&mut self, now: Timestamp, effects: &mut Vec<TaskEffect>) {
        self.forget_failures();
        match &self.phase {
            TaskPhase::Running { .. } => self.start(now, effects),
            TaskPhase::Ended => self.end(effects),
            _ => self.try_again(now, effects),
        }
    }

    /// What was ordered.
    #[must_use]
    pub fn order(&self) -> &TaskOrder {
        &self.order
    }

    /// What it is at.
    #[must_use]
    pub fn phase(&self) -> &TaskPhase {
        &self.phase
    }

    /// The machine as bytes.
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        snapshot::encode(self)
    }

    /// The machine from `snapshot`'s bytes.
    ///
    /// # Errors
    /// The bytes are of another version or no snapshot.
    pub fn restore(bytes: &[u8]) -> Result<Self, SnapshotError> {
        snapshot::decode("task machine", bytes)
    }

    fn start(&mut self, now: Timestamp, effects: &mut Vec<TaskEffect>) {
        self.phase = TaskPhase::Running { until: now.plus_ms(self.order.timeout_ms + PATIENCE_MS) };
        effects.push(TaskEffect::StartTrainer);
        effects.push(TaskEffect::Report { report: Report::Started });
    }

    fn offer(&mut self, now: Timestamp, outcome: Outcome, effects: &mut Vec<TaskEffect>) {
        let uploaded = blobs(&outcome).is_empty();
        let retry_at = now.plus_ms(RetryPolicy::default().pause_ms(1));
        self.phase = TaskPhase::Offering { outcome, uploaded, failures: 1, retry_at };
        self.hand_in(effects);
    }

    /// Uploads what is not yet there, else reports.
    fn hand_in(&self, effects: &mut Vec<TaskEffect>) {
        let TaskPhase::Offering { outcome, uploaded, .. } = &self.phase else { return };
        effects.push(if *uploaded {
            TaskEffect::Report { report: Report::from(outcome.clone()) }
        } else {
            TaskEffect::Upload { blobs: blobs(outcome) }
        });
    }

    fn try_again(&mut self, now: Timestamp, effects: &mut Vec<TaskEffect>) {
        match &mut self.phase {
            TaskPhase::Fetching { retry_at, .. } => {
                *retry_at = None;
                effects.push(TaskEffect::Fetch { base: self.order.base });
            }
            TaskPhase::Offering { failures, retry_at, .. } => {
                *failures += 1;
                *retry_at = now.plus_ms(RetryPolicy::default().pause_ms(*failures));
                self.hand_in(effects);
            }
            TaskPhase::Running { .. } => effects.push(TaskEffect::Report { report: Report::Started }),
            TaskPhase::Ended => {}
        }
    }

    fn pass_time(&mut self, now: Timestamp, effects: &mut Vec<TaskEffect>) {
        if self.deadline().is_none_or(|at| at > now) {
            return;
        }
        if matches!(self.phase, TaskPhase::Running { .. }) {
            effects.push(TaskEffect::KillTrainer);
            let reason = format!("the trainer did not end within {} ms, and not when told to", self.order.timeout_ms);
            self.offer(now, Outcome::Failed { code: Code::TrainerTimeout, reason, cause: None }, effects);
        } else {
            self.try_again(now, effects);
        }
    }

    /// A new link or process: what failed before says nothing about it.
    fn forget_failures(&mut self) {
        if let TaskPhase::Fetching { failures, .. } | TaskPhase::Offering { failures, .. } = &mut self.phase {
            *failures = 0;
        }
    }

    fn end(&mut self, effects: &mut Vec<TaskEffect>) {
        if matches!(self.phase, TaskPhase::Running { .. }) {
            effects.push(TaskEffect::KillTrainer);
        }
        self.phase = TaskPhase::Ended;
        if self.keeps {
            effects.push(TaskEffect::KeepState);
        }
        effects.push(TaskEffect::Forget);
    }
}

impl TaskPhase {
    /// Whether it waits for the answer to an update: what an evaluation measures changes nothing.
    fn has_update(&self) -> bool {
        matches!(self, TaskPhase::Offering { outcome: Outcome::Done { update: UpdateRef { blob: Some(_), .. } }, .. })
    }
}

/// What the server must hold before it is told of the outcome.
fn blobs(outcome: &Outcome) -> Vec<BlobRef> {
    match outcome {
        Outcome::Done { update: UpdateRef { blob, extra, .. } } => blob.iter().chain(extra).copied().collect(),
        Outcome::Failed { .. } => Vec::new(),
    }
}

/// Whether a fetch that failed so may well succeed later. Else the coordinator is told.
fn is_passing(code: Code) -> bool {
    matches!(code, Code::LinkLost | Code::Timeout | Code::Busy | Code::CreditExceeded)
}
