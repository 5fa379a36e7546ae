//! Federated averaging: x + η Σ wᵢΔᵢ / Σ wᵢ (McMahan et al. 2017, arXiv 1602.05629).
//!
//! Variant: on deltas, with a server learning rate η (1 gives the paper's average of models); `uniform` takes
//! every wᵢ as 1 instead of the sample count. Integer tensors take the members' maximum. Keeps no state.

use crate::{AggregateError, fixed};
use nsfl_tensor::{Layout, TensorSpec, UpdateFacts};

/// The largest weight an update may have.
pub const MAX_WEIGHT: f64 = 1e9;

/// The rule's parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FedAvg {
    /// η, the server learning rate.
    pub learning_rate: f64,
    /// Equal weights instead of the members' own.
    pub uniform: bool,
}

impl Default for FedAvg {
    fn default() -> Self {
        Self { learning_rate: 1.0, uniform: false }
    }
}

/// What a plan needs of one member.
#[derive(Debug, Clone, PartialEq)]
pub struct MemberFacts {
    /// Its weight, usually the sample count.
    pub weight: f64,
    /// Of its update, from `nsfl_tensor::check_update`.
    pub facts: UpdateFacts,
}

/// How the members of one round are summed: fixed before the first block, the same for the same set of members.
#[derive(Debug, Clone)]
pub struct Plan {
    layout: Layout,
    /// Members' weights over the power of two of the largest, so that all are below 2.
    weights: Vec<f64>,
    /// Per tensor: every term is multiplied by 2 to this power.
    scales: Vec<i32>,
    /// Per tensor, what the weighted sum is multiplied by: η / Σ w.
    factors: Vec<f64>,
}

/// Checks a member's weight when it arrives.
///
/// # Errors
/// `BadWeight` when it is not a finite number in (0, `MAX_WEIGHT`].
pub fn check_weight(weight: f64) -> Result<(), AggregateError> {
    if weight > 0.0 && weight <= MAX_WEIGHT { Ok(()) } else { Err(AggregateError::BadWeight { weight }) }
}

impl FedAvg {
    /// Plans the sum over `members`; their order decides only which index each has.
    ///
    /// # Errors
    /// No members, a weight or learning rate out of range, or facts of another model.
    pub fn plan(&self, base: &Layout, members: &[MemberFacts]) -> Result<Plan, AggregateError> {
        check(base, members, self.learning_rate)?;
        let weights = self.weights(members);
        let factor = self.learning_rate / ordered_sum(&weights);
        Ok(Plan::new(base, members, weights, |_| factor))
    }

    fn weights(&self, members: &[MemberFacts]) -> Vec<f64> {
        if self.uniform {
            return vec![1.0; members.len()];
        }
        let max = members.iter().map(|m| m.weight).fold(0.0, f64::max);
        // dividing by a power of two is exact
        let unit = f64::from_bits(max.to_bits() & 0x7ff0_0000_0000_0000).max(f64::MIN_POSITIVE);
        members.iter().map(|m| m.weight / unit).collect()
    }
}

/// Whether this round can be planned at all.
pub(crate) fn check(base: &Layout, members: &[MemberFacts], learning_rate: f64) -> Result<(), AggregateError> {
    if members.is_empty() {
        return Err(AggregateError::NoMembers);
    }
    if !(learning_rate.is_finite() && learning_rate > 0.0) {
        return Err(AggregateError::BadLearningRate(learning_rate));
    }
    if members.iter().any(|m| m.facts.tensors() != base.tensors().len()) {
        return Err(AggregateError::Mismatch("a member's facts are not of the base model"));
    }
    members.iter().try_for_each(|m| check_weight(m.weight))
}

impl Plan {
    /// `weights` are below 2; `factor` tells of each tensor what the sum of weighted terms is multiplied by.
    pub(crate) fn new(
        base: &Layout,
        members: &[MemberFacts],
        weights: Vec<f64>,
        factor: impl Fn(&TensorSpec) -> f64,
    ) -> Self {
        let bounds = |i: usize| weights.iter().zip(members).map(move |(w, m)| (*w, m.facts.max_abs(i)));
        let scales = (0..base.tensors().len()).map(|i| fixed::scale(bounds(i), members.len())).collect();
        let factors = base.tensors().iter().map(factor).collect();
        Self { layout: base.clone(), scales, factors, weights }
    }

    /// The base model's layout.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// How many members it sums.
    #[must_use]
    pub fn members(&self) -> usize {
        self.weights.len()
    }

    /// What a member's values of a tensor are multiplied by before they are rounded to whole numbers.
    pub(crate) fn coefficient(&self, tensor: usize, member: usize) -> f64 {
        // twice half the exponent: neither step leaves the range before the product does
        let scale = self.scales[tensor];
        self.weights[member] * fixed::exp2(scale / 2) * fixed::exp2(scale - scale / 2)
    }

    /// What the finished whole-number sum of a tensor is multiplied by.
    pub(crate) fn factor(&self, tensor: usize) -> f64 {
        let scale = self.scales[tensor];
        self.factors[tensor] * fixed::exp2(-(scale / 2)) * fixed::exp2(scale / 2 - scale)
    }
}

/// A sum that does not depend on the order: of the sorted values. Exact for sample counts.
fn ordered_sum(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_out_of_range_are_refused_by_value() {
        for weight in [0.0, -1.0, f64::NAN, f64::INFINITY, 1.000_001e9] {
            assert_eq!(check_weight(weight).unwrap_err().code(), nsfl_types::Code::BadWeight);
            let member = MemberFacts { weight, facts: UpdateFacts::default() };
            assert!(FedAvg::default().plan(&Layout::default(), &[member]).is_err());
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
    fn a_plan_without_members_or_with_a_bad_learning_rate_is_refused() {
        assert_eq!(FedAvg::default().plan(&Layout::default(), &[]).unwrap_err(), AggregateError::NoMembers);
        let rule = FedAvg { learning_rate: f64::NAN, uniform: false };
        let member = MemberFacts { weight: 1.0, facts: UpdateFacts::default() };
        assert!(matches!(rule.plan(&Layout::default(), &[member]), Err(AggregateError::BadLearningRate(_))));
    }
}
