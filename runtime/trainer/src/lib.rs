//! Runs a training task in a child process, and the builtin trainers that run in it.
//!
//! [`spawn`] is the daemon's side, [`child_main`] the child's; between them lie a task file, a result file and
//! weights as safetensors files. [`launch`] starts a user's own programs, with limits and in a sandbox. Takes no learning
//! decision, knows no job and no round.

mod builtin;
mod child;
mod classifier;
mod dataset;
pub mod digits;
mod echo;
mod error;
pub mod launch;
mod rng;
pub mod script;
mod spawn;
mod task;
mod weights;

pub use builtin::run;
pub use child::child_main;
pub use dataset::{DatasetError, sample_count};
pub use error::{TaskError, TrainerError};
pub use spawn::{TrainerChild, TrainerCommand, spawn};
pub use task::{TaskFileError, TrainerFailure, TrainerResult, TrainerTask, Work};
