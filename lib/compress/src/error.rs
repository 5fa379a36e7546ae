//! Why something was not compressed, or is not what it should be. Every reason that has a tensor names it.

use nsfl_tensor::TensorError;
use nsfl_types::{Code, Digest};

/// Weights that cannot be compressed, or compressed bytes that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CompressError {
    /// What would be refused of weights that are not compressed.
    #[error(transparent)]
    Weights(#[from] TensorError),
    /// Another version, older or newer.
    #[error("the weights are compressed by version {0} of the format; this program reads 1")]
    Version(u8),
    /// The head is cut off or says nothing that is known.
    #[error("the head of the compressed weights is not readable: {0}")]
    Head(String),
    /// A section is shorter or longer than it should be.
    #[error("the compressed weights have {got} bytes; their head says {expected}")]
    Length {
        /// What the head leads to.
        expected: u64,
        /// How many there are.
        got: u64,
    },
    /// A section that no client of ours has written.
    #[error("tensor '{tensor}' {problem}")]
    Section {
        /// Which tensor.
        tensor: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A scale is NaN or infinite.
    #[error("tensor '{tensor}' has a scale that is not finite, or below 0")]
    Scale {
        /// Which tensor.
        tensor: String,
    },
    /// A value is beyond what the coding can say.
    #[error("tensor '{tensor}' holds {value:e} at index {index}, more than {coding} can say")]
    TooLarge {
        /// Which tensor.
        tensor: String,
        /// The value.
        value: f64,
        /// Its index, row-major.
        index: usize,
        /// The coding.
        coding: String,
    },
    /// Another coding than was asked for.
    #[error("the update is written as {got}; the job asks for {expected}")]
    Coding {
        /// What the job asks for.
        expected: String,
        /// What came.
        got: String,
    },
    /// An update to another model.
    #[error("the update is one to the model {got}, not to this round's, {expected}")]
    Base {
        /// The round's model.
        expected: Digest,
        /// The model it was made from.
        got: Digest,
    },
    /// What was to be compressed was not the same when it was read again.
    #[error("tensor '{tensor}' changed while it was read")]
    Changed {
        /// Which tensor.
        tensor: String,
    },
}

impl CompressError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Weights(error) => error.code(),
            Self::Scale { .. } | Self::TooLarge { .. } => Code::NotFinite,
            Self::Base { .. } => Code::WrongBase,
            Self::Version(_)
            | Self::Head(_)
            | Self::Length { .. }
            | Self::Section { .. }
            | Self::Coding { .. }
            | Self::Changed { .. } => Code::BadUpdate,
        }
    }

    pub(crate) fn section(tensor: &str, problem: &'static str) -> Self {
        Self::Section { tensor: shown(tensor), problem }
    }
}

/// A name for a message: what a peer sent is not repeated at any length.
pub(crate) fn shown(name: &str) -> String {
    name.chars().take(120).collect()
}
