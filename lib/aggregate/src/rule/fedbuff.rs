//! FedBuff's sum: x + η/K Σ wᵢΔᵢ with wᵢ = 1/√(1+sᵢ) (Nguyen et al. 2022, arXiv 2106.06639).
//!
//! sᵢ, reported as `staleness`, is how many models were made since the one the update was made from. Members count alike,
//! not by samples. When a round is closed is not this rule's: it takes up to K updates and always divides by K. Defaults:
//! K 10, no bound on the staleness. Keeps no state.

use crate::member::real;
use crate::{AggregateError, Combine, Fact, Inputs, Lateness, Rule, staleness_weight};

const NAME: &str = "fedbuff";

/// The rule's parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FedBuff {
    /// K, how many updates make a model.
    pub k: usize,
    /// Updates that are staler than this are refused.
    pub max_staleness: Option<usize>,
}

impl Rule for FedBuff {
    fn name(&self) -> &'static str {
        NAME
    }

    fn facts(&self) -> Vec<Fact> {
        vec![Fact::STALENESS]
    }

    fn lateness(&self) -> Lateness {
        Lateness::Buffered { k: self.k, max_staleness: self.max_staleness }
    }

    fn check(&self, members: usize) -> Result<(), AggregateError> {
        match members {
            0 => Err(AggregateError::NoMembers),
            _ if members > self.k => Err(AggregateError::TooMany { rule: NAME, most: self.k, members }),
            _ => Ok(()),
        }
    }

    fn combine(&self, inputs: &Inputs<'_>) -> Result<Combine, AggregateError> {
        let weight = |numbers| {
            let staleness = Fact::STALENESS.of(NAME, numbers)?.unwrap_or(0.0);
            match self.max_staleness {
                Some(most) if staleness > real(most) => Err(AggregateError::BadFact {
                    rule: NAME,
                    fact: Fact::STALENESS.name,
                    value: staleness,
                    allowed: format!("at most {most}, the job's max_staleness"),
                }),
                _ => Ok(staleness_weight(staleness)),
            }
        };
        let weights = inputs.numbers.iter().map(|numbers| weight(*numbers)).collect::<Result<_, _>>()?;
        Ok(Combine::Sum { weights, times: 1.0, over: real(self.k), previous: 0.0 })
    }
}
