//! What is known of a round's members beside their updates: weight, facts, and the numbers a rule asks for.

use crate::{AggregateError, Allowed};
use nsfl_tensor::UpdateFacts;
use nsfl_types::Metrics;

/// The largest weight an update may have.
pub const MAX_WEIGHT: f64 = 1e9;

/// What a sum needs of one member.
#[derive(Debug, Clone, PartialEq)]
pub struct MemberFacts {
    /// Its weight, usually the sample count.
    pub weight: f64,
    /// Of its update, from `nsfl_tensor::check_update`.
    pub facts: UpdateFacts,
}

/// One member of a round.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Unique in the round: the client's id. The canonical order of members is by it.
    pub id: String,
    /// Weight and facts of its update.
    pub facts: MemberFacts,
    /// What it reported beside its update: where a rule's [`Fact`]s are looked up.
    pub numbers: Metrics,
}

/// Checks a member's weight when it arrives.
///
/// # Errors
/// `BadWeight` when it is not a finite number in (0, `MAX_WEIGHT`].
pub fn check_weight(weight: f64) -> Result<(), AggregateError> {
    if weight > 0.0 && weight <= MAX_WEIGHT { Ok(()) } else { Err(AggregateError::BadWeight { weight }) }
}

/// A number that a rule needs of each member, looked up by name in what the member reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fact {
    /// The metric's name.
    pub name: &'static str,
    /// Whether an update without it is refused.
    pub required: bool,
    /// What it may be.
    pub allowed: Allowed,
}

impl Fact {
    /// K, local steps.
    pub const LOCAL_STEPS: Fact = Fact { name: "local_steps", required: true, allowed: Allowed::Count };
    /// ρ, momentum of the local optimizer; 0 when not reported.
    pub const MOMENTUM: Fact = Fact { name: "momentum", required: false, allowed: Allowed::Fraction };
    /// μ, weight of the local proximal term; 0 when not reported.
    pub const MU: Fact = Fact { name: "mu", required: false, allowed: Allowed::NotNegative };
    /// η_l, learning rate of the local optimizer.
    pub const LOCAL_LEARNING_RATE: Fact =
        Fact { name: "local_learning_rate", required: false, allowed: Allowed::Positive };
    /// F, the loss on the member's data of the model that the round began with.
    pub const INITIAL_LOSS: Fact = Fact { name: "initial_loss", required: true, allowed: Allowed::NotNegative };
    /// s, how many models were made since the one that the update was made from; 0 when not reported.
    pub const STALENESS: Fact = Fact { name: "staleness", required: false, allowed: Allowed::Whole };

    /// The same, with an update refused that does not have it.
    #[must_use]
    pub const fn demanded(self) -> Fact {
        Fact { required: true, ..self }
    }

    /// The value that was reported; `None` when it was not and need not be.
    ///
    /// # Errors
    /// A value that is missing or out of its range.
    pub fn of(self, rule: &'static str, numbers: &Metrics) -> Result<Option<f64>, AggregateError> {
        let Fact { name: fact, required, allowed } = self;
        match numbers.get(fact) {
            Some(value) if allowed.holds(value) => Ok(Some(value)),
            Some(value) => Err(AggregateError::BadFact { rule, fact, value, allowed: allowed.to_string() }),
            None if required => Err(AggregateError::FactMissing { rule, fact, allowed }),
            None => Ok(None),
        }
    }
}

/// The members' indices in canonical order: by id.
pub(crate) fn order(members: &[Member]) -> Result<Vec<usize>, AggregateError> {
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_by(|a, b| members[*a].id.cmp(&members[*b].id));
    if order.windows(2).any(|pair| members[pair[0]].id == members[pair[1]].id) {
        return Err(AggregateError::Mismatch("two members of a round have the same id"));
    }
    Ok(order)
}

/// Weights over the power of two of the largest, so that all are below 2. Dividing by a power of two is exact.
pub(crate) fn scaled_weights(weights: impl Iterator<Item = f64> + Clone) -> Vec<f64> {
    let max = weights.clone().fold(0.0, f64::max);
    let unit = f64::from_bits(max.to_bits() & 0x7ff0_0000_0000_0000).max(f64::MIN_POSITIVE);
    weights.map(|weight| weight / unit).collect()
}

/// A sum that does not depend on the order: of the sorted values. Exact for sample counts.
pub(crate) fn ordered_sum(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.iter().sum()
}

/// A count as a number.
pub(crate) fn real(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::from(u32::MAX), f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_out_of_range_are_refused_by_value() {
        for weight in [0.0, -1.0, f64::NAN, f64::INFINITY, 1.000_001e9] {
            assert_eq!(check_weight(weight).unwrap_err().code(), nsfl_types::Code::BadWeight);
        }
        assert!(check_weight(1e9).is_ok() && check_weight(f64::MIN_POSITIVE).is_ok());
    }

    #[test]
    fn the_sum_of_weights_does_not_depend_on_their_order() {
        let mut weights = vec![1.0, 1e-16, 1e-16, 1e-16, 1e-16];
        let sum = ordered_sum(&weights);
        weights.reverse();
        assert_eq!(ordered_sum(&weights).to_bits(), sum.to_bits());
    }

    #[test]
    fn a_fact_that_is_missing_or_out_of_range_is_named_with_its_range() {
        let numbers = Metrics([("local_steps".to_owned(), 2.5)].into());
        let says = |fact: Fact, numbers: &Metrics| fact.of("fednova", numbers).unwrap_err().to_string();
        assert_eq!(says(Fact::LOCAL_STEPS, &numbers), "the metric 'local_steps' is 2.5; fednova takes an integer ≥ 1");
        assert_eq!(
            says(Fact::LOCAL_STEPS, &Metrics::default()),
            "fednova needs the metric 'local_steps' with each update: an integer ≥ 1"
        );
        assert_eq!(Fact::MU.of("fednova", &numbers), Ok(None));
    }
}
