//! A task's two transfers: the base model in, the result out. Resumed where they were cut; not repeated here.

use crate::site::{Site, owner, short_name};
use nsfl_store::StoreError;
use nsfl_types::{BlobRef, Code, Refusal, TaskKey};

/// Brings the base model into the client's store, owned by the task. One that is held already is not fetched.
pub(crate) async fn fetch(site: &Site, key: &TaskKey, base: BlobRef) -> Result<(), Refusal> {
    let blobs = &site.config.blobs;
    match blobs.retain(base.digest, &owner(key)).await {
        Ok(()) => return Ok(()),
        Err(StoreError::NotFound(_)) => {}
        Err(error) => return Err(Refusal::new(error.code(), error.to_string())),
    }
    let fetched = site.transfer.get(base, blobs.as_ref(), &short_name(key), &owner(key)).await;
    fetched.map_err(|refusal| match refusal.code {
        // a server that has just restarted grants again once it has taken up the round: that passes
        Code::BlobRefused => Refusal::new(Code::Busy, refusal.reason),
        code => Refusal::new(code, refusal.reason),
    })
}

/// Brings the result to the server.
pub(crate) async fn upload(site: &Site, blob: BlobRef) -> Result<(), Refusal> {
    let opened = site.config.blobs.open(blob.digest).await;
    let bytes = opened.map_err(|error| Refusal::new(error.code(), error.to_string()))?;
    site.transfer.put(blob, bytes).await.map_err(|refusal| Refusal::new(refusal.code, refusal.reason))
}
