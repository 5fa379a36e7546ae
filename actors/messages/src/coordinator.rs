//! To a job's coordinator, and how the scheduler has one started without knowing what it is.

use crate::wire::TaskReport;
use nsfl_actor::{Failure, Reply};
use nsfl_types::{Cause, ClientId, Code, JobKey, JobSpec, Metrics, TaskKey, Timestamp};
use nsfl_workflow::{RunInput, RunView};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// The run that a coordinator is to drive.
#[derive(Debug, Clone)]
pub struct JobRun {
    /// The job.
    pub key: JobKey,
    /// n-th start of the job, from 1.
    pub run: u32,
    /// The checked job.
    pub spec: Arc<JobSpec>,
    /// Who wrote its document, for the sites' policies.
    pub author: String,
}

/// Starts and ends coordinators under the job supervisor. The composition root makes it; the scheduler calls it.
pub trait Starter: Send + Sync + 'static {
    /// Has the coordinator of a run at work: one that is there tells again how its run stands, else it is started. Tries
    /// several times; the error is the last try's.
    fn start(&self, run: JobRun) -> Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + '_>>;
    /// Ends the job's coordinator and forgets its address; nothing when absent.
    fn end<'a>(&'a self, key: &'a JobKey) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
    /// Asks the job's coordinator to stop its run; false when there is none.
    fn stop_run<'a>(&'a self, key: &'a JobKey, run: u32) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>>;
}

/// A run as people see it, with what its machine does not know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CoordinatorView {
    /// The run.
    #[serde(flatten)]
    pub run: RunView,
    /// The awaited whose link has ended.
    #[serde(default)]
    pub away: Vec<ClientId>,
    /// How far the awaited clients are, as far as they have said.
    #[serde(default)]
    pub progress: BTreeMap<ClientId, TaskProgress>,
}

/// How far a client's trainer is, in its own words. Kept in memory only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskProgress {
    /// 0 to 1, if it is known.
    pub done: Option<f64>,
    /// In a few words; may be empty.
    pub message: String,
    /// Numbers so far.
    pub metrics: Metrics,
    /// When it was told.
    pub at: Timestamp,
    /// When it began to bring what it has made.
    #[serde(default)]
    pub uploading: Option<Timestamp>,
}

/// Something that is worth watching and not worth storing.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveEvent {
    /// The job it belongs to.
    pub job: JobKey,
    /// When.
    pub at: Timestamp,
    /// Kebab-case name of the event.
    pub kind: &'static str,
    /// JSON object with its fields.
    pub fields: Value,
}

/// Takes events that are shown to those who watch at the moment, and to nobody later. It must be quick.
pub type Live = Arc<dyn Fn(LiveEvent) + Send + Sync>;

/// To a job's coordinator.
#[derive(Debug)]
pub enum CoordinatorMsg {
    /// A client's report on tasks of this job. The sender is its certificate's identity.
    Report {
        /// Who.
        client: ClientId,
        /// What.
        report: TaskReport,
    },
    /// A client's link fell silent for longer than the grace period or ended, or the client is (back) here.
    Link {
        /// Who.
        client: ClientId,
        /// Its session; news of an older one is ignored.
        session: u64,
        /// Whether it is there.
        up: bool,
    },
    /// Those who have a link, as the selector knows them: asked for once after a restart.
    Linked(BTreeSet<ClientId>),
    /// The update of this task could not be looked at, and it is not to blame: its client is asked for it again.
    Unjudged {
        /// Whose update.
        task: TaskKey,
        /// What the server's trouble is.
        code: Code,
        /// In words.
        reason: String,
    },
    /// Ask for the update of this task again.
    AskAgain(TaskKey),
    /// End the run.
    StopRun {
        /// Which run.
        run: u32,
    },
    /// Tell the scheduler again how the run stands: it may have missed it.
    Tell,
    /// The run as people see it.
    View {
        /// The view.
        reply: Reply<CoordinatorView>,
    },
    /// Work that the coordinator had others do comes back as an input of its machine.
    Input(RunInput),
    /// The same for work whose result is several inputs in a row, and what more is known of it when it failed.
    Inputs {
        /// The inputs, in order.
        inputs: Vec<RunInput>,
        /// Kept with the round that they close.
        cause: Option<Box<Cause>>,
    },
}
