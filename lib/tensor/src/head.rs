//! The head of a safetensors file: names, types, shapes and where each tensor lies, without its values. For files that
//! are read piece by piece.

use crate::error::shown;
use crate::{DType, Layout, TensorError};
use safetensors::SafeTensorError;
use safetensors::tensor::Metadata;
use std::collections::BTreeMap;

/// What the head of a file says, checked against the file's length.
#[derive(Debug, Clone)]
pub struct WeightsHead {
    layout: Layout,
    starts: Vec<usize>,
}

impl WeightsHead {
    /// Bytes that say how long the head is.
    pub const PREFIX: usize = 8;
    /// What the safetensors libraries allow.
    const MAX: usize = 100_000_000;

    /// Bytes of the whole head, prefix included, of a file that begins so.
    ///
    /// # Errors
    /// A head that is longer than allowed or than the file.
    pub fn length(prefix: [u8; Self::PREFIX], file_len: u64) -> Result<usize, TensorError> {
        let unreadable = |error| Err(TensorError::Unreadable(error));
        let Ok(len @ ..=Self::MAX) = usize::try_from(u64::from_le_bytes(prefix)) else {
            return unreadable(SafeTensorError::HeaderTooLarge);
        };
        if (Self::PREFIX + len) as u64 > file_len {
            return unreadable(SafeTensorError::InvalidHeaderLength);
        }
        Ok(Self::PREFIX + len)
    }

    /// Parses a whole head, prefix included, of a file of this length.
    ///
    /// # Errors
    /// A head that is none, offsets that do not fit shapes or file, a data type that is not offered.
    pub fn parse(head: &[u8], file_len: u64) -> Result<Self, TensorError> {
        let json = head.get(Self::PREFIX..).unwrap_or_default();
        let metadata: Metadata = serde_json::from_slice(json)
            .map_err(|e| TensorError::Unreadable(SafeTensorError::InvalidHeaderDeserialization(e)))?;
        let parsed = Self::of(&metadata, head.len())?;
        // one after the other without a gap, from the head to the end of the file
        let mut end = head.len() as u64;
        let mut pieces: Vec<_> = parsed.starts.iter().zip(parsed.layout.tensors()).collect();
        pieces.sort_by_key(|(start, spec)| (**start, spec.range.len()));
        for (start, spec) in pieces {
            let info = metadata.info(&spec.name).map(|info| info.data_offsets);
            let fits = info.is_some_and(|(from, to)| to.checked_sub(from) == Some(spec.range.len()));
            if !fits || *start as u64 != end {
                return Err(TensorError::Unreadable(SafeTensorError::InvalidOffset(shown(&spec.name))));
            }
            end += spec.range.len() as u64;
        }
        if end != file_len {
            return Err(TensorError::Unreadable(SafeTensorError::MetadataIncompleteBuffer));
        }
        Ok(parsed)
    }

    /// From what the safetensors library has read.
    pub(crate) fn of(metadata: &Metadata, data_start: usize) -> Result<Self, TensorError> {
        let mut found = BTreeMap::new();
        let mut items = Vec::new();
        for name in metadata.offset_keys() {
            let Some(info) = metadata.info(&name) else { continue };
            let Some(dtype) = DType::from_safetensors(info.dtype) else {
                return Err(TensorError::UnsupportedDType { tensor: shown(&name), dtype: format!("{:?}", info.dtype) });
            };
            found.insert(name.clone(), data_start.saturating_add(info.data_offsets.0));
            items.push((name, dtype, info.shape.clone()));
        }
        let layout = Layout::new(items)?;
        let starts = layout.tensors().iter().map(|t| found[&t.name]).collect();
        Ok(Self { layout, starts })
    }

    /// Names, types and shapes, in canonical order.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Where in the file the `index`-th tensor of the layout begins.
    #[must_use]
    pub fn start(&self, index: usize) -> usize {
        self.starts[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WeightsView;

    fn file(json: &str, data: usize) -> Vec<u8> {
        let mut file = (json.len() as u64).to_le_bytes().to_vec();
        file.extend_from_slice(json.as_bytes());
        file.resize(file.len() + data, 7);
        file
    }

    /// The head alone must be judged as the library judges the whole file.
    fn parse(file: &[u8]) -> Result<WeightsHead, TensorError> {
        let prefix = file.first_chunk().copied().unwrap_or([0xff; 8]);
        let len = WeightsHead::length(prefix, file.len() as u64)?;
        WeightsHead::parse(&file[..len], file.len() as u64)
    }

    #[test]
    fn a_head_says_of_every_file_what_the_whole_file_says() {
        let one = |offsets: &str| format!(r#"{{"w":{{"dtype":"F32","shape":[2],"data_offsets":{offsets}}}}}"#);
        let two = r#"{"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]},
            "e":{"dtype":"F32","shape":[0],"data_offsets":[4,4]},"__metadata__":{"by":"x"}}"#;
        let mut files: Vec<Vec<u8>> = vec![
            file(&one("[0,8]"), 8),
            file(two, 8),
            file(&one("[0,8]"), 9),
            file(&one("[0,8]"), 7),
            file(&one("[4,12]"), 12),
            file(&one("[0,4]"), 4),
            file(&one("[8,0]"), 8),
            file(&one("[0,18446744073709551615]"), 8),
            file("{}", 0),
            file("{}", 1),
            file("no json", 3),
            b"PK\x03\x04 a pickle of torch".to_vec(),
            vec![0xff; 64],
        ];
        let whole = files[1].clone();
        files.extend((0..whole.len()).map(|len| whole[..len].to_vec()));
        for file in files {
            match (parse(&file), WeightsView::parse(&file)) {
                (Ok(head), Ok(view)) => {
                    assert_eq!(head.layout(), view.layout());
                    let starts = |i| (head.start(i), view.start(i));
                    assert!((0..head.layout().tensors().len()).map(starts).all(|(a, b)| a == b));
                }
                (Err(head), Err(view)) => assert_eq!(head.code(), view.code()),
                (head, view) => panic!("{head:?} but {view:?} of {:?}", String::from_utf8_lossy(&file)),
            }
        }
    }
}
