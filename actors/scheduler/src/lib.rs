//! The job scheduler: records jobs, queues them, has a coordinator started for each when its clients are there,
//! and is the only writer of job states. What may follow what is decided by `nsfl-workflow`'s job machine.

mod book;
mod entry;
mod handle;
mod queue;
#[cfg(test)]
mod tests;

use book::Book;
use nsfl_actor::{Address, Context, Failure, Next, Role, Timer};
use nsfl_aggregate::Rules;
use nsfl_messages::{SchedulerMsg, SelectorMsg, Starter};
use nsfl_store::{BlobStore, JobStore};
use nsfl_types::Namespace;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What a scheduler is started with.
#[derive(Clone)]
pub struct SchedulerArgs {
    /// Where jobs are recorded.
    pub store: Arc<dyn JobStore>,
    /// Where a removed job's blobs are released.
    pub blobs: Arc<dyn BlobStore>,
    /// Who is asked whether a job's clients are there.
    pub selector: Address<SelectorMsg>,
    /// Starts and ends coordinators.
    pub starter: Arc<dyn Starter>,
    /// Namespaces that may hold jobs.
    pub namespaces: Vec<Namespace>,
    /// Rules that jobs may name.
    pub rules: Rules,
    /// Root of the namespaces' storage.
    pub storage: PathBuf,
    /// Jobs that run at once.
    pub max_running: usize,
}

/// The job scheduler.
pub struct Scheduler {
    args: SchedulerArgs,
    book: Book,
    recheck: Option<Timer>,
}

/// How long a neighbour may take to answer.
const ASK: Duration = Duration::from_secs(5);

/// Waiting jobs are looked at again this often even if nobody says that clients changed.
const RECHECK: Duration = Duration::from_secs(2);

impl Role for Scheduler {
    type Msg = SchedulerMsg;
    type Args = SchedulerArgs;
    const KIND: &'static str = "scheduler";

    async fn start(args: SchedulerArgs, ctx: &Context<SchedulerMsg>) -> Result<Self, Failure> {
        // what an earlier life had under way is written or refused before this one reads
        args.store.commit(Vec::new()).await?;
        let book = Book::load(args.store.as_ref()).await?;
        let mut scheduler = Self { args, book, recheck: None };
        scheduler.resume(ctx).await?;
        Ok(scheduler)
    }

    async fn handle(&mut self, msg: SchedulerMsg, ctx: &Context<SchedulerMsg>) -> Result<Next, Failure> {
        self.on_message(msg, ctx).await?;
        Ok(Next::Continue)
    }

    fn observe(&self) -> Value {
        json!({
            "jobs": self.book.count_by_state(),
            "running": self.book.running(),
            "max_running": self.args.max_running,
        })
    }
}
