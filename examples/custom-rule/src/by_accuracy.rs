//! The rule: each member counts by the accuracy that it reports, to a power; x + η Σ aᵢ^power Δᵢ / Σ aᵢ^power.
//!
//! Server learning rate, server optimizer and pre-aggregators, exact sums, integer tensors, bounded memory and replay come with
//! the trait.

use nsfl_aggregate::{AggregateError, Allowed, Combine, Fact, Inputs, Params, Rule};
use nsfl_types::JobError;
use std::sync::Arc;

/// Its name in job documents.
pub(crate) const NAME: &str = "by_accuracy";

/// What every update has to come with; one that does not is refused when it arrives.
const ACCURACY: Fact = Fact { name: "accuracy", required: true, allowed: Allowed::NotNegative };

#[derive(Debug)]
struct ByAccuracy {
    power: f64,
}

/// From `aggregator.params`, when a job is submitted.
pub(crate) fn make(params: &mut Params<'_>) -> Result<Arc<dyn Rule>, JobError> {
    Ok(Arc::new(ByAccuracy { power: params.number("power", 1.0, Allowed::NotNegative)? }))
}

impl Rule for ByAccuracy {
    fn name(&self) -> &'static str {
        NAME
    }

    fn facts(&self) -> Vec<Fact> {
        vec![ACCURACY]
    }

    fn combine(&self, inputs: &Inputs<'_>) -> Result<Combine, AggregateError> {
        let mut weights = Vec::with_capacity(inputs.members());
        for numbers in inputs.numbers {
            weights.push(ACCURACY.of(NAME, numbers)?.unwrap_or(0.0).powf(self.power));
        }
        // members come in an order of their own, whoever was first
        let over = weights.iter().sum();
        Ok(Combine::Sum { weights, times: 1.0, over, previous: 0.0 })
    }
}
