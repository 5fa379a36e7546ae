//! A whole round, block by block: reads the members' updates side by side and hands out the new weights as a
//! safetensors stream. Holds one block of sums and one of output, whatever the size of the model.

use crate::{AggregateError, Partial, Plan};
use nsfl_tensor::{BLOCK_BYTES, StreamError, WeightsView, check_block};
use std::ops::Range;

/// A part of one tensor that is done with: its input pages may be dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Index of the tensor in the layout.
    pub tensor: usize,
    /// Bytes of the tensor.
    pub range: Range<usize>,
}

/// Aggregates `updates`, in the plan's order of members, onto `base`. `write` receives the head of the file and
/// then consecutive blocks; `after_block` is told of each block that has been written.
///
/// # Errors
/// Updates of another model or number than planned, a result that is not finite (what was written is then to be
/// thrown away), or the sink's own error.
pub fn aggregate<E>(
    plan: &Plan,
    base: &WeightsView<'_>,
    updates: &[WeightsView<'_>],
    mut write: impl FnMut(&[u8]) -> Result<(), E>,
    mut after_block: impl FnMut(Block),
) -> Result<(), StreamError<AggregateError, E>> {
    let layout = plan.layout();
    if updates.len() != plan.members() || base.layout() != layout || updates.iter().any(|u| u.layout() != layout) {
        return Err(StreamError::Content(AggregateError::Mismatch("the updates are not those of the plan")));
    }
    write(&layout.header_bytes()).map_err(StreamError::Write)?;
    let mut out = vec![0; BLOCK_BYTES.min(layout.data_len())];
    for (tensor, spec) in layout.tensors().iter().enumerate() {
        let bytes = spec.range.len();
        for start in (0..bytes).step_by(BLOCK_BYTES) {
            let range = start..bytes.min(start + BLOCK_BYTES);
            let out = &mut out[..range.len()];
            one_block(plan, tensor, &range, base, updates, out).map_err(StreamError::Content)?;
            check_block(spec.dtype, out).map_err(|index| {
                let index = index + start / spec.dtype.size();
                StreamError::Content(AggregateError::NotFinite { tensor: spec.name.clone(), index })
            })?;
            write(out).map_err(StreamError::Write)?;
            after_block(Block { tensor, range });
        }
    }
    Ok(())
}

fn one_block(
    plan: &Plan,
    tensor: usize,
    range: &Range<usize>,
    base: &WeightsView<'_>,
    updates: &[WeightsView<'_>],
    out: &mut [u8],
) -> Result<(), AggregateError> {
    let mut partial = Partial::new(plan, tensor, range.len());
    for (member, update) in updates.iter().enumerate() {
        partial.accumulate(member, &update.tensor(tensor)[range.clone()])?;
    }
    partial.finish(&base.tensor(tensor)[range.clone()], out)
}
