//! Runs a training task in a child process, and the builtin trainers that run in it. Trainers in crates of their own
//! bring their `run` to [`child_main_with`].
//!
//! [`spawn`] is the daemon's side, [`child_main`] the child's; between them lie a task file, a result file and
//! weights as safetensors files. [`launch`] starts a user's own programs, with limits and in a sandbox. Takes no learning
//! decision, knows no job and no round.

#[cfg(feature = "builtin")]
mod builtin;
mod child;
#[cfg(feature = "builtin")]
mod classifier;
pub mod dataset;
mod dialog;
pub mod digits;
#[cfg(feature = "builtin")]
mod echo;
mod error;
pub mod launch;
mod rng;
pub mod script;
mod settings;
mod spawn;
mod task;
#[cfg(feature = "builtin")]
mod weights;

#[cfg(feature = "builtin")]
pub use builtin::run;
#[cfg(feature = "builtin")]
pub use child::child_main;
pub use child::child_main_with;
pub use dataset::{DatasetError, sample_count};
pub use dialog::{Dialog, DialogError};
pub use error::{TaskError, TrainerError};
pub use rng::Rng;
pub use settings::{parameters, settings};
pub use spawn::{TrainerChild, TrainerCommand, spawn};
pub use task::{TaskFileError, TrainerFailure, TrainerResult, TrainerTask, Work};
