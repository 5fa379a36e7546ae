//! To the job scheduler: operations of users, news of coordinators and clients.

use nsfl_actor::{Failure, Reply};
use nsfl_types::{Code, JobDocument, JobKey, JobStatus, Namespace, Refusal, Timestamp};
use std::collections::BTreeMap;

/// What a user may ask of a job that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobOperation {
    /// Run it again.
    Start,
    /// End its run.
    Stop,
    /// Remove it.
    Delete,
}

/// A job as users see it.
#[derive(Debug, Clone)]
pub struct JobView {
    /// The job.
    pub key: JobKey,
    /// The document as written.
    pub document: JobDocument,
    /// Who wrote it.
    pub author: String,
    /// State, reason, progress.
    pub status: JobStatus,
    /// Starts so far.
    pub run: u32,
    /// When it was created.
    pub created: Timestamp,
    /// When its last run started.
    pub started: Option<Timestamp>,
    /// Checkpoint id to (accuracy, path in storage).
    pub checkpoints: BTreeMap<String, (Option<f64>, String)>,
}

/// What a coordinator tells of its run.
#[derive(Debug, Clone)]
pub enum RunEvent {
    /// It works.
    Started,
    /// Rounds done.
    Progress {
        /// Rounds done.
        done: u32,
        /// Rounds to do.
        total: u32,
    },
    /// It ended with a model.
    Finished,
    /// It ended with a reason.
    Failed {
        /// The stable code.
        code: Code,
        /// The reason.
        reason: String,
    },
    /// It ended because it was told to.
    Stopped,
}

/// To the job scheduler.
#[derive(Debug)]
pub enum SchedulerMsg {
    /// A new job, as its JSON document.
    Create {
        /// Where.
        namespace: Namespace,
        /// The document.
        document: Vec<u8>,
        /// Who sends it.
        author: String,
        /// Done, or why not.
        reply: Reply<Result<(), Refusal>>,
    },
    /// Another document for a job at rest or waiting.
    Update {
        /// The job.
        key: JobKey,
        /// The document.
        document: Vec<u8>,
        /// Who sends it.
        author: String,
        /// Done, or why not.
        reply: Reply<Result<(), Refusal>>,
    },
    /// Start, stop or delete.
    Operate {
        /// The job.
        key: JobKey,
        /// What to do.
        operation: JobOperation,
        /// Done, or why not.
        reply: Reply<Result<(), Refusal>>,
    },
    /// One job.
    Get {
        /// The job.
        key: JobKey,
        /// The job, or why not.
        reply: Reply<Result<JobView, Refusal>>,
    },
    /// Every job of a namespace, by id.
    List {
        /// Where.
        namespace: Namespace,
        /// The jobs, or why not.
        reply: Reply<Result<Vec<JobView>, Refusal>>,
    },
    /// News of a run.
    Run {
        /// The job.
        key: JobKey,
        /// Which run.
        run: u32,
        /// What happened.
        event: RunEvent,
    },
    /// What came of having a run's coordinator started.
    StartEnded {
        /// The job.
        key: JobKey,
        /// Which run.
        run: u32,
        /// Why there is none.
        ended: Result<(), Failure>,
    },
    /// Clients came, went or changed: waiting jobs may go on, or have another reason to wait.
    ClientsChanged,
    /// Answers of the selector: whether a waiting job's clients are there.
    Checked {
        /// The job.
        key: JobKey,
        /// `Ok` when enough are there, else why not.
        ready: Result<(), String>,
    },
}
