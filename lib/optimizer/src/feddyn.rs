//! FedDyn (Acar et al. 2021, arXiv 2111.04263): minimises F(w) − ⟨hᵢ, w⟩ + α/2 ‖w − x‖², so each gradient plus
//! α(w − x) − hᵢ; afterwards hᵢ⁺ = hᵢ − α(y − x). Default α 0.01. Needs the server's rule of the same name, with the same α.

use crate::{Finished, Optimizer, Sgd, single};

/// Descent on the dynamically regularised loss.
#[derive(Debug, Clone)]
pub struct FedDyn {
    sgd: Sgd,
    alpha: f64,
    global: Vec<f32>,
    own: Vec<f32>,
}

impl FedDyn {
    /// From the global weights, with α and hᵢ: zeros for a client's first time.
    ///
    /// # Panics
    /// Weights and hᵢ are not of one length.
    #[must_use]
    pub fn new(sgd: Sgd, alpha: f64, global: Vec<f32>, own: Vec<f32>) -> Self {
        assert_eq!(global.len(), own.len(), "of one model");
        Self { sgd, alpha, global, own }
    }
}

impl Optimizer for FedDyn {
    #[allow(clippy::cast_possible_truncation, reason = "rounded to the precision of weights")]
    fn step(&mut self, weights: &mut [f32], gradient: &mut [f32]) {
        assert_eq!(gradient.len(), self.own.len(), "weights of the same model");
        let alpha = self.alpha as f32;
        for (((g, w), x), h) in gradient.iter_mut().zip(&*weights).zip(&self.global).zip(&self.own) {
            *g += alpha * (w - x) - h;
        }
        self.sgd.step(weights, gradient);
    }

    fn finish(&self, weights: &[f32]) -> Finished {
        let moved = self.global.iter().zip(weights).map(|(x, y)| f64::from(*y) - f64::from(*x));
        let new = self.own.iter().zip(moved).map(|(h, moved)| f64::from(*h) - self.alpha * moved);
        Finished { kept: Some(single(new)), control: None }
    }
}
