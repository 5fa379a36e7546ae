//! Stochastic gradient descent with momentum and weight decay, as PyTorch's SGD: d = g + λw; v = βv + d; w − ηv, or with
//! Nesterov's momentum w − η(d + βv). It counts the length of its steps, which SCAFFOLD needs.

use crate::Optimizer;

/// What it is made with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SgdSettings {
    /// η.
    pub learning_rate: f64,
    /// β; 0: none.
    pub momentum: f64,
    /// Whether the momentum is Nesterov's.
    pub nesterov: bool,
    /// λ; part of the gradient.
    pub weight_decay: f64,
}

impl SgdSettings {
    /// Plain descent.
    #[must_use]
    pub fn plain(learning_rate: f64) -> Self {
        Self { learning_rate, momentum: 0.0, nesterov: false, weight_decay: 0.0 }
    }
}

/// Stochastic gradient descent.
#[derive(Debug, Clone)]
pub struct Sgd {
    settings: SgdSettings,
    /// Empty until it is needed.
    velocity: Vec<f32>,
    /// What a gradient of 1 at every step so far has built up in the velocity.
    built: f64,
    /// By how much it has moved a weight.
    length: f64,
}

impl Sgd {
    /// At rest.
    #[must_use]
    pub fn new(settings: SgdSettings) -> Self {
        Self { settings, velocity: Vec::new(), built: 0.0, length: 0.0 }
    }

    /// η.
    pub(crate) fn learning_rate(&self) -> f64 {
        self.settings.learning_rate
    }

    /// By how much in all a gradient of 1 at every step would have moved a weight: K·η for plain descent.
    pub(crate) fn length(&self) -> f64 {
        self.length
    }

    fn count(&mut self) {
        let SgdSettings { learning_rate, momentum, nesterov, .. } = self.settings;
        self.built = momentum * self.built + 1.0;
        self.length += learning_rate * if nesterov { 1.0 + momentum * self.built } else { self.built };
    }
}

impl Optimizer for Sgd {
    #[allow(clippy::cast_possible_truncation, reason = "rounded to the precision of weights")]
    fn step(&mut self, weights: &mut [f32], gradient: &mut [f32]) {
        assert_eq!(weights.len(), gradient.len(), "a gradient of this model");
        let SgdSettings { learning_rate, momentum, nesterov, weight_decay } = self.settings;
        let (rate, beta, decay) = (learning_rate as f32, momentum as f32, weight_decay as f32);
        if decay != 0.0 {
            gradient.iter_mut().zip(&*weights).for_each(|(g, w)| *g += decay * w);
        }
        if beta == 0.0 {
            weights.iter_mut().zip(&*gradient).for_each(|(w, g)| *w -= rate * g);
        } else {
            if self.velocity.is_empty() {
                self.velocity.resize(weights.len(), 0.0);
            }
            assert_eq!(weights.len(), self.velocity.len(), "weights of the same model");
            for ((w, g), v) in weights.iter_mut().zip(&*gradient).zip(&mut self.velocity) {
                *v = beta * *v + g;
                *w -= rate * if nesterov { g + beta * *v } else { *v };
            }
        }
        self.count();
    }
}
