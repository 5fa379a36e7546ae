//! The two rules that need nothing but weights, as plain values: what a job without an `aggregator` asks for.

use crate::rule::mean::Mean;
use crate::{AggregateError, Aggregation, Member, MemberFacts, Plan, Round, Server};
use nsfl_tensor::Layout;
use nsfl_types::Metrics;

/// Federated averaging: x + η Σ wᵢΔᵢ / Σ wᵢ (McMahan et al. 2017, arXiv 1602.05629).
///
/// Variant: on deltas, with a server learning rate η (1, the default, gives the paper's average of models); `uniform` takes
/// every wᵢ as 1 instead of the sample count. Integer tensors take the members' maximum. Keeps no state.
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

impl From<FedAvg> for Aggregation {
    fn from(FedAvg { learning_rate, uniform }: FedAvg) -> Self {
        Aggregation::new(Mean { name: "fedavg", uniform }, Server::Sgd { learning_rate })
    }
}

impl FedAvg {
    /// Plans the sum over `members`; their order decides only which index each has.
    ///
    /// # Errors
    /// No members, a weight or learning rate out of range, or facts of another model.
    pub fn plan(&self, base: &Layout, members: &[MemberFacts]) -> Result<Plan, AggregateError> {
        plan(&(*self).into(), base, members, members.len())
    }
}

/// SCAFFOLD, as `rule/scaffold.rs` describes it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scaffold {
    /// η, the server learning rate.
    pub learning_rate: f64,
    /// N, all clients of the job; at least as many as there are members.
    pub clients: usize,
}

impl Scaffold {
    /// Plans the sum over `members`; their order decides only which index each has.
    ///
    /// # Errors
    /// No members, a learning rate out of range, or facts of another model.
    pub fn plan(&self, base: &Layout, members: &[MemberFacts]) -> Result<Plan, AggregateError> {
        let server = Server::Sgd { learning_rate: self.learning_rate };
        plan(&Aggregation::new(Mean { name: "scaffold", uniform: true }, server), base, members, self.clients)
    }
}

/// A sum does not depend on the order of its members, so their places do for ids.
fn plan(
    aggregation: &Aggregation,
    model: &Layout,
    members: &[MemberFacts],
    clients: usize,
) -> Result<Plan, AggregateError> {
    let member = |(i, facts): (usize, &MemberFacts)| Member {
        id: format!("{i:020}"),
        facts: facts.clone(),
        numbers: Metrics::default(),
    };
    let members: Vec<Member> = members.iter().enumerate().map(member).collect();
    aggregation.plan(&Round { model, members: &members, clients, seed: 0 }, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_without_members_or_with_a_bad_weight_or_learning_rate_is_refused() {
        let model = Layout::default();
        let member = |weight| MemberFacts { weight, facts: nsfl_tensor::UpdateFacts::default() };
        assert_eq!(FedAvg::default().plan(&model, &[]).unwrap_err(), AggregateError::NoMembers);
        let rule = FedAvg { learning_rate: f64::NAN, uniform: false };
        assert!(matches!(rule.plan(&model, &[member(1.0)]), Err(AggregateError::BadLearningRate(_))));
        assert!(FedAvg::default().plan(&model, &[member(f64::NAN)]).is_err());
        let rule = Scaffold { learning_rate: 0.0, clients: 1 };
        assert_eq!(rule.plan(&model, &[]).unwrap_err(), AggregateError::NoMembers);
        assert!(matches!(rule.plan(&model, &[member(1.0)]), Err(AggregateError::BadLearningRate(_))));
    }
}
