//! The result of a train task: local minus global, written to the client's store block by block. No model is held
//! in memory: both come as slices of file mappings, from the store, where no trainer can cut them short any more.

use bytes::{Bytes, BytesMut};
use nsfl_store::{BlobWriter, StoreError};
use nsfl_tensor::{StreamError, TensorError, WeightsView, write_delta};
use nsfl_types::Refusal;
use tokio::runtime::Handle;

/// Bytes handed to the store at once.
const CHUNK: usize = 1 << 20;

/// Writes `local − base`, both safetensors files, and gives the writer back to be committed. Blocks its thread, and
/// waits for the store on `runtime`: for the blocking pool only.
///
/// # Errors
/// Weights that are not the model's or not finite, or what the store says.
pub(crate) fn write(
    base: &[u8],
    local: &[u8],
    mut writer: Box<dyn BlobWriter>,
    runtime: &Handle,
) -> Result<Box<dyn BlobWriter>, Refusal> {
    let base = WeightsView::parse(base).map_err(|e| bad_content(&e))?;
    let local = WeightsView::parse(local).map_err(|e| bad_content(&e))?;
    let mut buffer = BytesMut::with_capacity(CHUNK);
    let written = write_delta(&base, &local, |block| {
        if buffer.len() + block.len() > CHUNK && !buffer.is_empty() {
            runtime.block_on(writer.write(buffer.split().freeze()))?;
            buffer.reserve(CHUNK);
        }
        if block.len() > CHUNK {
            return runtime.block_on(writer.write(Bytes::copy_from_slice(block)));
        }
        buffer.extend_from_slice(block);
        Ok(())
    });
    written.map_err(|error| match error {
        StreamError::Content(content) => bad_content(&content),
        StreamError::Write(store) => bad_store(&store),
    })?;
    runtime.block_on(writer.write(buffer.freeze())).map_err(|e| bad_store(&e))?;
    Ok(writer)
}

fn bad_content(error: &TensorError) -> Refusal {
    Refusal::new(error.code(), format!("the trainer's weights: {error}"))
}

fn bad_store(error: &StoreError) -> Refusal {
    Refusal::new(error.code(), format!("the result was not stored: {error}"))
}
