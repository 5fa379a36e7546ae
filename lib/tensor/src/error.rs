//! Why weights were refused. Every reason names the tensor.

use crate::DType;
use nsfl_types::Code;
use std::fmt;

/// Weights or an update that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TensorError {
    /// Not safetensors, cut off, or with offsets that do not fit its shapes.
    #[error("the weights are not readable as safetensors")]
    Unreadable(#[source] safetensors::SafeTensorError),
    /// A data type this version does not carry.
    #[error("tensor '{tensor}' has the data type {dtype}, which is not offered; offered: {}", DType::NAMES)]
    UnsupportedDType {
        /// Which tensor.
        tensor: String,
        /// Its type as safetensors names it.
        dtype: String,
    },
    /// Two tensors of one name, or a shape whose size overflows.
    #[error("tensor '{tensor}' {problem}")]
    BadLayout {
        /// Which tensor.
        tensor: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A tensor of the model is not there.
    #[error("tensor '{tensor}' is missing")]
    Missing {
        /// Which tensor.
        tensor: String,
    },
    /// A tensor the model does not have.
    #[error("tensor '{tensor}' is not part of the model")]
    Extra {
        /// Which tensor.
        tensor: String,
    },
    /// The shape is not the model's.
    #[error("tensor '{tensor}' has the shape {got:?}; the model's is {expected:?}")]
    Shape {
        /// Which tensor.
        tensor: String,
        /// The model's shape.
        expected: Vec<usize>,
        /// The shape that came.
        got: Vec<usize>,
    },
    /// The data type is not the model's.
    #[error("tensor '{tensor}' has the data type {got}; the model's is {expected}")]
    WrongDType {
        /// Which tensor.
        tensor: String,
        /// The model's type.
        expected: DType,
        /// The type that came.
        got: DType,
    },
    /// NaN or infinity.
    #[error("tensor '{tensor}' holds a value that is not finite at index {index}")]
    NotFinite {
        /// Which tensor.
        tensor: String,
        /// Index of the first such element, row-major.
        index: usize,
    },
}

impl TensorError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Unreadable(_) | Self::UnsupportedDType { .. } | Self::BadLayout { .. } => Code::BadUpdate,
            Self::Missing { .. } | Self::Extra { .. } => Code::WrongNames,
            Self::Shape { .. } | Self::WrongDType { .. } => Code::WrongShape,
            Self::NotFinite { .. } => Code::NotFinite,
        }
    }
}

/// A stream of weights that ended early: by its content, or because the sink refused a block.
#[derive(Debug)]
pub enum StreamError<T, E> {
    /// The content.
    Content(T),
    /// The sink's own error.
    Write(E),
}

impl<T: fmt::Display, E: fmt::Display> fmt::Display for StreamError<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Content(e) => e.fmt(f),
            Self::Write(e) => write!(f, "weights could not be written: {e}"),
        }
    }
}

impl<T: std::error::Error + 'static, E: std::error::Error + 'static> std::error::Error for StreamError<T, E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Content(e) => e.source(),
            Self::Write(e) => Some(e),
        }
    }
}

/// A name for a message: what a peer sent is not repeated at any length.
pub(crate) fn shown(name: &str) -> String {
    const MAX: usize = 120;
    if name.chars().count() <= MAX { name.to_owned() } else { name.chars().take(MAX).chain(['…']).collect() }
}
