//! Centered clipping: v ← v + (1/n) Σ (Δᵢ − v)·min(1, τ/‖Δᵢ − v‖), L times (Karimireddy et al. 2021, arXiv 2012.10333).
//!
//! v begins as the last round's result, which is kept as `centered_clipping.v/<tensor>`, and as 0 before the first. Sample
//! counts do not enter. Every v is a combination of the updates and of the first v, so all are made from one survey.
//! Defaults: τ 10, L 3.

use crate::member::real;
use crate::{AggregateError, Combine, Inputs, Pass, Rule};

/// The rule's parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CenteredClipping {
    /// τ, how far a member may pull.
    pub tau: f64,
    /// L.
    pub iterations: usize,
}

impl Rule for CenteredClipping {
    fn name(&self) -> &'static str {
        "centered_clipping"
    }

    fn takes_all(&self) -> bool {
        false
    }

    fn pass(&self) -> Pass {
        Pass::Products
    }

    fn previous(&self) -> Option<&'static str> {
        Some("centered_clipping.v")
    }

    fn combine(&self, inputs: &Inputs<'_>) -> Result<Combine, AggregateError> {
        let (geometry, n) = (inputs.geometry()?, inputs.members());
        if geometry.vectors() != n + 1 {
            return Err(AggregateError::Mismatch("the survey is not of this rule"));
        }
        let tau = self.tau / geometry.unit();
        let mut v = vec![0.0; n + 1];
        v[n] = 1.0;
        for _ in 0..self.iterations {
            let image = geometry.image(&v);
            let share = |i: usize| {
                let distance = geometry.squared_distance_to(i, &image).sqrt();
                (if distance > tau { tau / distance } else { 1.0 }) / real(n)
            };
            let shares: Vec<f64> = (0..n).map(share).collect();
            let kept = 1.0 - shares.iter().sum::<f64>();
            v.iter_mut().for_each(|c| *c *= kept.max(0.0));
            v.iter_mut().zip(&shares).for_each(|(c, share)| *c += share);
        }
        let previous = v.pop().unwrap_or(0.0);
        Ok(Combine::Sum { weights: v, times: 1.0, over: 1.0, previous })
    }
}
