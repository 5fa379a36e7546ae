//! Gaussian noise from ChaCha20 under a 256-bit key. The key must be the client's secret: whoever knows it can take the noise
//! off again.
//!
//! Key stream with zero nonce and counter, read as little-endian 64-bit numbers; two of them, a and b, give by Box and Muller
//! 1958 √(−2 ln((⌊a/2¹¹⌋ + 1)/2⁵³)) times cosine and sine of 2π⌊b/2¹¹⌋/2⁵³. The SDK draws the same. Values have the precision of
//! floating-point numbers, not of a discrete mechanism (Mironov 2012 on what that can give away).

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

/// A cryptographic stream of normal numbers, and of chances.
#[derive(Clone)]
pub struct Noise(ChaCha20Rng);

impl Noise {
    /// The stream of this key.
    #[must_use]
    pub fn new(key: [u8; 32]) -> Self {
        Self(ChaCha20Rng::from_seed(key))
    }

    /// Adds noise of this standard deviation to each value; none, and nothing drawn, for 0.
    #[allow(clippy::cast_possible_truncation, reason = "rounded to the precision of weights")]
    pub fn add(&mut self, deviation: f64, values: &mut [f32]) {
        if deviation == 0.0 {
            return;
        }
        for pair in values.chunks_mut(2) {
            let normal = self.normal_pair();
            pair.iter_mut().zip(normal).for_each(|(value, z)| *value = (f64::from(*value) + deviation * z) as f32);
        }
    }

    /// Each number below `count` with the same chance, independently (Poisson sampling).
    pub fn chosen(&mut self, chance: f64, count: u32) -> Vec<u32> {
        (0..count).filter(|_| self.uniform() < chance).collect()
    }

    fn normal_pair(&mut self) -> [f64; 2] {
        // above 0, so that the logarithm is finite
        let radius = (-2.0 * (self.uniform() + 1.0 / TWO_53).ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * self.uniform()).sin_cos();
        [radius * cos, radius * sin]
    }

    /// In [0, 1), 53 bits.
    #[allow(clippy::cast_precision_loss, reason = "53 bits fit")]
    fn uniform(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / TWO_53
    }
}

impl std::fmt::Debug for Noise {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Noise")
    }
}

/// 2^53.
const TWO_53: f64 = 9_007_199_254_740_992.0;
