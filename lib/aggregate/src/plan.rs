//! What is done to each tensor of a round: fixed before the first block, the same for the same set of members.

use crate::class::{Class, class};
use crate::columns::ColumnPlan;
use crate::member::{ordered_sum, real};
use crate::mix::Mix;
use crate::rule::{Product, Treat};
use crate::state::{Slot, slot_tensor};
use crate::{AggregateError, Aggregation, Combine, Round, Server, fixed};
use nsfl_tensor::Layout;
use std::sync::Arc;

/// How the members of one round are combined.
#[derive(Debug, Clone)]
pub struct Plan {
    layout: Layout,
    members: usize,
    clients: usize,
    kinds: Vec<Kind>,
    /// Of weights, of running statistics, of control variates.
    sums: [Option<Terms>; 3],
    pub(crate) columns: Option<ColumnPlan>,
    /// (update, share of the weights), in canonical order.
    pub(crate) shares: Vec<(usize, f64)>,
    pub(crate) server: Server,
    pub(crate) slots: Vec<Slot>,
    /// The first slot is the rule's.
    pub(crate) keeps_previous: bool,
    state: Option<Layout>,
    /// Of each tensor, where its slots are in the state.
    slot_tensors: Vec<Vec<usize>>,
}

/// What is done to a tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// The members' maximum.
    Max,
    /// The base.
    Keep,
    /// Zeros.
    Zero,
    /// Products of two other tensors are added.
    Product(Product),
    /// Columns; `moved` by the server optimizer, or added as they are.
    Columns { moved: bool },
    /// One of the plan's sums.
    Sum { terms: usize, moved: bool },
}

const OWN: usize = 0;
const BUFFER: usize = 1;
const CONTROL: usize = 2;

/// Δ = times / over · Σ weightᵢ·Δᵢ + previous · (last Δ).
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    /// By the caller's order of members.
    weights: Vec<f64>,
    times: f64,
    over: f64,
    pub(crate) previous: f64,
    /// Per tensor: every term is multiplied by 2 to this power.
    scales: Vec<i32>,
}

impl Plan {
    pub(crate) fn new(
        aggregation: &Aggregation,
        round: &Round<'_>,
        order: &[usize],
        mix: Option<&Mix>,
        combine: Combine,
    ) -> Result<Self, AggregateError> {
        let mut plan = Self {
            layout: round.model.clone(),
            members: order.len(),
            clients: round.clients,
            kinds: Vec::new(),
            sums: [None, None, None],
            columns: None,
            shares: Vec::new(),
            server: *aggregation.server(),
            slots: aggregation.slots(),
            keeps_previous: aggregation.rule().previous().is_some(),
            state: aggregation.state_layout(round.model)?,
            slot_tensors: Vec::new(),
        };
        match combine {
            Combine::Columns { members, each } => {
                plan.columns = Some(ColumnPlan::new(Arc::clone(&each), &members, mix, order));
            }
            Combine::Sum { weights, times, over, previous } => {
                let weights = mix.map_or_else(|| weights.clone(), |mix| mix.folded(&weights));
                if !(times / over).is_finite() || !previous.is_finite() || weights.iter().any(|w| !w.is_finite()) {
                    return Err(AggregateError::NoCoefficients { rule: aggregation.rule().name() });
                }
                let mut by_caller = vec![0.0; order.len()];
                order.iter().zip(&weights).for_each(|(i, weight)| by_caller[*i] = *weight);
                let sum = ordered_sum(&weights);
                let (even, count) = (vec![1.0; order.len()], real(order.len()));
                let (convex, sum) = if sum > 0.0 { (by_caller.clone(), sum) } else { (even, count) };
                plan.shares = order.iter().map(|i| (*i, convex[*i] / sum)).collect();
                plan.sums[OWN] = Some(Terms::new(round, by_caller, times, over, previous));
                plan.sums[BUFFER] = Some(Terms::new(round, convex, 1.0, sum, 0.0));
            }
        }
        let clients = real(round.clients.max(order.len()));
        plan.sums[CONTROL] = Some(Terms::new(round, vec![1.0; order.len()], 1.0, clients, 0.0));
        for (i, spec) in round.model.tensors().iter().enumerate() {
            let treat = aggregation.rule().treat(round.model, i);
            let columns = plan.columns.is_some();
            plan.kinds.push(match class(spec) {
                Class::Integer => Kind::Max,
                Class::Control => Kind::Sum { terms: CONTROL, moved: false },
                Class::Buffer if columns => Kind::Columns { moved: false },
                Class::Buffer => Kind::Sum { terms: BUFFER, moved: false },
                Class::Own => match treat? {
                    Treat::Keep => Kind::Keep,
                    Treat::Zero => Kind::Zero,
                    Treat::Product(product) => Kind::Product(product),
                    Treat::Combine if columns => Kind::Columns { moved: true },
                    Treat::Combine => Kind::Sum { terms: OWN, moved: true },
                },
            });
            let kept = |slot: &Slot| plan.state.as_ref().and_then(|state| slot_tensor(state, slot.name, &spec.name));
            let slots = plan.slots.iter().filter_map(kept).collect();
            plan.slot_tensors.push(slots);
        }
        Ok(plan)
    }

    /// The base model's layout.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// How many members it combines.
    #[must_use]
    pub fn members(&self) -> usize {
        self.members
    }

    /// The layout of what is kept for the next round, if anything is.
    #[must_use]
    pub fn state_layout(&self) -> Option<&Layout> {
        self.state.as_ref()
    }

    pub(crate) fn kind(&self, tensor: usize) -> Kind {
        self.kinds[tensor]
    }

    pub(crate) fn slot_tensors(&self, tensor: usize) -> &[usize] {
        &self.slot_tensors[tensor]
    }

    /// (m, N).
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.members, self.clients)
    }

    pub(crate) fn terms(&self, tensor: usize) -> Option<&Terms> {
        if let Kind::Sum { terms, .. } = self.kinds[tensor] { self.sums[terms].as_ref() } else { None }
    }

    /// Whether a tensor's next value is its base plus a factor times the sum, or the maximum.
    pub(crate) fn is_fused(&self, tensor: usize) -> bool {
        match self.kinds[tensor] {
            Kind::Max => true,
            Kind::Sum { moved, .. } => !moved || (self.server.plain_rate().is_some() && self.slots.is_empty()),
            _ => false,
        }
    }

    /// What a member's values of a tensor are multiplied by before they are rounded to whole numbers.
    pub(crate) fn coefficient(&self, tensor: usize, member: usize) -> f64 {
        self.terms(tensor).map_or(0.0, |terms| fixed::times_exp2(terms.weights[member], terms.scales[tensor]))
    }

    /// What the finished whole-number sum of a tensor is multiplied by: to the change of the model where that is fused, to Δ
    /// elsewhere.
    pub(crate) fn factor(&self, tensor: usize) -> f64 {
        let Some(terms) = self.terms(tensor) else { return 0.0 };
        let moved = matches!(self.kinds[tensor], Kind::Sum { moved: true, .. }) && self.is_fused(tensor);
        let rate = self.server.plain_rate().filter(|_| moved).unwrap_or(1.0);
        fixed::times_exp2(rate * terms.times / terms.over, -terms.scales[tensor])
    }
}

impl Terms {
    fn new(round: &Round<'_>, weights: Vec<f64>, times: f64, over: f64, previous: f64) -> Self {
        let bounds = |t: usize| weights.iter().zip(round.members).map(move |(w, m)| (*w, m.facts.facts.max_abs(t)));
        let tensors = round.model.tensors().len();
        let scales = (0..tensors).map(|t| fixed::scale(bounds(t), round.members.len())).collect();
        Self { weights, times, over, previous, scales }
    }
}
