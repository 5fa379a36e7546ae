//! SCAFFOLD (Karimireddy et al. 2020, arXiv 1910.06378, option II): each gradient plus c − cᵢ, the control variates of
//! all clients and of this one. With c = cᵢ it is plain descent.
//!
//! Afterwards cᵢ⁺ = cᵢ − c + (x − y)/(Kη). Under momentum Kη is the sum of the lengths of the steps taken, by how much in
//! all a gradient of 1 at every step would have moved a weight: then cᵢ⁺ is the mean of the client's gradients along its path,
//! as in the paper.

use crate::{Finished, Optimizer, Sgd, single};

/// Descent that is corrected for the drift of this client.
#[derive(Debug, Clone)]
pub struct Scaffold {
    sgd: Sgd,
    global: Vec<f32>,
    control: Vec<f32>,
    own: Vec<f32>,
}

impl Scaffold {
    /// From the global weights, with the control variates c and cᵢ: zeros for a client's first time.
    ///
    /// # Panics
    /// The three are not of one length.
    #[must_use]
    pub fn new(sgd: Sgd, global: Vec<f32>, control: Vec<f32>, own: Vec<f32>) -> Self {
        assert!(global.len() == control.len() && global.len() == own.len(), "of one model");
        Self { sgd, global, control, own }
    }
}

impl Optimizer for Scaffold {
    fn step(&mut self, weights: &mut [f32], gradient: &mut [f32]) {
        assert_eq!(gradient.len(), self.control.len(), "weights of the same model");
        for ((g, c), own) in gradient.iter_mut().zip(&self.control).zip(&self.own) {
            *g += c - own;
        }
        self.sgd.step(weights, gradient);
    }

    fn finish(&self, weights: &[f32]) -> Finished {
        let length = self.sgd.length();
        let wide = |values: &'_ [f32]| values.iter().copied().map(f64::from).collect::<Vec<_>>();
        let (own, control) = (wide(&self.own), wide(&self.control));
        let moved = self.global.iter().zip(weights).map(|(x, y)| f64::from(*x) - f64::from(*y));
        // without a step it keeps its own
        let new = moved.enumerate().map(
            |(i, moved)| {
                if length > 0.0 { own[i] - control[i] + moved / length } else { own[i] }
            },
        );
        let new = single(new);
        let travels = new.iter().enumerate().map(|(i, new)| control[i] + (f64::from(*new) - own[i]));
        Finished { control: Some(single(travels)), kept: Some(new) }
    }
}
