//! Which values are the k largest by magnitude, found by counting digits of their bit patterns: no value is held. Of values
//! that are equal the first are taken.

use nsfl_tensor::DType;

/// Where the largest end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    dtype: DType,
    /// The least that is taken.
    key: u64,
    /// How many of those that are equal to it are still to be taken.
    equal: usize,
}

const DIGIT: u32 = 16;

/// Magnitudes of floats have the order of these numbers.
#[allow(clippy::cast_possible_truncation, reason = "a value of a narrower type is an f32")]
fn key(dtype: DType, value: f64) -> u64 {
    match dtype {
        DType::F64 => value.abs().to_bits(),
        _ => u64::from((value.abs() as f32).to_bits()),
    }
}

impl Cut {
    /// After the `k` largest, k ≥ 1, of the values that each call of `pass` hands out, the same each time.
    ///
    /// # Errors
    /// Those of `pass`.
    pub(crate) fn after<E>(
        dtype: DType,
        k: usize,
        mut pass: impl FnMut(&mut dyn FnMut(&[f64])) -> Result<(), E>,
    ) -> Result<Self, E> {
        let (mut found, mut left) = (0_u64, k);
        let bits = if dtype == DType::F64 { 64 } else { 32 };
        for shift in (0..bits).step_by(DIGIT as usize).rev() {
            let mut counts = vec![0_usize; 1 << DIGIT];
            pass(&mut |values| {
                for value in values {
                    let key = key(dtype, *value);
                    if key.checked_shr(shift + DIGIT).unwrap_or(0) == found {
                        counts[(key >> shift & 0xffff) as usize] += 1;
                    }
                }
            })?;
            let mut digit = counts.len() - 1;
            while digit > 0 && counts[digit] < left {
                left -= counts[digit];
                digit -= 1;
            }
            found = found << DIGIT | digit as u64;
        }
        Ok(Self { dtype, key: found, equal: left })
    }

    /// Whether the next value, in order, is one of them.
    pub(crate) fn takes(&mut self, value: f64) -> bool {
        let key = key(self.dtype, value);
        if key == self.key && self.equal > 0 {
            self.equal -= 1;
            return true;
        }
        key > self.key
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::convert::Infallible;

    fn taken(dtype: DType, values: &[f64], k: usize) -> Vec<usize> {
        let pass = |see: &mut dyn FnMut(&[f64])| {
            values.chunks(3).for_each(see);
            Ok::<_, Infallible>(())
        };
        let Ok(mut cut) = Cut::after(dtype, k, pass);
        (0..values.len()).filter(|i| cut.takes(values[*i])).collect()
    }

    proptest! {
        #[test]
        fn the_largest_are_taken_and_of_equal_ones_the_first(
            values in prop::collection::vec(prop_oneof![-3_i8..3, any::<i8>()], 1..80), k in 1_usize..80, double: bool,
        ) {
            let (k, values) = (k.min(values.len()), values.into_iter().map(|v| f64::from(v) * 0.37).collect::<Vec<_>>());
            let mut sorted: Vec<usize> = (0..values.len()).collect();
            sorted.sort_by(|a, b| values[*b].abs().total_cmp(&values[*a].abs()).then(a.cmp(b)));
            let mut expected = sorted[..k].to_vec();
            expected.sort_unstable();
            let dtype = if double { DType::F64 } else { DType::F32 };
            prop_assert_eq!(taken(dtype, &values, k), expected);
        }
    }

    #[test]
    fn small_differences_and_extremes_are_told_apart() {
        let near = [1.0, f64::from(1.0_f32.next_up()), f64::from(f32::MAX), 0.0, -0.0, f64::from(f32::MIN_POSITIVE)];
        assert_eq!(taken(DType::F32, &near, 2), [1, 2]);
        assert_eq!(taken(DType::F64, &[1.0, -1.0_f64.next_up(), 1e-300], 1), [1]);
        assert_eq!(taken(DType::F32, &[0.0; 4], 3), [0, 1, 2], "also where all are 0");
    }
}
