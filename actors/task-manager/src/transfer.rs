//! A task's transfers: the base model and what goes with it in, the result out. Resumed where they were cut; not repeated here.

use crate::order::Work;
use crate::residual;
use crate::site::{Site, owner, short_name};
use nsfl_transport::BlobError;
use nsfl_types::{BlobRef, Code, Refusal, TaskKey};
use nsfl_workflow::TaskMachine;
use std::time::Duration;

/// A partial download untouched for this long is removed.
const IDLE_PARTIAL: Duration = Duration::from_secs(24 * 3600);

/// Brings the base model, and what else a task needs, into the client's store, owned by the task. What is held already
/// is not fetched.
pub(crate) async fn fetch(site: &Site, key: &TaskKey, needed: impl Iterator<Item = BlobRef>) -> Result<(), Refusal> {
    let blobs = &site.config.blobs;
    for blob in needed {
        let fetched = site.transfer.get(blob, blobs.as_ref(), &short_name(key), &owner(key)).await;
        fetched.map_err(|error| match refusal(&error) {
            // a server that has just restarted grants again once it has taken up the round: that passes
            Refusal { code: Code::BlobRefused, reason } => Refusal::new(Code::Busy, reason),
            other => other,
        })?;
    }
    Ok(())
}

/// Removes what no task needs: blobs that nobody owns, partial downloads long untouched, what trainers have kept. A
/// failure is logged: a later sweep tries again.
pub(crate) async fn sweep(site: &Site) {
    if let Err(error) = site.config.blobs.sweep(IDLE_PARTIAL).await {
        tracing::warn!(%error, "blobs not swept");
    }
    let residuals = site.config.residuals.clone();
    if let Err(failure) = nsfl_actor::blocking(move || residual::sweep(&residuals)).await {
        tracing::warn!(%failure, "residuals not swept");
    }
    match site.config.tasks.all().await {
        Ok(records) => {
            let machines = records.iter().filter_map(|record| TaskMachine::restore(&record.snapshot).ok());
            let scripts = machines.filter_map(|machine| Work::of(machine.order()).ok()?.scripts);
            let held: Vec<BlobRef> = scripts.map(|scripts| scripts.package).collect();
            site.config.trainer.sweep(&held).await;
        }
        Err(error) => tracing::warn!(%error, "task records not read for a sweep"),
    }
}

/// Brings the result to the server.
pub(crate) async fn upload(site: &Site, blobs: &[BlobRef]) -> Result<(), Refusal> {
    for blob in blobs {
        site.transfer.put_stored(*blob, &site.config.blobs).await.map_err(|error| refusal(&error))?;
    }
    Ok(())
}

fn refusal(error: &BlobError) -> Refusal {
    Refusal::new(error.code(), error.to_string())
}
