//! Why a TorchScript task could not be done.

use nsfl_trainer::{DatasetError, TaskError, TrainerFailure};
use nsfl_types::Code;
use std::path::PathBuf;
use tch::TchError;

/// Beyond what every trainer may say: the module, and the arithmetic.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TorchError {
    /// What the other trainers say too.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// The task's entry is not there.
    #[error("task_entry: {} cannot be read: {source}", path.display())]
    Missing { path: PathBuf, source: std::io::Error },
    /// The task's entry is not what it must be.
    #[error("task_entry: {} {problem}", path.display())]
    Module { path: PathBuf, problem: String },
    /// libtorch refused an operation, mostly the module's own.
    #[error("the computation failed: {0}")]
    Computation(String),
}

impl TorchError {
    pub(crate) fn into_failure(self) -> TrainerFailure {
        match self {
            Self::Task(e) => e.into_failure(),
            Self::Missing { .. } => TrainerFailure { code: Code::ScriptMissing, reason: self.to_string() },
            Self::Module { .. } => TrainerFailure { code: Code::BadDocument, reason: self.to_string() },
            Self::Computation(_) => TrainerFailure { code: Code::TrainerFailed, reason: self.to_string() },
        }
    }
}

impl From<DatasetError> for TorchError {
    fn from(e: DatasetError) -> Self {
        Self::Task(e.into())
    }
}

impl From<TchError> for TorchError {
    fn from(e: TchError) -> Self {
        Self::Computation(words(&e))
    }
}

/// What is wrong, without the trace of C++ frames below it: the line of the module's own exception, or the first.
pub(crate) fn words(error: &TchError) -> String {
    let text = error.to_string();
    let text = text.strip_prefix("Internal torch error: ").unwrap_or(&text);
    let raised = text.lines().find_map(|line| line.trim().strip_prefix("RuntimeError: "));
    raised.or_else(|| text.lines().next()).unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_trace_the_line_that_says_what_is_wrong_is_kept() {
        let says = |text: &str| words(&TchError::Torch(text.to_owned()));
        assert_eq!(says("expected 2D\nException raised from addmm at x.cpp:1\nframe #0"), "expected 2D");
        let script = "The following operation failed in the TorchScript interpreter.\nTraceback of TorchScript\n    ~~ <--- HERE\nRuntimeError: shapes differ\n";
        assert_eq!(says(script), "shapes differ");
    }
}
