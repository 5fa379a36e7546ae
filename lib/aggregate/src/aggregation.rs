//! A job's whole way from updates to the next model: pre-aggregators, a rule, a server optimizer.

use crate::class::{Class, class};
use crate::rule::Treat;
use crate::state::{self, Slot};
use crate::{AggregateError, Fact, Geometry, Inputs, Member, Pass, Plan, Pre, Rule, Server, check_weight, member, pre};
use nsfl_compress::Update;
use nsfl_tensor::{Layout, TensorError, WeightsView};
use nsfl_types::Metrics;
use std::sync::Arc;

/// Pre-aggregators, rule and server optimizer of a job.
#[derive(Debug, Clone)]
pub struct Aggregation {
    pre: Vec<Pre>,
    rule: Arc<dyn Rule>,
    server: Server,
}

/// What a round is made from, beside values.
#[derive(Debug, Clone, Copy)]
pub struct Round<'a> {
    /// The base model's tensors.
    pub model: &'a Layout,
    /// The members; the result is a function of their set.
    pub members: &'a [Member],
    /// N, all clients of the job.
    pub clients: usize,
    /// For pre-aggregators that draw.
    pub seed: u64,
}

/// The values a round is made from.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// The model the round began with.
    pub base: &'a WeightsView<'a>,
    /// What the last round left, in the layout of [`Aggregation::state_layout`]; none before the first.
    pub state: Option<&'a WeightsView<'a>>,
    /// The members' updates, in the order of [`Round::members`].
    pub updates: &'a [Update<'a>],
}

impl Aggregation {
    /// A rule and a server optimizer.
    #[must_use]
    pub fn new(rule: impl Rule + 'static, server: Server) -> Self {
        Self::of(Arc::new(rule), server)
    }

    pub(crate) fn of(rule: Arc<dyn Rule>, server: Server) -> Self {
        Self { pre: Vec::new(), rule, server }
    }

    /// With one more pre-aggregator, after those it has.
    #[must_use]
    pub fn with(mut self, pre: Pre) -> Self {
        self.pre.push(pre);
        self
    }

    /// With another server optimizer.
    #[must_use]
    pub fn with_server(self, server: Server) -> Self {
        Self { server, ..self }
    }

    /// The rule.
    #[must_use]
    pub fn rule(&self) -> &dyn Rule {
        self.rule.as_ref()
    }

    /// The server optimizer.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// What each member must report beside its update.
    #[must_use]
    pub fn facts(&self) -> Vec<Fact> {
        self.rule.facts()
    }

    /// Judges what a member reported, when it arrives.
    ///
    /// # Errors
    /// A number that the rule needs and that is missing or out of its range.
    pub fn check_numbers(&self, numbers: &Metrics) -> Result<(), AggregateError> {
        self.facts().into_iter().try_for_each(|fact| fact.of(self.rule.name(), numbers).map(drop))
    }

    /// Whether a round of so many members can be aggregated: known at submit for `client_num` and the quorum.
    ///
    /// # Errors
    /// Too few or too many, with the reason.
    pub fn check_members(&self, members: usize) -> Result<(), AggregateError> {
        let vectors = self.pre.iter().try_fold(members, |n, pre| pre.vectors(n))?;
        self.rule.check(vectors)
    }

    /// What must be seen of the updates before the plan: whether a [`crate::Survey`] is needed.
    #[must_use]
    pub fn pass(&self) -> Pass {
        let mut mixed = false;
        let mut pass = Pass::None;
        for (asks, mixes) in self.pre.iter().map(|pre| (pre.pass(), pre.mixes())).chain([(self.rule.pass(), false)]) {
            // the norm of a mean takes the products of what it is made of
            pass = pass.max(if mixed && asks == Pass::Norms { Pass::Products } else { asks });
            mixed |= mixes;
        }
        pass
    }

    /// The tensors that are kept from round to round beside the model; `None` when there are none.
    ///
    /// # Errors
    /// A model that the rule is not for.
    pub fn state_layout(&self, model: &Layout) -> Result<Option<Layout>, AggregateError> {
        let slots = self.slots();
        if slots.is_empty() {
            return Ok(None);
        }
        let kept = self.combined(model)?;
        let kept: Vec<_> =
            model.tensors().iter().zip(kept).filter_map(|(tensor, kept)| kept.then_some(tensor)).collect();
        let named = |e: TensorError| AggregateError::Model { rule: self.rule.name(), problem: e.to_string() };
        state::layout(&slots, &kept).map(Some).map_err(named)
    }

    /// Plans a round. `geometry` is what a survey of its members found, if `pass` asks for one.
    ///
    /// # Errors
    /// Members that the rule or a pre-aggregator cannot take, with the reason.
    pub fn plan(&self, round: &Round<'_>, geometry: Option<&Geometry>) -> Result<Plan, AggregateError> {
        self.check(round)?;
        let order = member::order(round.members)?;
        let n = order.len();
        let expected = n + usize::from(self.rule.previous().is_some());
        if (self.pass() > Pass::None || geometry.is_some()) && geometry.is_none_or(|g| g.vectors() != expected) {
            return Err(AggregateError::Mismatch("the plan was made without the survey of its members"));
        }
        let weights = member::scaled_weights(order.iter().map(|i| round.members[*i].facts.weight));
        let (mix, seen) = pre::chain(&self.pre, n, geometry, round.seed)?;
        let (none, vectors) = (Metrics::default(), mix.as_ref().map_or(n, crate::mix::Mix::outputs));
        let ones = vec![1.0; vectors];
        let mixed = self.mixes();
        let numbers: Vec<&Metrics> = match mixed {
            true => vec![&none; vectors],
            false => order.iter().map(|i| &round.members[*i].numbers).collect(),
        };
        let given = if mixed { &ones } else { &weights };
        let inputs = Inputs { weights: given, numbers: &numbers, geometry: seen.as_ref() };
        let combine = self.rule.combine(&inputs)?;
        Plan::new(self, round, &order, mix.as_ref(), combine)
    }

    /// Whether anything is done to updates before the rule sees them.
    pub(crate) fn has_pre(&self) -> bool {
        !self.pre.is_empty()
    }

    /// Whether a pre-aggregator mixes members.
    pub(crate) fn mixes(&self) -> bool {
        self.pre.iter().any(Pre::mixes)
    }

    /// What is kept for each weight: the rule's previous result first.
    pub(crate) fn slots(&self) -> Vec<Slot> {
        let previous = self.rule.previous().map(|name| Slot { name, initial: 0.0 });
        previous.into_iter().chain(self.server.slots()).collect()
    }

    /// Of each tensor, whether it is weights that the rule combines.
    fn combined(&self, model: &Layout) -> Result<Vec<bool>, AggregateError> {
        let combined = |(i, tensor)| Ok(class(tensor) == Class::Own && self.rule.treat(model, i)? == Treat::Combine);
        model.tensors().iter().enumerate().map(combined).collect()
    }

    pub(crate) fn check(&self, round: &Round<'_>) -> Result<(), AggregateError> {
        if round.members.is_empty() {
            return Err(AggregateError::NoMembers);
        }
        self.server.check()?;
        if !self.facts().is_empty() && self.mixes() {
            return Err(AggregateError::Mismatch(
                "a rule that needs facts of single members was put after one that mixes them",
            ));
        }
        if round.members.iter().any(|m| m.facts.facts.tensors() != round.model.tensors().len()) {
            return Err(AggregateError::Mismatch("a member's facts are not of the base model"));
        }
        for member in round.members {
            check_weight(member.facts.weight)?;
            self.check_numbers(&member.numbers)?;
        }
        self.check_members(round.members.len())
    }
}
