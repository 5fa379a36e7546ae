//! Validation of an update before any rule sees it, and the facts a rule needs of it: one pass over the bytes.

use crate::error::shown;
use crate::{DType, Layout, TensorError, WeightsView};
use serde::{Deserialize, Serialize};

/// What is known of a checked update: the largest magnitude in each tensor. Stored with the update, as bit
/// patterns, so that a sum made from stored facts is the same to the bit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UpdateFacts {
    max_abs_bits: Vec<u64>,
}

impl UpdateFacts {
    /// Largest |x| of the `index`-th tensor of the layout: 0 for an integer or empty tensor.
    #[must_use]
    pub fn max_abs(&self, index: usize) -> f64 {
        f64::from_bits(self.max_abs_bits[index])
    }

    /// For how many tensors.
    #[must_use]
    pub fn tensors(&self) -> usize {
        self.max_abs_bits.len()
    }

    /// Before any value was seen.
    #[must_use]
    pub fn zero(tensors: usize) -> Self {
        Self { max_abs_bits: vec![0; tensors] }
    }

    /// A value of this magnitude was seen in the `index`-th tensor.
    pub fn raise(&mut self, index: usize, max_abs: f64) {
        let bits = &mut self.max_abs_bits[index];
        // bit patterns of floats that are not negative have the order of the floats
        *bits = (*bits).max(max_abs.to_bits());
    }
}

/// Checks that an update has the tensors of the model it was made from, and only finite values.
///
/// # Errors
/// The first difference, or the first value that is not finite, with the tensor's name.
pub fn check_update(base: &Layout, update: &WeightsView<'_>) -> Result<UpdateFacts, TensorError> {
    base.check_same(update.layout())?;
    let mut facts = UpdateFacts::zero(base.tensors().len());
    for (i, spec) in base.tensors().iter().enumerate() {
        let max = check_block(spec.dtype, update.tensor(i))
            .map_err(|index| TensorError::NotFinite { tensor: shown(&spec.name), index })?;
        facts.raise(i, max);
    }
    Ok(facts)
}

/// The largest magnitude among little-endian values, 0 for integers.
///
/// # Errors
/// The index of the first value that is NaN or infinite.
pub fn check_block(dtype: DType, bytes: &[u8]) -> Result<f64, usize> {
    match dtype {
        DType::F32 => scan32(bytes, 0x7f80_0000).map(|bits| f64::from(f32::from_bits(bits))),
        DType::F64 => scan64(bytes, 0x7ff0_0000_0000_0000).map(f64::from_bits),
        DType::F16 => scan16(bytes, 0x7c00).map(|bits| half::f16::from_bits(bits).to_f64()),
        DType::Bf16 => scan16(bytes, 0x7f80).map(|bits| half::bf16::from_bits(bits).to_f64()),
        _ => Ok(0.0),
    }
}

// Without its sign, a float's bit pattern has the order of its magnitude, with infinity and then NaN on top.
// So one integer maximum finds both the largest magnitude and whether anything is not finite; sixteen lanes
// keep the additions independent of each other, and signed integers are what every x86 can compare.
macro_rules! scan {
    ($name:ident, $int:ty, $signed:ty) => {
        fn $name(bytes: &[u8], infinity: $int) -> Result<$int, usize> {
            const SIZE: usize = size_of::<$int>();
            let magnitude = |b: &[u8; SIZE]| <$signed>::from_le_bytes(*b) & <$signed>::MAX;
            let (values, _) = bytes.as_chunks::<SIZE>();
            let (blocks, rest) = values.as_chunks::<16>();
            let mut lanes = [0; 16];
            for block in blocks {
                for (lane, value) in lanes.iter_mut().zip(block) {
                    *lane = magnitude(value).max(*lane);
                }
            }
            let max = lanes.into_iter().chain(rest.iter().map(magnitude)).max().unwrap_or(0).cast_unsigned();
            if max < infinity {
                return Ok(max);
            }
            Err(values.iter().position(|v| magnitude(v).cast_unsigned() >= infinity).unwrap_or(0))
        }
    };
}

scan!(scan16, u16, i16);
scan!(scan32, u32, i32);
scan!(scan64, u64, i64);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(dtype: DType, shape: Vec<usize>, data: &[u8]) -> Vec<u8> {
        let layout = Layout::new([("layer.w".to_owned(), dtype, shape)]).unwrap();
        [layout.header_bytes(), data.to_vec()].concat()
    }

    fn bytes(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    proptest! {
        #[test]
        fn facts_hold_the_largest_magnitude(values in prop::collection::vec(-1e38_f32..1e38, 0..100)) {
            let file = file(DType::F32, vec![values.len()], &bytes(&values));
            let view = WeightsView::parse(&file).unwrap();
            let facts = check_update(view.layout(), &view).unwrap();
            let max = values.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
            prop_assert_eq!(facts.max_abs(0), f64::from(max));
            let json = serde_json::to_string(&facts).unwrap();
            prop_assert_eq!(serde_json::from_str::<UpdateFacts>(&json).unwrap(), facts);
        }

        #[test]
        fn a_value_that_is_not_finite_is_found_wherever_it_is(len in 1_usize..70, at in 0_usize..70, nan: bool) {
            let at = at % len;
            let mut values = vec![-1.5_f32; len];
            values[at] = if nan { -f32::NAN } else { f32::NEG_INFINITY };
            let file = file(DType::F32, vec![len], &bytes(&values));
            let view = WeightsView::parse(&file).unwrap();
            let e = check_update(view.layout(), &view).unwrap_err();
            prop_assert_eq!(e.code(), nsfl_types::Code::NotFinite);
            prop_assert_eq!(e.to_string(), format!("tensor 'layer.w' holds a value that is not finite at index {at}"));
        }
    }

    #[test]
    fn every_float_type_is_checked_and_integers_are_not() {
        assert_eq!(check_block(DType::F64, &(-3.5_f64).to_le_bytes()), Ok(3.5));
        assert_eq!(check_block(DType::F64, &f64::NAN.to_le_bytes()), Err(0));
        assert_eq!(check_block(DType::F16, &half::f16::from_f32(-0.5).to_le_bytes()), Ok(0.5));
        assert_eq!(check_block(DType::F16, &half::f16::INFINITY.to_le_bytes()), Err(0));
        assert_eq!(check_block(DType::Bf16, &half::bf16::from_f32(2.0).to_le_bytes()), Ok(2.0));
        assert_eq!(check_block(DType::Bf16, &half::bf16::NAN.to_le_bytes()), Err(0));
        assert_eq!(check_block(DType::I32, &(-1_i32).to_le_bytes()), Ok(0.0));
    }
}
