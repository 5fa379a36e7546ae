//! Runs a training task in a child process, and the builtin trainers that run in it. Trainers in crates of their own
//! bring their `run` to [`child_main_with`].
//!
//! [`spawn`] is the daemon's side, [`child_main`] the child's; between them lie a task file, a result file and
//! weights as safetensors files. Takes no learning decision, knows no job and no round.

mod builtin;
mod child;
mod classifier;
pub mod dataset;
pub mod digits;
mod echo;
mod error;
mod rng;
mod spawn;
mod task;
mod weights;

pub use builtin::{parameters, run, settings};
pub use child::{child_main, child_main_with};
pub use dataset::{DatasetError, sample_count};
pub use error::{TaskError, TrainerError};
pub use rng::Rng;
pub use spawn::{TrainerChild, TrainerCommand, spawn};
pub use task::{TaskFileError, TrainerFailure, TrainerResult, TrainerTask, Work};
