//! Why a round could not be aggregated.

use nsfl_types::Code;

/// What is wrong with the members or the result of an aggregation.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AggregateError {
    /// No member at all.
    #[error("there is no update to aggregate")]
    NoMembers,
    /// A weight that is not a finite number in (0, `MAX_WEIGHT`].
    #[error("the weight {weight} is not in the range above 0 and up to {}", crate::MAX_WEIGHT)]
    BadWeight {
        /// The weight as it came.
        weight: f64,
    },
    /// The server learning rate is not a finite number above 0.
    #[error("the learning rate {0} is not a finite number above 0")]
    BadLearningRate(f64),
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
}

impl AggregateError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::NoMembers => Code::NoQuorum,
            Self::BadWeight { .. } => Code::BadWeight,
            Self::BadLearningRate(_) => Code::BadDocument,
            Self::Mismatch(_) => Code::Internal,
            Self::NotFinite { .. } => Code::NotFinite,
        }
    }
}
