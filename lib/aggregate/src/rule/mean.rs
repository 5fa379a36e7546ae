//! Δ = Σ wᵢΔᵢ / Σ wᵢ, the rule of `fedavg` and of every server optimizer over it. An update to an older model counts
//! wᵢ/√(1+sᵢ), as FedBuff weighs it.

use crate::member::ordered_sum;
use crate::{AggregateError, Combine, Fact, Inputs, Lateness, Rule, staleness_weight};

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

    fn lateness(&self) -> Lateness {
        match self.name {
            // what their clients keep goes with the model of the round
            "scaffold" | "feddyn" => Lateness::None,
            _ => Lateness::Weighed,
        }
    }

    fn combine(&self, inputs: &Inputs<'_>) -> Result<Combine, AggregateError> {
        let mut weights = if self.uniform { vec![1.0; inputs.members()] } else { inputs.weights.to_vec() };
        if self.lateness() == Lateness::Weighed {
            for (weight, numbers) in weights.iter_mut().zip(inputs.numbers) {
                // times 1 for an update to this model
                *weight *= staleness_weight(Fact::STALENESS.of(self.name, numbers)?.unwrap_or(0.0));
            }
        }
        let over = ordered_sum(&weights);
        Ok(Combine::Sum { weights, times: 1.0, over, previous: 0.0 })
    }
}
