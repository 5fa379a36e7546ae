//! q-FedAvg: x − ΣDᵢ/Σhᵢ with L = 1/η_l, Dᵢ = Fᵢ^q·L(x−yᵢ), hᵢ = q·Fᵢ^(q−1)·‖L(x−yᵢ)‖² + L·Fᵢ^q (Li et al. 2020, arXiv 1905.10497).
//!
//! Fᵢ is the member's loss at x plus 1e-10, reported as `initial_loss`; η_l is the parameter `local_learning_rate`, or what
//! each member reports under that name. Members count alike, not by samples. Default: q 0.1, the paper's. Keeps no state.

use crate::member::ordered_sum;
use crate::{AggregateError, Combine, Fact, Inputs, Pass, Rule};

const NAME: &str = "qfedavg";
const LEAST_LOSS: f64 = 1e-10;

/// The rule's parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QFedAvg {
    /// How much more a member with a higher loss counts; 0: all alike.
    pub q: f64,
    /// η_l of all members.
    pub local_learning_rate: Option<f64>,
}

impl Rule for QFedAvg {
    fn name(&self) -> &'static str {
        NAME
    }

    fn facts(&self) -> Vec<Fact> {
        let rate = self.local_learning_rate.is_none().then_some(Fact::LOCAL_LEARNING_RATE.demanded());
        std::iter::once(Fact::INITIAL_LOSS).chain(rate).collect()
    }

    fn pass(&self) -> Pass {
        Pass::Norms
    }

    fn combine(&self, inputs: &Inputs<'_>) -> Result<Combine, AggregateError> {
        let geometry = inputs.geometry()?;
        let (mut weights, mut heights) = (Vec::new(), Vec::new());
        for (i, numbers) in inputs.numbers.iter().enumerate() {
            let loss = Fact::INITIAL_LOSS.of(NAME, numbers)?.unwrap_or(0.0) + LEAST_LOSS;
            let reported = Fact::LOCAL_LEARNING_RATE.of(NAME, numbers)?;
            let l = 1.0 / self.local_learning_rate.or(reported).unwrap_or(1.0);
            let share = loss.powf(self.q);
            let norm = l * geometry.norm(i);
            weights.push(share * l);
            heights.push(self.q * loss.powf(self.q - 1.0) * norm * norm + l * share);
        }
        let over = ordered_sum(&heights);
        // an infinite height is a member too long to be followed: nobody is
        if over.is_nan() || over <= 0.0 || weights.iter().any(|w| !w.is_finite()) {
            return Err(AggregateError::NoCoefficients { rule: NAME });
        }
        Ok(Combine::Sum { weights, times: 1.0, over, previous: 0.0 })
    }
}
