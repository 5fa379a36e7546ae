//! The result of a train task: local minus global, written to the client's store block by block. The
//! global model is a file mapping.

use bytes::BytesMut;
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
        if !buffer.is_empty() && buffer.len() + block.len() > CHUNK {
            runtime.block_on(writer.write(buffer.split().freeze()))?;
            buffer.reserve(CHUNK);
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

#[cfg(test)]
mod tests {
    use super::*;
    use nsfl_store::memory::MemoryBlobStore;
    use nsfl_store::{BlobStore as _, Owner};
    use nsfl_tensor::{DType, Layout};
    use nsfl_types::Code;

    fn model(values: impl ExactSizeIterator<Item = f32>) -> Vec<u8> {
        let mut file = Layout::new([("w".to_owned(), DType::F32, vec![values.len()])]).unwrap().header_bytes();
        values.for_each(|value| file.extend_from_slice(&value.to_le_bytes()));
        file
    }

    async fn delta(base: Vec<u8>, local: Vec<u8>) -> Result<Vec<u8>, Refusal> {
        let store = MemoryBlobStore::default();
        let writer = store.create().await.unwrap();
        let runtime = Handle::current();
        let writer = tokio::task::spawn_blocking(move || write(&base, &local, writer, &runtime)).await.unwrap()?;
        let blob = writer.commit(&Owner::new("me").unwrap()).await.unwrap();
        Ok(store.open(blob.digest).await.unwrap().to_vec())
    }

    #[tokio::test]
    async fn a_delta_of_several_chunks_is_whole_and_in_order() {
        let len = 5 * CHUNK / 8;
        let base = model((0..len).map(|i| i as f32));
        let local = model((0..len).map(|i| i as f32 + (i % 5) as f32));
        assert!(delta(base, local).await.unwrap() == model((0..len).map(|i| (i % 5) as f32)));
    }

    #[tokio::test]
    async fn weights_that_fit_no_delta_are_refused_by_their_code() {
        let base = || model([1.0, 2.0].into_iter());
        let code = async |local: Vec<u8>| delta(base(), local).await.unwrap_err().code;
        assert_eq!(code(model([f32::NAN, 0.0].into_iter())).await, Code::NotFinite);
        assert_eq!(code(model([1.0].into_iter())).await, Code::WrongShape);
        assert_eq!(code(b"no weights".to_vec()).await, Code::BadUpdate);
    }
}
