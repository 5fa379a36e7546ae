//! Before a node touches its state: a record that a newer version wrote is refused, so that nothing is parked, trained
//! again or removed only because an older program was started by mistake. Damage is not looked for here.

use crate::exit;
use nsfl_store::{JobStore, StoreError, TaskStore};
use nsfl_workflow::{JobMachine, RunMachine, SnapshotError, TaskMachine};

/// Refuses the server's state when a job, or the run a job is in, is newer than this program.
pub(crate) async fn refuse_jobs(store: &dyn JobStore) -> anyhow::Result<()> {
    for record in store.jobs().await.map_err(exit::store)? {
        let place = format!("job {}", record.key);
        let job = JobMachine::restore(&record.snapshot);
        let run = job.as_ref().map_or(0, JobMachine::run);
        refuse(&place, job)?;
        if let Some(run) = store.run(&record.key, run).await.map_err(exit::store)? {
            refuse(&format!("{place}, run {}", run.run), RunMachine::restore(&run.snapshot))?;
        }
    }
    Ok(())
}

/// Refuses the client's state when a task is newer than this program.
pub(crate) async fn refuse_tasks(store: &dyn TaskStore) -> anyhow::Result<()> {
    for record in store.all().await.map_err(exit::store)? {
        refuse(&format!("task {}", record.key), TaskMachine::restore(&record.snapshot))?;
    }
    Ok(())
}

fn refuse<T>(place: &str, restored: Result<T, SnapshotError>) -> anyhow::Result<()> {
    match restored {
        Err(error) if error.is_newer() => Err(exit::store(StoreError::Newer(format!("{place}: {error}")))),
        _ => Ok(()),
    }
}
