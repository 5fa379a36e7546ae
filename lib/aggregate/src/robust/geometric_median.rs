//! The geometric median by the smoothed Weiszfeld algorithm, RFA (Pillutla et al. 2022, arXiv 1912.13445).
//!
//! z ← Σ βᵢΔᵢ / Σ βᵢ with βᵢ = αᵢ / max(ν, ‖z − Δᵢ‖), from the mean. Every iterate is a combination of the updates, so all
//! are made from one survey of inner products, and the last is one sum. Variant: αᵢ = 1, for a member says its own sample
//! count; `uniform: false` gives the paper's αᵢ = nᵢ. Defaults: ν 1e-6; T 1000, ended when an iteration changes nothing by
//! more than 1e-14. Keeps no state.

use crate::member::ordered_sum;
use crate::{AggregateError, Combine, Inputs, Pass, Rule};

const SETTLED: f64 = 1e-14;

/// The rule's parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GeometricMedian {
    /// ν, distances below it count as it.
    pub nu: f64,
    /// T, the most iterations.
    pub iterations: usize,
    /// Equal weights instead of the members' own.
    pub uniform: bool,
}

impl Rule for GeometricMedian {
    fn name(&self) -> &'static str {
        "geometric_median"
    }

    fn takes_all(&self) -> bool {
        false
    }

    fn pass(&self) -> Pass {
        Pass::Products
    }

    fn combine(&self, inputs: &Inputs<'_>) -> Result<Combine, AggregateError> {
        let geometry = inputs.geometry()?;
        let alphas = if self.uniform { vec![1.0; inputs.members()] } else { inputs.weights.to_vec() };
        let least = (self.nu / geometry.unit()).clamp(1e-290, 1e290);
        let mut shares = normalised(&alphas);
        for _ in 0..self.iterations {
            let image = geometry.image(&shares);
            let pull = |i: usize| alphas[i] / geometry.squared_distance_to(i, &image).sqrt().max(least);
            let next = normalised(&(0..alphas.len()).map(pull).collect::<Vec<_>>());
            let settled = next.iter().zip(&shares).all(|(a, b)| (a - b).abs() <= SETTLED * a);
            shares = next;
            if settled {
                break;
            }
        }
        let over = ordered_sum(&shares);
        Ok(Combine::Sum { weights: shares, times: 1.0, over, previous: 0.0 })
    }
}

fn normalised(values: &[f64]) -> Vec<f64> {
    let max = values.iter().copied().fold(0.0, f64::max);
    let values: Vec<f64> = values.iter().map(|value| value / max).collect();
    let sum = ordered_sum(&values);
    values.into_iter().map(|value| value / sum).collect()
}
