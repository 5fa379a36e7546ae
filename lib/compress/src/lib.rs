//! Compressed updates and models: written as a stream, read block by block, the same bytes of the same seed. No IO.
//!
//! The file, version 1. Numbers are little-endian; nothing is padded but as said.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `NSFLCMP` and the version, 1 |
//! | 8 | length of the JSON that follows, padded with spaces to a multiple of 8 |
//! | | JSON: `base`, SHA-256 of the model it is an update to (or is made from); `coding` |
//! | | the head of the safetensors file that it stands for, in canonical order |
//! | | a section for each tensor, in that order |
//!
//! Integers, booleans and running statistics are written whole, as they stand in a safetensors file: a variance must not be
//! rounded below 0. The section of another tensor is:
//!
//! - with QSGD by tensor: its scale, an `f32`;
//! - with top-k: of each page of 65536 elements how many values follow, a `u32`;
//! - page by page: with top-k the places of its values in the page, each a `u16`, ascending; then the values, one run.
//!
//! A run is values as they are, as half precision, or buckets of QSGD: a scale, an `f32`, and the bucket's numbers of steps
//! (`i8`, or two to a byte, the first below). A value is its number of steps × (scale / the largest number), in `f64`,
//! rounded once to the tensor's type. Every place of a tensor is found without what stands before it.
//!
//! What coding loses, error feedback gives back: the client adds it to its next update (Stich et al. 2018, arXiv 1809.07599;
//! Karimireddy et al. 2019, arXiv 1901.09847). Here it is what [`compress`] hands out as [`Part::Lost`].

mod compressed;
mod error;
mod form;
mod head;
mod quantise;
mod run;
mod select;
mod update;
mod write;

pub use compressed::{Compressed, decompress};
pub use error::CompressError;
pub use form::{compressed_len, lost_layout};
pub use head::is_compressed;
pub use update::Update;
pub use write::{Part, Task, compress};
