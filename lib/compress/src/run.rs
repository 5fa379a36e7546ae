//! A run: the values of a page, all of it or some, as bytes and back.

use crate::form::{WORD, run_len};
use crate::quantise::{self, Chances, ScaleOf};
use nsfl_tensor::{Bf16, DType, F16, Float as _, numbers};
use nsfl_types::Values;
use std::ops::Range;

/// How a tensor's runs are written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) values: Values,
    pub(crate) dtype: DType,
    /// The tensor's scale, where it has one for all.
    pub(crate) scale: f32,
}

/// Why bytes are no run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoRun {
    Scale,
    Numbers,
}

impl Run {
    /// Appends the run of these values.
    ///
    /// # Errors
    /// The index of a value that is too large to be written so.
    pub(crate) fn encode(&self, values: &[f64], chances: &mut Chances, out: &mut Vec<u8>) -> Result<(), usize> {
        match self.values {
            Values::Whole => {
                let start = out.len();
                out.resize(start + values.len() * self.dtype.size(), 0);
                numbers::store(self.dtype, values, &mut out[start..]);
            }
            Values::F16 => halves(values, F16::store, F16::load, out)?,
            Values::Bf16 => halves(values, Bf16::store, Bf16::load, out)?,
            Values::Qsgd { bits, bucket, norm } => {
                let size = bucket.map_or(values.len().max(1), nsfl_types::Bucket::get);
                for (i, bucketful) in values.chunks(size).enumerate() {
                    let mut scale = self.scale;
                    if bucket.is_some() {
                        let mut of = ScaleOf::new(norm);
                        of.add(bucketful);
                        scale = of.finish().map_err(|at| i * size + at)?;
                        out.extend_from_slice(&scale.to_le_bytes());
                    }
                    quantise::quantise(bucketful, scale, bits, chances, out);
                }
            }
        }
        Ok(())
    }

    /// Some values of a run, as many as there is room for. Of bytes that are no run the values are whatever they are.
    pub(crate) fn decode(&self, run: &[u8], first: usize, out: &mut [f64]) {
        let from = |size: usize| run.get(first * size..).unwrap_or_default();
        match self.values {
            Values::Whole => numbers::load(self.dtype, from(self.dtype.size()), out),
            Values::F16 => numbers::load(DType::F16, from(2), out),
            Values::Bf16 => numbers::load(DType::Bf16, from(2), out),
            Values::Qsgd { bits, bucket: None, .. } => quantise::values(run, first, self.scale, bits, out),
            Values::Qsgd { bits, bucket: Some(bucket), .. } => {
                let (size, stride) = (bucket.get(), WORD + bucket.get() * bits.count() / 8);
                let (mut at, mut out) = (first, out);
                while !out.is_empty() {
                    let len = (size - at % size).min(out.len());
                    let (part, rest) = out.split_at_mut(len);
                    let bytes = run.get(at / size * stride..).unwrap_or_default();
                    let (scale, numbers) = bytes.split_at(WORD.min(bytes.len()));
                    quantise::values(numbers, at % size, word(scale), bits, part);
                    (at, out) = (at + len, rest);
                }
            }
        }
    }

    /// Checks a whole run of `count` values: not what the values are, which is seen when they are decoded.
    pub(crate) fn check(&self, run: &[u8], count: usize) -> Result<(), NoRun> {
        let Values::Qsgd { bits, bucket, .. } = self.values else { return Ok(()) };
        let size = bucket.map_or(count.max(1), nsfl_types::Bucket::get);
        let mut rest = run;
        for start in (0..count).step_by(size) {
            let len = size.min(count - start);
            let (part, after) = rest.split_at((run_len(self.values, self.dtype, len)).min(rest.len()));
            let (scale, numbers) = part.split_at(if bucket.is_some() { WORD.min(part.len()) } else { 0 });
            if bucket.is_some() && !is_scale(word(scale)) {
                return Err(NoRun::Scale);
            }
            if !quantise::are_numbers(numbers, len, bits) {
                return Err(NoRun::Numbers);
            }
            rest = after;
        }
        Ok(())
    }
}

pub(crate) fn is_scale(scale: f32) -> bool {
    scale.is_finite() && scale.is_sign_positive()
}

/// The `f32` that bytes begin with; 0 where there are too few.
pub(crate) fn word(bytes: &[u8]) -> f32 {
    bytes.first_chunk().map_or(0.0, |bytes| f32::from_le_bytes(*bytes))
}

fn halves(values: &[f64], store: fn(f64) -> [u8; 2], load: fn([u8; 2]) -> f64, out: &mut Vec<u8>) -> Result<(), usize> {
    for (i, value) in values.iter().enumerate() {
        let half = store(*value);
        if !load(half).is_finite() {
            return Err(i);
        }
        out.extend_from_slice(&half);
    }
    Ok(())
}

/// What of `range` lies in `page`, from the page's beginning.
pub(crate) fn within(range: &Range<usize>, page: &Range<usize>) -> Range<usize> {
    range.start.max(page.start) - page.start..range.end.min(page.end) - page.start
}
