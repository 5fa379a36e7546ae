//! DP-SGD and DP-Adam (Abadi et al. 2016, arXiv 1607.00133, algorithm 1): the clipped gradients of a batch's samples are
//! summed up, noise N(0, (σC)²) is added to each coordinate, and a step is taken with the sum divided by L. Defaults here: C 1, σ 1.
//!
//! Variant: L is the expected number of samples of a batch, the same whatever the batch. The accounts of the paper and
//! those after it hold where each sample is in each batch by a chance of its own ([`Noise::chosen`]). Momentum, weight decay and Adam's
//! moments see the noisy gradient only, so they cost no privacy.

use crate::{Adam, Clip, Finished, Noise, Optimizer, Sgd};

/// Descent with differential privacy for each sample.
pub type DpSgd = Private<Sgd>;
/// Adam with differential privacy for each sample.
pub type DpAdam = Private<Adam>;

/// An optimizer that sees clipped and noisy gradients only.
#[derive(Debug, Clone)]
pub struct Private<O> {
    inner: O,
    clip: Clip,
    deviation: f64,
    batch_size: f64,
    noise: Noise,
}

impl<O: Optimizer> Private<O> {
    /// `noise_multiplier` is σ, `batch_size` L.
    #[must_use]
    pub fn new(inner: O, clip: Clip, noise_multiplier: f64, batch_size: f64, noise: Noise) -> Self {
        Self { inner, clip, deviation: noise_multiplier * clip.bound(), batch_size, noise }
    }
}

impl<O: Optimizer> Optimizer for Private<O> {
    #[allow(clippy::cast_possible_truncation, reason = "rounded to the precision of weights")]
    fn step(&mut self, weights: &mut [f32], gradient: &mut [f32]) {
        self.noise.add(self.deviation, gradient);
        let part = (1.0 / self.batch_size) as f32;
        gradient.iter_mut().for_each(|g| *g *= part);
        self.inner.step(weights, gradient);
    }

    fn clip(&self) -> Option<Clip> {
        Some(self.clip)
    }

    fn finish(&self, weights: &[f32]) -> Finished {
        self.inner.finish(weights)
    }
}
