//! The model as trainers read it: one that came compressed is written out into the client's store before anything sees it.

use crate::site::{Site, owner};
use nsfl_actor::{Waiter, blocking};
use nsfl_compress::{CompressError, Compressed, decompress, is_compressed};
use nsfl_store::StoreError;
use nsfl_types::{BlobRef, Code, Digest, Refusal, TaskKey};

/// The model to train on, owned by the task, and which model of the server's it is or was made from.
pub(crate) async fn whole(site: &Site, key: &TaskKey, base: BlobRef) -> Result<(BlobRef, Digest), Refusal> {
    let blobs = &site.config.blobs;
    let bytes = blobs.open(base.digest).await.map_err(|e| stored(&e))?;
    if !is_compressed(&bytes) {
        return Ok((base, base.digest));
    }
    let mut writer = blobs.create().await.map_err(|e| stored(&e))?;
    let (waiter, store) = (Waiter::new(), blobs.clone());
    let written = blocking(move || {
        let unreadable = |e: CompressError| Refusal::new(e.code(), format!("the model: {e}"));
        let compressed = Compressed::parse(&bytes).map_err(unreadable)?;
        let write = |block: &[u8]| waiter.wait(writer.write(block.to_vec().into())).map_err(|e| stored(&e));
        decompress(&compressed, write)?;
        store.forget(&bytes);
        Ok::<_, Refusal>((writer, compressed.base()))
    });
    let broken = |e| Refusal::new(Code::Internal, format!("the model was not decompressed: {e}"));
    let (writer, model) = written.await.map_err(broken)??;
    let whole = writer.commit(&owner(key)).await.map_err(|e| stored(&e))?;
    Ok((whole, model))
}

fn stored(error: &StoreError) -> Refusal {
    Refusal::new(error.code(), format!("the model was not read or stored: {error}"))
}
