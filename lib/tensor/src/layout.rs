//! What a model's tensors are called, how large they are and where they lie in a file. No values.

use crate::error::shown;
use crate::{DType, TensorError, WeightsHead};
use safetensors::SafeTensorError;
use safetensors::tensor::{Metadata, TensorInfo};
use std::collections::BTreeMap;
use std::ops::Range;

/// One tensor of a [`Layout`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// Unique in its model.
    pub name: String,
    /// Type of the elements.
    pub dtype: DType,
    /// Extents, slowest first; empty for a scalar.
    pub shape: Vec<usize>,
    /// Where its bytes lie in the data section of a file in canonical order.
    pub range: Range<usize>,
}

impl TensorSpec {
    /// Number of elements.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.range.len() / self.dtype.size()
    }

    /// Whether it is a running statistic of a normalisation layer, by its name in PyTorch or Keras.
    #[must_use]
    pub fn is_statistic(&self) -> bool {
        const NAMES: [&str; 4] = ["running_mean", "running_var", "moving_mean", "moving_variance"];
        let last = self.name.rsplit(['.', '/']).next().unwrap_or(&self.name);
        self.dtype.is_float() && NAMES.contains(&last.split(':').next().unwrap_or(last))
    }
}

/// The tensors of a model in canonical order: larger elements first, then by name. That is the order in which
/// the safetensors libraries write, and it keeps every tensor aligned.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Layout {
    tensors: Vec<TensorSpec>,
}

impl Layout {
    /// Sorts tensors given as (name, type, shape) and lays them out.
    ///
    /// # Errors
    /// A name given twice; a size that overflows.
    pub fn new(tensors: impl IntoIterator<Item = (String, DType, Vec<usize>)>) -> Result<Self, TensorError> {
        let mut items: Vec<_> = tensors.into_iter().collect();
        items.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let mut layout = Self::default();
        let mut end = 0_usize;
        for (name, dtype, shape) in items {
            let bytes = shape.iter().try_fold(dtype.size(), |n, extent| n.checked_mul(*extent));
            let start = end;
            end = bytes.and_then(|n| n.checked_add(start)).ok_or_else(|| bad(&name, "is too large"))?;
            layout.tensors.push(TensorSpec { name, dtype, shape, range: start..end });
        }
        let by_name = layout.by_name();
        if by_name.len() != layout.tensors.len() {
            let twice = layout.tensors.iter().find(|t| !std::ptr::eq(by_name[t.name.as_str()], *t));
            return Err(bad(twice.map_or("", |t| &t.name), "is there twice"));
        }
        Ok(layout)
    }

    /// The tensors in canonical order.
    #[must_use]
    pub fn tensors(&self) -> &[TensorSpec] {
        &self.tensors
    }

    /// Bytes of all values.
    #[must_use]
    pub fn data_len(&self) -> usize {
        self.tensors.last().map_or(0, |t| t.range.end)
    }

    /// The head of a safetensors file, to be followed by every tensor's bytes in canonical order:
    /// length (8 bytes, little-endian) and JSON padded with spaces to a multiple of 8.
    #[must_use]
    pub fn header_bytes(&self) -> Vec<u8> {
        let info = |t: &TensorSpec| TensorInfo {
            dtype: t.dtype.to_safetensors(),
            shape: t.shape.clone(),
            data_offsets: (t.range.start, t.range.end),
        };
        let infos = self.tensors.iter().map(|t| (t.name.clone(), info(t))).collect();
        let metadata = Metadata::new(None, infos).expect("a checked layout has contiguous offsets of the right size");
        let mut json = serde_json::to_vec(&metadata).expect("names and numbers always serialise");
        json.resize(json.len().next_multiple_of(8), b' ');
        let mut header = (json.len() as u64).to_le_bytes().to_vec();
        header.append(&mut json);
        header
    }

    /// Reads what `header_bytes` has written at the beginning of `bytes`; also, how long it is.
    ///
    /// # Errors
    /// Bytes that do not begin with the canonical head of a layout.
    pub fn from_header_bytes(bytes: &[u8]) -> Result<(Self, usize), TensorError> {
        let prefix = bytes.first_chunk().copied().unwrap_or([0xff; WeightsHead::PREFIX]);
        let length = WeightsHead::length(prefix, bytes.len() as u64)?;
        let head = &bytes[..length];
        let metadata: Metadata = serde_json::from_slice(&head[WeightsHead::PREFIX..])
            .map_err(|e| TensorError::Unreadable(SafeTensorError::InvalidHeaderDeserialization(e)))?;
        let layout = WeightsHead::of(&metadata, length)?.layout().clone();
        if layout.header_bytes() != head {
            return Err(TensorError::Unreadable(SafeTensorError::MetadataIncompleteBuffer));
        }
        Ok((layout, length))
    }

    /// Checks that `other` has the same tensors. After that, the same index means the same tensor in both.
    ///
    /// # Errors
    /// The first tensor that is missing, extra, or of another shape or type.
    pub fn check_same(&self, other: &Layout) -> Result<(), TensorError> {
        if self == other {
            return Ok(());
        }
        let (ours, theirs) = (self.by_name(), other.by_name());
        for (name, expected) in &ours {
            let tensor = shown(name);
            let Some(got) = theirs.get(name) else { return Err(TensorError::Missing { tensor }) };
            if got.shape != expected.shape {
                let (expected, got) = (expected.shape.clone(), got.shape.clone());
                return Err(TensorError::Shape { tensor, expected, got });
            }
            if got.dtype != expected.dtype {
                return Err(TensorError::WrongDType { tensor, expected: expected.dtype, got: got.dtype });
            }
        }
        let extra = theirs.keys().find(|name| !ours.contains_key(*name));
        extra.map_or(Ok(()), |name| Err(TensorError::Extra { tensor: shown(name) }))
    }

    fn by_name(&self) -> BTreeMap<&str, &TensorSpec> {
        self.tensors.iter().map(|t| (t.name.as_str(), t)).collect()
    }
}

fn bad(name: &str, problem: &'static str) -> TensorError {
    TensorError::BadLayout { tensor: shown(name), problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(items: &[(&str, DType, &[usize])]) -> Layout {
        Layout::new(items.iter().map(|(n, d, s)| ((*n).to_owned(), *d, s.to_vec()))).unwrap()
    }

    #[test]
    fn the_header_is_the_one_the_safetensors_library_writes() {
        let ours = layout(&[
            ("b", DType::F32, &[2, 3]),
            ("a", DType::F32, &[1]),
            ("n", DType::I64, &[]),
            ("h", DType::Bf16, &[0]),
        ]);
        let bytes = vec![0_u8; ours.data_len()];
        let views = ours.tensors().iter().map(|t| {
            let view = safetensors::tensor::TensorView::new(
                t.dtype.to_safetensors(),
                t.shape.clone(),
                &bytes[t.range.clone()],
            );
            (t.name.clone(), view.unwrap())
        });
        let theirs = safetensors::serialize(views, None).unwrap();
        assert_eq!([ours.header_bytes(), bytes.clone()].concat(), theirs);
        assert_eq!(Layout::from_header_bytes(&theirs).unwrap(), (ours.clone(), ours.header_bytes().len()));
        for len in 0..ours.header_bytes().len() {
            assert!(Layout::from_header_bytes(&theirs[..len]).is_err());
        }
    }

    #[test]
    fn a_name_given_twice_and_a_size_that_overflows_are_refused() {
        let twice = [("a".to_owned(), DType::F32, vec![1]), ("a".to_owned(), DType::F64, vec![1])];
        assert_eq!(Layout::new(twice).unwrap_err().to_string(), "tensor 'a' is there twice");
        let large = [("a".to_owned(), DType::F32, vec![usize::MAX, 2])];
        assert_eq!(Layout::new(large).unwrap_err().to_string(), "tensor 'a' is too large");
    }

    #[test]
    fn a_difference_is_told_by_the_tensors_name() {
        let model = layout(&[("a", DType::F32, &[2]), ("b", DType::F32, &[3])]);
        let says = |other: &[(&str, DType, &[usize])]| model.check_same(&layout(other)).unwrap_err().to_string();
        assert_eq!(says(&[("a", DType::F32, &[2])]), "tensor 'b' is missing");
        assert_eq!(
            says(&[("a", DType::F32, &[2]), ("b", DType::F32, &[3]), ("c", DType::F32, &[1])]),
            "tensor 'c' is not part of the model"
        );
        assert_eq!(
            says(&[("a", DType::F32, &[2]), ("b", DType::F32, &[3, 1])]),
            "tensor 'b' has the shape [3, 1]; the model's is [3]"
        );
        assert_eq!(
            says(&[("a", DType::F16, &[2]), ("b", DType::F32, &[3])]),
            "tensor 'a' has the data type F16; the model's is F32"
        );
        let long = "x".repeat(5000);
        assert!(says(&[("a", DType::F32, &[2]), ("b", DType::F32, &[3]), (&long, DType::F32, &[1])]).len() < 200);
    }
}
