//! What goes wrong in a trainer, seen from inside it and from the daemon.

use crate::{DatasetError, TaskFileError, TrainerFailure};
use nsfl_tensor::TensorError;
use nsfl_types::Code;
use std::path::PathBuf;
use std::time::Duration;

/// Why a builtin trainer could not do its task.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// `task_entry` or `parameters` say something this trainer does not know.
    #[error("{0}")]
    BadParameters(String),
    /// The data.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The weights it was given.
    #[error("the weights in {} cannot be used", path.display())]
    Weights {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: TensorError,
    },
    /// A weights file could not be read or written.
    #[error("{} could not be {action}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Read or written.
        action: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// The loss left the range of numbers.
    #[error("the training diverged: the loss is {0} (a smaller learning_rate may help)")]
    Diverged(f64),
    /// No noise without a key.
    #[cfg(feature = "builtin")]
    #[error("the operating system gave no random key: {0}")]
    NoKey(String),
    /// The arithmetic itself.
    #[cfg(feature = "builtin")]
    #[error("the computation failed")]
    Computation(#[from] candle_core::Error),
}

impl TaskError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::BadParameters(_) => Code::BadDocument,
            Self::Dataset(_) => Code::BadDataset,
            Self::Weights { source, .. } => source.code(),
            Self::File { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => Code::DiskFull,
            Self::File { .. } | Self::Diverged(_) => Code::TrainerFailed,
            #[cfg(feature = "builtin")]
            Self::NoKey(_) | Self::Computation(_) => Code::TrainerFailed,
        }
    }

    /// Code and the whole chain of causes in one sentence.
    #[must_use]
    pub fn into_failure(self) -> TrainerFailure {
        TrainerFailure { code: self.code(), reason: chain(&self) }
    }
}

/// Why a trainer process gave no result.
#[derive(Debug, thiserror::Error)]
pub enum TrainerError {
    /// The program could not be started.
    #[error("the trainer '{}' could not be started", program.display())]
    Start {
        /// Which program.
        program: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Its workspace could not be prepared.
    #[error("the trainer's workspace could not be prepared")]
    Workspace(#[from] TaskFileError),
    /// It gave a reason of its own.
    #[error("the trainer failed: {}", .0.reason)]
    Reported(TrainerFailure),
    /// It ended without a result.
    #[error("the trainer ended without a result: {how}{}", last_words(stderr))]
    Ended {
        /// Exit code or signal.
        how: String,
        /// The last lines of its standard error.
        stderr: String,
    },
    /// The folder it is to run in is not there.
    #[error("the task's folder of scripts '{}' is not there", .0.display())]
    NoFolder(PathBuf),
    /// The program of a task is not there.
    #[error("the command '{0}' is not found on this client")]
    NoProgram(String),
    /// The sandbox could not be set up.
    #[error("the task's sandbox could not be set up: {0}")]
    Sandbox(String),
    /// A fault of the process that watches over a task.
    #[error("the task's warden failed: {0}")]
    Warden(String),
    /// It took longer than it was given, and was killed.
    #[error("the trainer did not end within {} s{}", after.as_secs_f64(), last_words(stderr))]
    Timeout {
        /// What it was given.
        after: Duration,
        /// The last lines of its standard error.
        stderr: String,
    },
}

impl TrainerError {
    /// The stable code: a reported failure keeps its own.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Start { .. } | Self::Workspace(_) | Self::Sandbox(_) => Code::TrainerStart,
            Self::NoFolder(_) => Code::ScriptMissing,
            Self::NoProgram(_) => Code::ScriptCommand,
            Self::Warden(_) => Code::Internal,
            Self::Reported(failure) => failure.code,
            Self::Ended { .. } => Code::TrainerFailed,
            Self::Timeout { .. } => Code::TrainerTimeout,
        }
    }
}

/// An error and its causes, joined by colons.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |e| e.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn last_words(stderr: &str) -> String {
    if stderr.is_empty() { String::new() } else { format!("; its last words:\n{stderr}") }
}
