//! The control variate of SCAFFOLD beside a model: added when a run begins, taken off where a model leaves it.

use nsfl_actor::{Failure, Waiter};
use nsfl_aggregate::{is_control, with_controls, without_controls};
use nsfl_store::{BlobStore, BlobWriter, Owner, StoreError};
use nsfl_tensor::{BLOCK_BYTES, Layout, TensorError, WeightsView};
use nsfl_types::{BlobRef, Code, Refusal};
use std::sync::Arc;

/// The model with a control variate of zeros for each of its floating-point tensors.
pub(crate) async fn add_controls(
    blobs: &Arc<dyn BlobStore>,
    model: BlobRef,
    owner: &Owner,
) -> Result<BlobRef, Refusal> {
    rewritten(blobs, model, owner, with_controls).await
}

/// The model's own tensors.
pub(crate) async fn strip_controls(
    blobs: &Arc<dyn BlobStore>,
    model: BlobRef,
    owner: &Owner,
) -> Result<BlobRef, Refusal> {
    rewritten(blobs, model, owner, without_controls).await
}

async fn rewritten(
    blobs: &Arc<dyn BlobStore>,
    model: BlobRef,
    owner: &Owner,
    layout: fn(&Layout) -> Result<Layout, TensorError>,
) -> Result<BlobRef, Refusal> {
    let bytes = blobs.open(model.digest).await.map_err(|e| stored(&e))?;
    let mut writer = blobs.create().await.map_err(|e| stored(&e))?;
    let waiter = Waiter::new();
    let written = nsfl_actor::blocking(move || {
        let view = WeightsView::parse(&bytes).map_err(|e| tensor(&e))?;
        let layout = layout(view.layout()).map_err(|e| tensor(&e))?;
        write(&view, &layout, |block| waiter.wait(writer.write(block.to_vec().into()))).map_err(|e| stored(&e))?;
        Ok::<Box<dyn BlobWriter>, Refusal>(writer)
    });
    let broken = |failure: Failure| Refusal::new(Code::Internal, failure.to_string());
    written.await.map_err(broken)??.commit(owner).await.map_err(|e| stored(&e))
}

/// The view's tensors in this layout; a control it does not have is zero.
fn write(
    view: &WeightsView<'_>,
    layout: &Layout,
    mut write: impl FnMut(&[u8]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    write(&layout.header_bytes())?;
    let zeros = vec![0; BLOCK_BYTES];
    for spec in layout.tensors() {
        match view.layout().tensors().iter().position(|tensor| tensor.name == spec.name) {
            Some(index) => view.tensor(index).chunks(BLOCK_BYTES).try_for_each(&mut write)?,
            None => {
                debug_assert!(is_control(&spec.name), "only controls are new");
                let mut left = spec.range.len();
                while left > 0 {
                    let block = left.min(zeros.len());
                    write(&zeros[..block])?;
                    left -= block;
                }
            }
        }
    }
    Ok(())
}

fn stored(error: &StoreError) -> Refusal {
    Refusal::new(error.code(), Failure::from_error(error).to_string())
}

fn tensor(error: &TensorError) -> Refusal {
    Refusal::new(error.code(), Failure::from_error(error).to_string())
}
