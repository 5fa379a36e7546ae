//! Runs a training task in a child process, and the builtin trainers that run in it.
//!
//! [`spawn`] is the daemon's side, [`child_main`] the child's; between them lie a task file, a result file and
//! weights as safetensors files. Takes no learning decision, knows no job and no round.

mod builtin;
mod child;
mod classifier;
mod dataset;
mod dialog;
pub mod digits;
mod echo;
mod error;
mod rng;
mod spawn;
mod task;
mod weights;

pub use builtin::run;
pub use child::child_main;
pub use dataset::{DatasetError, sample_count};
pub use dialog::{Dialog, DialogError};
pub use error::{TaskError, TrainerError};
pub use spawn::{TrainerChild, TrainerCommand, spawn};
pub use task::{TaskFileError, TrainerFailure, TrainerResult, TrainerTask, Work};
