//! Element types: which there are, and how a float is read from and written to little-endian bytes.

use std::fmt;

/// The type of a tensor's elements. Ordered by size, then kind: the canonical order of a file puts large elements first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names say it all")]
pub enum DType {
    Bool,
    U8,
    I8,
    I16,
    U16,
    F16,
    Bf16,
    I32,
    U32,
    F32,
    F64,
    I64,
    U64,
}

use safetensors::Dtype as S;

const TABLE: [(DType, S, usize, &str); 13] = [
    (DType::Bool, S::BOOL, 1, "BOOL"),
    (DType::U8, S::U8, 1, "U8"),
    (DType::I8, S::I8, 1, "I8"),
    (DType::I16, S::I16, 2, "I16"),
    (DType::U16, S::U16, 2, "U16"),
    (DType::F16, S::F16, 2, "F16"),
    (DType::Bf16, S::BF16, 2, "BF16"),
    (DType::I32, S::I32, 4, "I32"),
    (DType::U32, S::U32, 4, "U32"),
    (DType::F32, S::F32, 4, "F32"),
    (DType::F64, S::F64, 8, "F64"),
    (DType::I64, S::I64, 8, "I64"),
    (DType::U64, S::U64, 8, "U64"),
];

impl DType {
    /// All names, for messages.
    pub const NAMES: &'static str = "BOOL, U8, I8, I16, U16, F16, BF16, I32, U32, F32, F64, I64, U64";

    /// Bytes of one element.
    #[must_use]
    pub fn size(self) -> usize {
        TABLE[self as usize].2
    }

    /// Whether it is averaged (floats) or combined by its maximum (integers and booleans).
    #[must_use]
    pub fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::Bf16 | Self::F32 | Self::F64)
    }

    pub(crate) fn from_safetensors(dtype: S) -> Option<Self> {
        TABLE.iter().find(|row| row.1 == dtype).map(|row| row.0)
    }

    pub(crate) fn to_safetensors(self) -> S {
        TABLE[self as usize].1
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(TABLE[*self as usize].3)
    }
}

/// A float of `N` bytes, little-endian. Kernels are generic over it, so that each type gets a loop of its own.
pub trait Float<const N: usize> {
    /// The value, exactly.
    fn load(bytes: [u8; N]) -> f64;
    /// The nearest value of this type; infinity when it is too large.
    fn store(value: f64) -> [u8; N];
}

/// `f32`.
#[derive(Debug)]
pub enum F32 {}
/// `f64`.
#[derive(Debug)]
pub enum F64 {}
/// IEEE half precision.
#[derive(Debug)]
pub enum F16 {}
/// bfloat16.
#[derive(Debug)]
pub enum Bf16 {}

impl Float<4> for F32 {
    #[inline(always)]
    fn load(bytes: [u8; 4]) -> f64 {
        f64::from(f32::from_le_bytes(bytes))
    }

    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "rounding to the narrower type is the purpose")]
    fn store(value: f64) -> [u8; 4] {
        (value as f32).to_le_bytes()
    }
}

impl Float<8> for F64 {
    #[inline(always)]
    fn load(bytes: [u8; 8]) -> f64 {
        f64::from_le_bytes(bytes)
    }

    #[inline(always)]
    fn store(value: f64) -> [u8; 8] {
        value.to_le_bytes()
    }
}

impl Float<2> for F16 {
    #[inline(always)]
    fn load(bytes: [u8; 2]) -> f64 {
        half::f16::from_le_bytes(bytes).to_f64()
    }

    #[inline(always)]
    fn store(value: f64) -> [u8; 2] {
        half::f16::from_f64(value).to_le_bytes()
    }
}

impl Float<2> for Bf16 {
    #[inline(always)]
    fn load(bytes: [u8; 2]) -> f64 {
        f64::from(half::bf16::from_le_bytes(bytes).to_f32())
    }

    #[inline(always)]
    fn store(value: f64) -> [u8; 2] {
        half::bf16::from_f64(value).to_le_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum_and_by_size() {
        for (i, row) in TABLE.iter().enumerate() {
            assert_eq!(row.0 as usize, i);
            assert_eq!(row.2 * 8, row.1.bitsize());
            assert_eq!(DType::from_safetensors(row.1), Some(row.0));
        }
        assert!(TABLE.windows(2).all(|w| w[0].2 <= w[1].2));
        assert_eq!(TABLE.map(|row| row.3).join(", "), DType::NAMES);
    }
}
