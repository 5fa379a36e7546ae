//! Why a round could not be aggregated.

use crate::Allowed;
use nsfl_types::Code;

/// What is wrong with the members or the result of an aggregation.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AggregateError {
    /// No member at all.
    #[error("there is no update to aggregate")]
    NoMembers,
    /// Fewer members than the rule can work with.
    #[error("{rule} needs at least {least} updates ({condition}), not {members}")]
    TooFew {
        /// The rule or pre-aggregator.
        rule: &'static str,
        /// How many it needs.
        least: usize,
        /// Why, with the parameter's value.
        condition: String,
        /// How many there are.
        members: usize,
    },
    /// More members than the rule can work with.
    #[error("{rule} takes at most {most} updates, not {members}")]
    TooMany {
        /// The rule.
        rule: &'static str,
        /// How many it takes.
        most: usize,
        /// How many there are.
        members: usize,
    },
    /// A weight that is not a finite number in (0, `MAX_WEIGHT`].
    #[error("the weight {weight} is not in the range above 0 and up to {}", crate::MAX_WEIGHT)]
    BadWeight {
        /// The weight as it came.
        weight: f64,
    },
    /// A number that the rule needs was not reported with the update.
    #[error("{rule} needs the metric '{fact}' with each update: {allowed}")]
    FactMissing {
        /// The rule.
        rule: &'static str,
        /// The metric's name.
        fact: &'static str,
        /// What it may be.
        allowed: Allowed,
    },
    /// A number that was reported with the update is out of its range.
    #[error("the metric '{fact}' is {value}; {rule} takes {allowed}")]
    BadFact {
        /// The rule.
        rule: &'static str,
        /// The metric's name.
        fact: &'static str,
        /// The value as it came.
        value: f64,
        /// What it may be.
        allowed: String,
    },
    /// The server learning rate is not a finite number above 0.
    #[error("the learning rate {0} is not a finite number above 0")]
    BadLearningRate(f64),
    /// The rule needs a tensor that the model does not have.
    #[error("{rule}: {problem}")]
    Model {
        /// The rule.
        rule: &'static str,
        /// What is missing.
        problem: String,
    },
    /// The memory that the caller allows is too little.
    #[error("aggregating {members} updates needs {needs} bytes of memory, {given} are allowed")]
    Memory {
        /// Members of the round.
        members: usize,
        /// The least that would do.
        needs: usize,
        /// What the caller allows.
        given: usize,
    },
    /// Facts, updates or blocks that do not belong to the base model or the plan: a mistake of the caller.
    #[error("{0}")]
    Mismatch(&'static str),
    /// The result leaves the range of its data type.
    #[error("the aggregate of tensor '{tensor}' is not finite at index {index}")]
    NotFinite {
        /// Which tensor.
        tensor: String,
        /// Index of the first such element, row-major.
        index: usize,
    },
    /// A rule's own arithmetic left the range of numbers.
    #[error("{rule} found no finite coefficients for these updates")]
    NoCoefficients {
        /// The rule.
        rule: &'static str,
    },
}

impl AggregateError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::NoMembers | Self::TooFew { .. } | Self::TooMany { .. } => Code::NoQuorum,
            Self::BadWeight { .. } => Code::BadWeight,
            Self::FactMissing { .. } | Self::BadFact { .. } => Code::BadUpdate,
            Self::BadLearningRate(_) => Code::BadDocument,
            Self::Model { .. } => Code::WrongShape,
            Self::Memory { .. } => Code::TooLarge,
            Self::Mismatch(_) => Code::Internal,
            Self::NotFinite { .. } | Self::NoCoefficients { .. } => Code::NotFinite,
        }
    }
}
