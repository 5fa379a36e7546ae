//! QSGD: values as whole numbers of steps of a scale, rounded at random so that the mean is the value.

use nsfl_types::{Bits, Norm};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

/// A stream of chances, the same of the same seed.
pub(crate) struct Chances(ChaCha8Rng);

impl Chances {
    pub(crate) fn new(seed: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        Self(ChaCha8Rng::from_seed(key))
    }

    /// In [0, 1), 32 bits.
    fn next(&mut self) -> f64 {
        f64::from(self.0.next_u32()) / 4_294_967_296.0
    }
}

/// Finds the scale of values that are seen one after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ScaleOf {
    norm: Norm,
    max: f64,
    squares: f64,
    count: usize,
    /// Where the largest is.
    at: usize,
}

impl ScaleOf {
    pub(crate) fn new(norm: Norm) -> Self {
        Self { norm, max: 0.0, squares: 0.0, count: 0, at: 0 }
    }

    pub(crate) fn add(&mut self, values: &[f64]) {
        for (i, value) in values.iter().enumerate() {
            if value.abs() > self.max {
                (self.max, self.at) = (value.abs(), self.count + i);
            }
        }
        if self.norm == Norm::L2 {
            self.squares += values.iter().map(|value| value * value).sum::<f64>();
        }
        self.count += values.len();
    }

    /// The largest magnitude.
    pub(crate) fn largest(&self) -> f64 {
        self.max
    }

    /// No magnitude is above it.
    ///
    /// # Errors
    /// The index of the largest value, when that is beyond an `f32`.
    #[allow(clippy::cast_possible_truncation, reason = "rounded up")]
    pub(crate) fn finish(&self) -> Result<f32, usize> {
        // squares of the smallest numbers are 0
        let scale = self.squares.sqrt().max(self.max);
        let near = scale as f32;
        let scale = if f64::from(near) < scale { near.next_up() } else { near };
        if scale.is_finite() { Ok(scale) } else { Err(self.at) }
    }
}

fn step(scale: f32, bits: Bits) -> f64 {
    f64::from(scale) / f64::from(bits.steps())
}

/// Appends the numbers of steps.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "no more steps than there are")]
pub(crate) fn quantise(values: &[f64], scale: f32, bits: Bits, chances: &mut Chances, out: &mut Vec<u8>) {
    let (step, most) = (step(scale, bits), f64::from(bits.steps()));
    let mut number = |value: f64| -> i8 {
        if scale == 0.0 {
            return 0;
        }
        let steps = value.abs() / step;
        let whole = steps.floor();
        let up = if chances.next() < steps - whole { 1.0 } else { 0.0 };
        (whole + up).min(most).copysign(value) as i8
    };
    match bits {
        Bits::Eight => out.extend(values.iter().map(|value| number(*value) as u8)),
        Bits::Four => out.extend(values.chunks(2).map(|pair| {
            let low = number(pair[0]) as u8 & 15;
            pair.get(1).map_or(low, |value| low | (number(*value) as u8) << 4)
        })),
    }
}

/// The values of numbers of steps, from the `first`-th on.
#[allow(clippy::cast_possible_wrap, reason = "the sign is in the byte")]
pub(crate) fn values(numbers: &[u8], first: usize, scale: f32, bits: Bits, out: &mut [f64]) {
    let step = step(scale, bits);
    match bits {
        Bits::Eight => {
            let numbers = numbers.get(first..).unwrap_or_default();
            out.iter_mut().zip(numbers).for_each(|(out, number)| *out = f64::from(*number as i8) * step);
        }
        Bits::Four => {
            for (i, out) in (first..).zip(out) {
                let byte = numbers.get(i / 2).copied().unwrap_or(0);
                let nibble = if i.is_multiple_of(2) { byte << 4 } else { byte & 0xf0 };
                *out = f64::from(nibble as i8 >> 4) * step;
            }
        }
    }
}

/// Whether these are numbers of steps that can be, and unused bits are 0.
pub(crate) fn are_numbers(numbers: &[u8], count: usize, bits: Bits) -> bool {
    match bits {
        Bits::Eight => numbers.iter().all(|number| *number != 0x80),
        Bits::Four => {
            let unused = !count.is_multiple_of(2) && numbers.last().is_some_and(|last| last >> 4 != 0);
            !unused && numbers.iter().all(|pair| pair & 15 != 8 && pair >> 4 != 8)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(values: &[f64], bits: Bits, norm: Norm, seed: u64) -> (f32, Vec<f64>) {
        let (mut of, mut bytes, mut out) = (ScaleOf::new(norm), Vec::new(), vec![0.0; values.len()]);
        of.add(values);
        let scale = of.finish().unwrap();
        quantise(values, scale, bits, &mut Chances::new(seed), &mut bytes);
        assert!(are_numbers(&bytes, values.len(), bits));
        super::values(&bytes, 0, scale, bits, &mut out);
        (scale, out)
    }

    #[test]
    fn whole_numbers_of_steps_come_back_as_they_are() {
        let values = [7.0, -7.0, 3.0, 0.0, -1.0];
        assert_eq!(through(&values, Bits::Four, Norm::Max, 1), (7.0, values.to_vec()));
        let values = [127.0, -64.0, 1.0];
        assert_eq!(through(&values, Bits::Eight, Norm::Max, 1), (127.0, values.to_vec()));
        assert_eq!(through(&[0.0, 0.0], Bits::Eight, Norm::L2, 1), (0.0, vec![0.0, 0.0]));
        assert_eq!(through(&[3.0, -4.0], Bits::Four, Norm::L2, 1).0, 5.0);
    }

    #[test]
    fn what_is_between_two_steps_becomes_one_of_them_as_often_as_it_is_near() {
        let up = (0..4000).filter(|seed| through(&[7.0, 2.25], Bits::Four, Norm::Max, *seed).1[1] == 3.0).count();
        // a quarter of 4000: 27 is a deviation
        assert!((850..1150).contains(&up), "{up}");
    }

    #[test]
    fn a_scale_is_never_below_what_it_is_the_scale_of() {
        for value in [1.0 + f64::EPSILON, 1e-310, f64::from(f32::MAX)] {
            let mut of = ScaleOf::new(Norm::Max);
            of.add(&[0.0, value]);
            assert!(f64::from(of.finish().unwrap()) >= value);
        }
        let mut of = ScaleOf::new(Norm::L2);
        of.add(&[0.0, 1.0]);
        of.add(&[-1e300]);
        assert_eq!(of.finish(), Err(2));
    }
}
