//! What a build without libtorch answers.

use nsfl_trainer::{TrainerFailure, TrainerResult, TrainerTask};
use nsfl_types::Code;

const HOW: &str = "this nsfl-trainer-torch was built without libtorch. To build it with: \
    pip install torch==2.13.0; export LIBTORCH=<the folder `torch` in site-packages>; \
    export LD_LIBRARY_PATH=$LIBTORCH/lib; cargo build -p nsfl-trainer-torch --features torch --release. \
    The daemon needs the same LD_LIBRARY_PATH (docs/torchscript.md)";

/// Refuses, and says how to get a build that can.
///
/// # Errors
/// Always.
pub fn run(_: &TrainerTask) -> Result<TrainerResult, TrainerFailure> {
    Err(TrainerFailure { code: Code::TrainerStart, reason: HOW.to_owned() })
}
