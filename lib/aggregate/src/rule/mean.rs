//! Δ = Σ wᵢΔᵢ / Σ wᵢ, the rule of `fedavg` and of every server optimizer over it.

use crate::member::ordered_sum;
use crate::{AggregateError, Combine, Inputs, Rule};

/// The weighted mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mean {
    /// The name it goes by.
    pub name: &'static str,
    /// Equal weights instead of the members' own.
    pub uniform: bool,
}

impl Rule for Mean {
    fn name(&self) -> &'static str {
        self.name
    }

    fn combine(&self, inputs: &Inputs<'_>) -> Result<Combine, AggregateError> {
        let weights = if self.uniform { vec![1.0; inputs.members()] } else { inputs.weights.to_vec() };
        let over = ordered_sum(&weights);
        Ok(Combine::Sum { weights, times: 1.0, over, previous: 0.0 })
    }
}
