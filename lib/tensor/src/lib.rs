//! Named tensors over safetensors bytes: layouts, views, validation, deltas. No IO, no aggregation rule.
//!
//! Weights stay bytes. A file's physical order does not matter: everything here walks tensors in the
//! one canonical order of [`Layout`], and writes files in it.

mod check;
mod delta;
mod dtype;
mod error;
mod head;
mod layout;
pub mod numbers;
mod view;

pub use check::{UpdateFacts, check_block, check_update};
pub use delta::{change_block, write_delta, write_delta_from};
pub use dtype::{Bf16, DType, F16, F32, F64, Float};
pub use error::{StreamError, TensorError};
pub use head::WeightsHead;
pub use layout::{Layout, TensorSpec};
pub use view::WeightsView;

/// Bytes of one block when weights are streamed: a multiple of every element's size, small enough that
/// its fixed-point sums stay in a core's second-level cache.
pub const BLOCK_BYTES: usize = 64 * 1024;
