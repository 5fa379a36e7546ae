//! A safetensors file's bytes, parsed and checked once. Borrows, never copies values.

use crate::{Layout, TensorError, WeightsHead};
use safetensors::SafeTensors;

/// Weights in someone else's memory, a file mapping for instance.
#[derive(Debug, Clone)]
pub struct WeightsView<'a> {
    head: WeightsHead,
    bytes: &'a [u8],
}

impl<'a> WeightsView<'a> {
    /// Parses the head of a file and checks that the file is as long as it says. Values are not looked at.
    ///
    /// # Errors
    /// Bytes that are not safetensors, or a data type that is not offered.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, TensorError> {
        let (header_len, metadata) = SafeTensors::read_metadata(bytes).map_err(TensorError::Unreadable)?;
        Ok(Self { head: WeightsHead::of(&metadata, WeightsHead::PREFIX + header_len)?, bytes })
    }

    /// Names, types and shapes, in canonical order.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        self.head.layout()
    }

    /// The bytes of the `index`-th tensor of the layout.
    #[must_use]
    pub fn tensor(&self, index: usize) -> &'a [u8] {
        let start = self.start(index);
        &self.bytes[start..start + self.layout().tensors()[index].range.len()]
    }

    /// Where in the file that tensor begins, for advice to the page cache.
    #[must_use]
    pub fn start(&self, index: usize) -> usize {
        self.head.start(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file whose tensors lie in an order of its own: `b` before `a`.
    fn other_order() -> Vec<u8> {
        let json = br#"{"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#;
        let mut file = (json.len() as u64).to_le_bytes().to_vec();
        file.extend_from_slice(json);
        file.extend_from_slice(&2.0_f32.to_le_bytes());
        file.extend_from_slice(&1.0_f32.to_le_bytes());
        file
    }

    #[test]
    fn tensors_are_found_whatever_the_order_in_the_file() {
        let file = other_order();
        let view = WeightsView::parse(&file).unwrap();
        assert_eq!(view.layout().tensors()[0].name, "a");
        assert_eq!(view.tensor(0), 1.0_f32.to_le_bytes());
        assert_eq!(view.tensor(1), 2.0_f32.to_le_bytes());
        assert_eq!(view.start(1) + 8, file.len());
    }

    #[test]
    fn bytes_that_are_cut_off_or_too_long_are_refused_and_nothing_panics() {
        let mut file = other_order();
        for len in 0..file.len() {
            assert_eq!(WeightsView::parse(&file[..len]).unwrap_err().code(), nsfl_types::Code::BadUpdate);
        }
        file.push(0);
        assert!(WeightsView::parse(&file).is_err());
        assert!(WeightsView::parse(&[0xff; 64]).is_err());
    }

    #[test]
    fn a_data_type_that_is_not_offered_is_named() {
        let json = br#"{"w":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}}"#;
        let mut file = (json.len() as u64).to_le_bytes().to_vec();
        file.extend_from_slice(json);
        file.push(0);
        assert!(WeightsView::parse(&file).unwrap_err().to_string().starts_with("tensor 'w' has the data type F8_E4M3"));
    }
}
