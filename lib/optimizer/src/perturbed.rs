//! Perturbed gradient descent, as in the code of FedProx's authors: w − η(g + μ(w − x)), x the global weights. Default μ
//! 0.01.
//!
//! Variant: the pull moves the weights by itself, before each step, as AdamW's decay does. So it does not build up in the
//! momentum; without momentum and weight decay it is FedProx. It adds no noise: what Jin et al. 2017 (arXiv 1703.00887) call
//! by this name is another method.

use crate::{Optimizer, Sgd};

/// Descent with a pull towards the global weights that momentum does not see.
#[derive(Debug, Clone)]
pub struct PerturbedDescent {
    sgd: Sgd,
    mu: f64,
    global: Vec<f32>,
}

impl PerturbedDescent {
    /// From the global weights, with μ = `mu`.
    #[must_use]
    pub fn new(sgd: Sgd, mu: f64, global: Vec<f32>) -> Self {
        Self { sgd, mu, global }
    }
}

impl Optimizer for PerturbedDescent {
    #[allow(clippy::cast_possible_truncation, reason = "rounded to the precision of weights")]
    fn step(&mut self, weights: &mut [f32], gradient: &mut [f32]) {
        assert_eq!(weights.len(), self.global.len(), "weights of the same model");
        let pull = (self.sgd.learning_rate() * self.mu) as f32;
        weights.iter_mut().zip(&self.global).for_each(|(w, x)| *w -= pull * (*w - x));
        self.sgd.step(weights, gradient);
    }
}
