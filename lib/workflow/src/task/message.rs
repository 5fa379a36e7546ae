//! What goes into a task machine and what comes out. Data only.

use crate::round::UpdateRef;
use nsfl_types::{BlobRef, Cause, Code, TaskKey};
use serde::{Deserialize, Serialize};

/// What the coordinator asks of a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskOrder {
    /// Which task.
    pub key: TaskKey,
    /// The model to start from.
    pub base: BlobRef,
    /// How long the trainer may take, in milliseconds.
    pub timeout_ms: u64,
    /// What the trainer is told, as JSON text; the machine does not look into it.
    pub spec: String,
}

/// How a task ended on its client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The update is made and stored on the client.
    Done { update: UpdateRef },
    /// There is none.
    Failed {
        code: Code,
        reason: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<Box<Cause>>,
    },
}

/// What happens to a task on its client.
#[derive(Debug, Clone, PartialEq)]
pub enum TaskInput {
    /// The coordinator sent the order again.
    Offered,
    /// The model is here.
    Fetched,
    /// The model could not be fetched.
    FetchFailed { code: Code, reason: String },
    /// The trainer ended; if well, the update is made and stored.
    TrainerEnded { outcome: Outcome },
    /// The server has the update's bytes.
    Uploaded,
    /// The coordinator has recorded the outcome.
    Acked,
    /// The coordinator does not want the outcome.
    Refused { code: Code },
    /// The coordinator does not want the task.
    Cancelled,
    /// The link is (again) up.
    LinkUp,
    /// The time of `deadline` has come.
    Tick,
}

/// What a task tells its coordinator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// The trainer works.
    Started,
    /// The update is on the server.
    Done { update: UpdateRef },
    /// There is no update.
    Failed {
        code: Code,
        reason: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<Box<Cause>>,
    },
}

impl From<Outcome> for Report {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done { update } => Report::Done { update },
            Outcome::Failed { code, reason, cause } => Report::Failed { code, reason, cause },
        }
    }
}

/// What the client's task manager has to do. An upload or a fetch that is under way is not started twice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum TaskEffect {
    /// Fetch this model; answer `Fetched` or `FetchFailed`.
    Fetch { base: BlobRef },
    /// Start the trainer on the fetched model; answer `TrainerEnded`.
    StartTrainer,
    /// Kill the trainer and all its processes; no answer is needed.
    KillTrainer,
    /// Bring these bytes to the server: the update, what goes with it; answer `Uploaded` when all are there.
    Upload { blobs: Vec<BlobRef> },
    /// Send this to the coordinator.
    Report { report: Report },
    /// Remove the task and its files.
    Forget,
}
