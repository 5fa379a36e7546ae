//! Blocks of float tensors as `f64` and back.

use crate::{Bf16, DType, F16, F32, F64, Float};

/// Loads little-endian floats, as many as there is room for.
#[inline(always)]
pub fn load(dtype: DType, bytes: &[u8], out: &mut [f64]) {
    #[inline(always)]
    fn all<F: Float<N>, const N: usize>(bytes: &[u8], out: &mut [f64]) {
        out.iter_mut().zip(bytes.as_chunks::<N>().0).for_each(|(out, value)| *out = F::load(*value));
    }
    match dtype {
        DType::F64 => all::<F64, 8>(bytes, out),
        DType::F16 => all::<F16, 2>(bytes, out),
        DType::Bf16 => all::<Bf16, 2>(bytes, out),
        _ => all::<F32, 4>(bytes, out),
    }
}

/// Stores them, each rounded once.
pub fn store(dtype: DType, values: &[f64], out: &mut [u8]) {
    fn all<F: Float<N>, const N: usize>(values: &[f64], out: &mut [u8]) {
        out.as_chunks_mut::<N>().0.iter_mut().zip(values).for_each(|(out, value)| *out = F::store(*value));
    }
    match dtype {
        DType::F64 => all::<F64, 8>(values, out),
        DType::F16 => all::<F16, 2>(values, out),
        DType::Bf16 => all::<Bf16, 2>(values, out),
        _ => all::<F32, 4>(values, out),
    }
}
