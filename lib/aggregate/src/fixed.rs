//! Sums of floats that do not depend on their order: fixed point in 64-bit integers. Knows no rule.
//!
//! A term `c·x` is scaled so that its magnitude is at most 2^51, and rounded to an integer by adding
//! 1.5·2^52: in that range one unit in the last place of an `f64` is 1, so the low bits of the sum *are*
//! the integer, above a constant that is taken off once at the end. This costs one addition where a cast
//! would cost a branch, and vectorises. Integer additions commute, so any order gives the same bits.
//!
//! Error: a term is rounded as a product (2^-53 of itself) and to an integer (half a unit), and the largest
//! term has more than 2^50 units. So each is off by at most 2^-50 of the largest term; above 2^11 members the
//! sum needs headroom and each doubling costs one bit.

use crate::vector::vectorised;
use nsfl_tensor::Float;

/// 1.5·2^52.
const MAGIC: f64 = 6_755_399_441_055_744.0;
/// log2 of the largest magnitude of a scaled term.
const TERM_BITS: i32 = 51;
/// Beyond this the power of two itself would leave the range of `f64`: smaller values round to 0.
pub(crate) const MAX_SCALE: i32 = 900;

/// The exponent `e` such that n terms of the given bounds, each times 2^e, neither leave the range of the
/// rounding trick nor overflow the sum. `bounds` are pairs (coefficient, largest |x|), all ≥ 0 and finite.
pub(crate) fn scale(bounds: impl Iterator<Item = (f64, f64)>, n: usize) -> i32 {
    let highest = bounds.filter_map(|(c, x)| product_exponent(c, x)).max();
    // n·2^(TERM_BITS − headroom) ≤ 2^62
    let headroom = (ceil_log2(n) - (62 - TERM_BITS)).max(0);
    highest.map_or(0, |exponent| (TERM_BITS - headroom - exponent).min(MAX_SCALE))
}

/// Adds the terms `coefficient·x` of some members at once: a sum is then loaded and stored once for all of them.
/// Coefficients include the scale.
pub(crate) fn add<F: Float<N>, const N: usize, const J: usize>(
    sums: &mut [i64],
    coefficients: [f64; J],
    blocks: [&[u8]; J],
) {
    vectorised(move || {
        let n = sums.len();
        let blocks = blocks.map(|block| &block.as_chunks::<N>().0[..n]);
        for i in 0..n {
            let mut sum = sums[i];
            for j in 0..J {
                let shifted = F::load(blocks[j][i]) * coefficients[j] + MAGIC;
                sum = sum.wrapping_add(shifted.to_bits().cast_signed());
            }
            sums[i] = sum;
        }
    });
}

/// Writes `base + factor·sum`, rounded once to the tensor's type. `terms` is the number of members added.
pub(crate) fn finish<F: Float<N>, const N: usize>(
    sums: &[i64],
    terms: usize,
    factor: f64,
    base: &[u8],
    out: &mut [u8],
) {
    let offset = MAGIC.to_bits().cast_signed().wrapping_mul(terms.cast_signed() as i64);
    vectorised(|| {
        let values = sums.iter().zip(base.as_chunks::<N>().0);
        for (out, (sum, base)) in out.as_chunks_mut::<N>().0.iter_mut().zip(values) {
            #[allow(clippy::cast_precision_loss, reason = "rounded at 2^-53 of the sum, part of the stated error")]
            let sum = sum.wrapping_sub(offset) as f64;
            *out = F::store(F::load(*base) + factor * sum);
        }
    });
}

/// Writes `factor·sum` of each element.
pub(crate) fn deltas(sums: &[i64], terms: usize, factor: f64, out: &mut [f64]) {
    let offset = MAGIC.to_bits().cast_signed().wrapping_mul(terms.cast_signed() as i64);
    for (out, sum) in out.iter_mut().zip(sums) {
        #[allow(clippy::cast_precision_loss, reason = "rounded at 2^-53 of the sum, part of the stated error")]
        let sum = sum.wrapping_sub(offset) as f64;
        *out = factor * sum;
    }
}

/// x·2^e, in two steps, so that neither leaves the range before the product does.
pub(crate) fn times_exp2(x: f64, e: i32) -> f64 {
    x * exp2(e / 2) * exp2(e - e / 2)
}

/// 2^e for e in the normal range.
pub(crate) fn exp2(e: i32) -> f64 {
    let biased = u64::try_from(e + 1023).expect("exponents here are far from the ends of the range");
    f64::from_bits(biased << 52)
}

/// The smallest e with a·b ≤ 2^e, also after rounding; None when the product is 0.
pub(crate) fn product_exponent(a: f64, b: f64) -> Option<i32> {
    if a == 0.0 || b == 0.0 {
        return None;
    }
    let ((a, ea), (b, eb)) = (split(a), split(b));
    let product = a * b; // in [1, 4]: rounding is monotonic, so it may reach 2 or 4 but not pass them
    Some(
        ea + eb
            + if product <= 1.0 {
                0
            } else if product <= 2.0 {
                1
            } else {
                2
            },
    )
}

/// Significand in [1, 2) and exponent of a positive finite number.
fn split(x: f64) -> (f64, i32) {
    if x < f64::MIN_POSITIVE {
        let (significand, exponent) = split(x * exp2(64));
        return (significand, exponent - 64);
    }
    let bits = x.to_bits();
    let exponent = i32::try_from(bits >> 52).expect("11 bits: the sign of a positive number is 0") - 1023;
    (f64::from_bits((bits & 0x000f_ffff_ffff_ffff) | 0x3ff0_0000_0000_0000), exponent)
}

fn ceil_log2(n: usize) -> i32 {
    n.next_power_of_two().trailing_zeros().cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nsfl_tensor::F64;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_product_never_passes_its_exponent(a in any::<f64>(), b in any::<f64>()) {
            let (a, b) = (a.abs(), b.abs());
            prop_assume!(a.is_finite() && b.is_finite() && a * b > 1e-290 && a * b < 1e290);
            let e = product_exponent(a, b).unwrap();
            prop_assert!(a * b <= exp2(e) && a * b > exp2(e - 2));
        }

        #[test]
        fn whole_numbers_up_to_the_bound_are_summed_exactly(values in prop::collection::vec(-(1_i64 << 51)..=1 << 51, 1..50)) {
            let mut sums = [0_i64];
            values.iter().for_each(|v| add::<F64, 8, 1>(&mut sums, [1.0], [&(*v as f64).to_le_bytes()]));
            let mut out = [0; 8];
            finish::<F64, 8>(&sums, values.len(), 1.0, &0.0_f64.to_le_bytes(), &mut out);
            prop_assert_eq!(f64::from_le_bytes(out), values.iter().sum::<i64>() as f64);
        }
    }

    #[test]
    fn the_ends_of_the_range_are_exact_and_do_not_wrap() {
        let end = exp2(51);
        for n in [1_usize, 1 << 11] {
            for value in [end, -end] {
                let mut sums = [0_i64];
                (0..n).for_each(|_| add::<F64, 8, 1>(&mut sums, [1.0], [&value.to_le_bytes()]));
                let mut out = [0; 8];
                finish::<F64, 8>(&sums, n, 1.0, &0.0_f64.to_le_bytes(), &mut out);
                assert_eq!(f64::from_le_bytes(out), value * n as f64);
            }
        }
    }

    #[test]
    fn the_scale_leaves_room_for_the_count() {
        let one = || [(1.0, 1.0)].into_iter();
        assert_eq!(scale(one(), 1), 51);
        assert_eq!(scale(one(), 1 << 11), 51);
        assert_eq!(scale(one(), (1 << 11) + 1), 50);
        assert_eq!(scale(one(), 1 << 20), 42);
        assert_eq!(scale([(0.0, 5.0)].into_iter(), 3), 0);
        assert_eq!(scale([(1.0, f64::from_bits(1))].into_iter(), 3), MAX_SCALE);
        assert_eq!(scale([(1.0, f64::MAX)].into_iter(), 3), 51 - 1024);
    }
}
