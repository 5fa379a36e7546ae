//! What stands before the sections.

use crate::CompressError;
use nsfl_tensor::Layout;
use nsfl_types::{Coding, Digest};
use serde::{Deserialize, Serialize};

const NAME: &[u8; 7] = b"NSFLCMP";
const VERSION: u8 = 1;
/// Bytes before the JSON.
const FIXED: usize = 16;
/// The longest JSON that is looked at.
const MAX: usize = 4096;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Head {
    pub(crate) base: Digest,
    pub(crate) coding: Coding,
}

/// Whether a file is compressed, of whatever version. No safetensors file begins so.
#[must_use]
pub fn is_compressed(bytes: &[u8]) -> bool {
    bytes.starts_with(NAME)
}

pub(crate) fn bytes(base: Digest, coding: &Coding, layout: &Layout) -> Vec<u8> {
    let mut json =
        serde_json::to_vec(&Head { base, coding: *coding }).expect("names and finite numbers can be written");
    json.resize(json.len().next_multiple_of(8), b' ');
    let mut bytes = [NAME.as_slice(), &[VERSION], &(json.len() as u64).to_le_bytes()].concat();
    bytes.append(&mut json);
    bytes.append(&mut layout.header_bytes());
    bytes
}

/// The head, the tensors, and where the sections begin.
pub(crate) fn parse(bytes: &[u8]) -> Result<(Head, Layout, usize), CompressError> {
    let bad = |problem: &str| CompressError::Head(problem.to_owned());
    let fixed: &[u8; FIXED] = bytes.first_chunk().ok_or_else(|| bad("it is cut off"))?;
    if !is_compressed(fixed) {
        return Err(bad("it is another file's"));
    }
    if fixed[NAME.len()] != VERSION {
        return Err(CompressError::Version(fixed[NAME.len()]));
    }
    let (_, length) = fixed.split_last_chunk().ok_or_else(|| bad("it is cut off"))?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok().filter(|length| *length <= MAX);
    let length = length.ok_or_else(|| bad("it is too long"))?;
    let json = bytes.get(FIXED..FIXED + length).ok_or_else(|| bad("it is cut off"))?;
    let head: Head = serde_json::from_slice(json).map_err(|e| bad(&e.to_string()))?;
    let (layout, rest) = Layout::from_header_bytes(&bytes[FIXED + length..])?;
    Ok((head, layout, FIXED + length + rest))
}
