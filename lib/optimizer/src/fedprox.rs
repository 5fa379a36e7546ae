//! FedProx (Li et al. 2020, arXiv 1812.06127): each gradient plus μ(w − x), the slope of μ/2 ‖w − x‖² for the global
//! weights x. Default μ 0.6. With μ = 0 it is plain descent.

use crate::{Optimizer, Sgd};

/// Descent that is pulled towards the global weights.
#[derive(Debug, Clone)]
pub struct FedProx {
    sgd: Sgd,
    mu: f64,
    global: Vec<f32>,
}

impl FedProx {
    /// From the global weights, with μ = `mu`.
    #[must_use]
    pub fn new(sgd: Sgd, mu: f64, global: Vec<f32>) -> Self {
        Self { sgd, mu, global }
    }
}

impl Optimizer for FedProx {
    #[allow(clippy::cast_possible_truncation, reason = "rounded to the precision of weights")]
    fn step(&mut self, weights: &mut [f32], gradient: &mut [f32]) {
        assert_eq!(gradient.len(), self.global.len(), "weights of the same model");
        let mu = self.mu as f32;
        for ((g, w), x) in gradient.iter_mut().zip(&*weights).zip(&self.global) {
            *g += mu * (w - x);
        }
        self.sgd.step(weights, gradient);
    }
}
