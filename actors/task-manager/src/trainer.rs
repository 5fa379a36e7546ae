//! The seam between a task's executor and what trains: in the daemon child processes, in a simulation something else.

use crate::delta;
use crate::order::Work;
use crate::site::owner;
use async_trait::async_trait;
use nsfl_messages::wire::TaskOrder;
use nsfl_store::BlobStore;
use nsfl_telemetry::{Stage, TraceContext};
use nsfl_types::{BlobRef, Cause, Code, Digest, Metrics, Refusal, TaskKey};
use nsfl_workflow::Outcome;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Does a client's tasks.
#[async_trait]
pub trait Trainer: Send + Sync + 'static {
    /// Whether such a task can be done here at all, before anything is fetched for it.
    ///
    /// # Errors
    /// Why not.
    fn check(&self, order: &TaskOrder) -> Result<(), Refusal> {
        let _ = order;
        Ok(())
    }

    /// What has to be in the client's store besides the base model before the task can run.
    fn needs(&self, work: &Work) -> Vec<BlobRef> {
        work.scripts.iter().map(|scripts| scripts.package).chain(work.inputs).collect()
    }

    /// Does a task to its end. Dropping the future ends it at once, with all it has started.
    async fn run(&self, task: &Assignment) -> Outcome;

    /// The server has accepted the task's update: what its script wants to find again in later rounds is kept. May be
    /// called again for the same task.
    async fn keep(&self, key: &TaskKey, folder: &Path) {
        let _ = (key, folder);
    }

    /// Removes what was kept and is not needed any more. `held` are the packages of the tasks that are held.
    async fn sweep(&self, held: &[BlobRef]) {
        let _ = held;
    }
}

/// One task, with what it works on.
#[derive(Clone)]
pub struct Assignment {
    /// Which task.
    pub key: TaskKey,
    /// The model to start from, as trainers read it; in the store.
    pub base: BlobRef,
    /// The round's model, of which `base` is what came through its compression.
    pub model: Digest,
    /// Where what compression loses is kept.
    pub residuals: PathBuf,
    /// How long it may take.
    pub timeout: Duration,
    /// What is to be done.
    pub work: Work,
    /// The data sets it may read.
    pub datasets: BTreeMap<String, PathBuf>,
    /// Its folder. What an earlier try has left in it is of no use; removed with the task.
    pub folder: PathBuf,
    /// Where models and results are.
    pub blobs: Arc<dyn BlobStore>,
    /// Is told how far the task is; may be told as often as one likes.
    pub progress: ProgressSink,
}

/// Takes a task's progress.
pub type ProgressSink = Arc<dyn Fn(Progress) + Send + Sync>;

/// How far a task is, in its script's own words.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// 0 to 1.
    pub done: Option<f64>,
    /// A sentence.
    pub message: String,
    /// Numbers so far.
    pub metrics: Metrics,
}

impl Assignment {
    /// Makes the update of local weights, which are `name` below a folder that the trainer could write to, and stores it.
    ///
    /// # Errors
    /// Weights that are not the model's or not finite, or what the store says.
    pub async fn update(&self, folder: &Path, name: &str) -> Result<BlobRef, Refusal> {
        let stage = Stage::begin("delta", TraceContext::of_work(&self.key));
        stage.over(delta::store(self, folder, name)).await
    }

    /// Who owns what the task stores.
    #[must_use]
    pub fn owner(&self) -> nsfl_store::Owner {
        owner(&self.key)
    }
}

/// A task's failure, with all that is known of it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    pub(crate) reason: String,
    pub(crate) cause: Option<Box<Cause>>,
}

impl From<Refusal> for Failure {
    fn from(Refusal { code, reason }: Refusal) -> Self {
        Self { code, reason, cause: None }
    }
}
