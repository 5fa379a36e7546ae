//! What users may do with a job in which state. A table and its error; nothing is carried out here.

use nsfl_types::{Code, JobKey, JobState};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a user may ask of a job that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// Queue it again, as a new run.
    Start,
    /// End its run.
    Stop,
    /// Replace its document.
    Update,
    /// Remove it.
    Delete,
}

impl Operation {
    /// All four.
    pub const ALL: [Operation; 4] = [Operation::Start, Operation::Stop, Operation::Update, Operation::Delete];
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Operation::Start => "start",
            Operation::Stop => "stop",
            Operation::Update => "update",
            Operation::Delete => "delete",
        })
    }
}

/// The operations a state allows.
#[must_use]
pub fn allowed(state: JobState) -> &'static [Operation] {
    use Operation::{Delete, Start, Stop, Update};
    match state {
        JobState::Queuing | JobState::Pending => &[Stop, Update, Delete],
        JobState::Starting | JobState::Running => &[Stop, Delete],
        JobState::Stopping => &[Delete],
        JobState::Stopped | JobState::Finished => &[Start, Update, Delete],
        JobState::Failed => &[Start, Stop, Update, Delete],
        JobState::Deleting => &[],
    }
}

/// An operation that the job's state does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("job {job} is {state}: {operation} is not allowed; allowed: {}", listed(allowed(*.state)))]
pub struct NotAllowed {
    /// The job.
    pub job: JobKey,
    /// Its state.
    pub state: JobState,
    /// What was asked.
    pub operation: Operation,
}

impl NotAllowed {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> Code {
        Code::NotAllowed
    }
}

fn listed(operations: &[Operation]) -> String {
    let names: Vec<String> = operations.iter().map(Operation::to_string).collect();
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}
