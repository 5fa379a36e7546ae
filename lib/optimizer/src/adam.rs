//! Adam with bias correction (Kingma and Ba 2015, arXiv 1412.6980), as PyTorch's: weight decay is part of the gradient.

use crate::Optimizer;

/// What it is made with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamSettings {
    /// η.
    pub learning_rate: f64,
    /// β₁ and β₂.
    pub betas: [f64; 2],
    /// ε.
    pub epsilon: f64,
    /// λ; part of the gradient.
    pub weight_decay: f64,
}

impl Default for AdamSettings {
    /// PyTorch's.
    fn default() -> Self {
        Self { learning_rate: 1e-3, betas: [0.9, 0.999], epsilon: 1e-8, weight_decay: 0.0 }
    }
}

/// Adam.
#[derive(Debug, Clone)]
pub struct Adam {
    settings: AdamSettings,
    /// Mean and mean square of the gradients of each weight; empty until the first step.
    moments: Vec<[f32; 2]>,
    /// β₁ and β₂ to the power of the steps so far.
    powers: [f64; 2],
}

impl Adam {
    /// At rest.
    #[must_use]
    pub fn new(settings: AdamSettings) -> Self {
        Self { settings, moments: Vec::new(), powers: [1.0; 2] }
    }
}

impl Optimizer for Adam {
    #[allow(clippy::cast_possible_truncation, reason = "rounded to the precision of weights")]
    fn step(&mut self, weights: &mut [f32], gradient: &mut [f32]) {
        assert_eq!(weights.len(), gradient.len(), "a gradient of this model");
        if self.moments.is_empty() {
            self.moments.resize(weights.len(), [0.0; 2]);
        }
        assert_eq!(weights.len(), self.moments.len(), "weights of the same model");
        let AdamSettings { learning_rate, betas, epsilon, weight_decay } = self.settings;
        self.powers = [self.powers[0] * betas[0], self.powers[1] * betas[1]];
        let [first, second] = self.powers.map(|power| 1.0 - power);
        let (rate, root) = ((learning_rate / first) as f32, second.sqrt() as f32);
        let ([b1, b2], [a1, a2]) = (betas.map(|b| b as f32), betas.map(|b| (1.0 - b) as f32));
        let (epsilon, decay) = (epsilon as f32, weight_decay as f32);
        for ((w, g), [m, v]) in weights.iter_mut().zip(&*gradient).zip(&mut self.moments) {
            let g = g + decay * *w;
            *m = b1 * *m + a1 * g;
            *v = b2 * *v + a2 * g * g;
            *w -= rate * *m / (v.sqrt() / root + epsilon);
        }
    }
}
