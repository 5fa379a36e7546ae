//! A task's two transfers: the base model in, the result out. Resumed where they were cut; not repeated here.

use crate::site::{Site, owner, short_name};
use nsfl_transport::BlobError;
use nsfl_types::{BlobRef, Code, Refusal, TaskKey};
use std::time::Duration;

/// A partial download untouched for this long is removed.
const IDLE_PARTIAL: Duration = Duration::from_secs(24 * 3600);

/// Brings the base model into the client's store, owned by the task. One that is held already is not fetched.
pub(crate) async fn fetch(site: &Site, key: &TaskKey, base: BlobRef) -> Result<(), Refusal> {
    let blobs = &site.config.blobs;
    let fetched = site.transfer.get(base, blobs.as_ref(), &short_name(key), &owner(key)).await;
    fetched.map_err(|error| match refusal(&error) {
        // a server that has just restarted grants again once it has taken up the round: that passes
        Refusal { code: Code::BlobRefused, reason } => Refusal::new(Code::Busy, reason),
        other => other,
    })
}

/// Removes blobs that nobody owns, and partial downloads long untouched. A failure is logged: a later sweep tries again.
pub(crate) async fn sweep(site: &Site) {
    if let Err(error) = site.config.blobs.sweep(IDLE_PARTIAL).await {
        tracing::warn!(%error, "blobs not swept");
    }
}

/// Brings the result to the server.
pub(crate) async fn upload(site: &Site, blobs: &[BlobRef]) -> Result<(), Refusal> {
    for blob in blobs {
        let opened = site.config.blobs.open(blob.digest).await;
        let bytes = opened.map_err(|error| Refusal::new(error.code(), error.to_string()))?;
        site.transfer.put(*blob, bytes).await.map_err(|error| refusal(&error))?;
    }
    Ok(())
}

fn refusal(error: &BlobError) -> Refusal {
    Refusal::new(error.code(), error.to_string())
}
