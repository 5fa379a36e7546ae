//! A job's nine states, as users see them.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The state of a job. What may be done in which is decided in `nsfl-workflow`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum JobState {
    /// Waits for its turn.
    Queuing,
    /// Waits for the clients it asks for.
    Pending,
    /// Its coordinator is being started.
    Starting,
    /// Its coordinator runs rounds.
    Running,
    /// Its coordinator is being stopped.
    Stopping,
    /// Ended by a user.
    Stopped,
    /// Ended with a trained model.
    Finished,
    /// Ended with a reason.
    Failed,
    /// Is being removed.
    Deleting,
}

impl JobState {
    /// All nine states.
    pub const ALL: [JobState; 9] = [
        JobState::Queuing,
        JobState::Pending,
        JobState::Starting,
        JobState::Running,
        JobState::Stopping,
        JobState::Stopped,
        JobState::Finished,
        JobState::Failed,
        JobState::Deleting,
    ];

    /// The state's name, as in REST.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            JobState::Queuing => "QUEUING",
            JobState::Pending => "PENDING",
            JobState::Starting => "STARTING",
            JobState::Running => "RUNNING",
            JobState::Stopping => "STOPPING",
            JobState::Stopped => "STOPPED",
            JobState::Finished => "FINISHED",
            JobState::Failed => "FAILED",
            JobState::Deleting => "DELETING",
        }
    }

    /// Whether the job has come to rest: nothing happens until a user asks.
    #[must_use]
    pub fn is_at_rest(self) -> bool {
        matches!(self, JobState::Stopped | JobState::Finished | JobState::Failed)
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `status` of the job document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobStatus {
    /// The state.
    pub state: JobState,
    /// Why it is in this state, in a sentence; empty when there is nothing to say.
    pub reason: String,
    /// 0 to 100: rounds done of `max_round_num`.
    pub progress: u8,
}
