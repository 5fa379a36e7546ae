//! Random numbers whose sequence is ours: the same seed gives the same weights and shuffles in every version.
//! Not for secrets.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng as _, SeedableRng};

/// xoshiro256++ (Blackman and Vigna 2019).
#[derive(Debug)]
pub struct Rng(Xoshiro256PlusPlus);

impl Rng {
    /// The sequence of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    /// Two independent uniform numbers in [−half_width, half_width): 24 bits each.
    #[inline]
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "24 bits fit an f32")]
    pub fn uniform_pair(&mut self, half_width: f32) -> [f32; 2] {
        let bits = self.0.next_u64();
        [bits as i32 >> 8, (bits >> 32) as i32 >> 8].map(|x| x as f32 * (half_width / 8_388_608.0))
    }

    /// A whole number below `n` (Lemire's multiplication; its bias of n/2^64 does not matter here).
    #[allow(clippy::cast_possible_truncation, reason = "the product's upper half is below n")]
    pub(crate) fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.0.next_u64()) * n as u128) >> 64) as usize
    }

    /// Fisher and Yates.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_of_a_seed_is_the_same_for_ever() {
        let mut rng = Rng::new(7);
        let mut items: Vec<u8> = (0..8).collect();
        rng.shuffle(&mut items);
        let pair = rng.uniform_pair(1.0);
        assert_eq!((items, pair), (vec![7, 5, 6, 3, 2, 4, 1, 0], [-0.281_192_18, 0.659_678_8]));
    }

    #[test]
    fn uniform_numbers_fill_their_range_with_mean_zero() {
        let mut rng = Rng::new(1);
        let values: Vec<f32> = (0..10_000).flat_map(|_| rng.uniform_pair(2.0)).collect();
        assert!(values.iter().all(|x| (-2.0..2.0).contains(x)));
        let mean = values.iter().sum::<f32>() / 20_000.0;
        let variance = values.iter().map(|x| x * x).sum::<f32>() / 20_000.0;
        assert!(mean.abs() < 0.05 && (variance - 4.0 / 3.0).abs() < 0.05, "{mean} {variance}");
    }
}
