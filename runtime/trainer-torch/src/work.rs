//! One task from its description to its metrics.

use crate::data::Data;
use crate::error::TorchError;
use crate::federated::Correction;
use crate::measure::measure;
use crate::module::Module;
use crate::parameters::Parameters;
use crate::state::State;
use crate::train::train;
use nsfl_trainer::dataset::Split;
use nsfl_trainer::{TrainerFailure, TrainerResult, TrainerTask, Work};
use nsfl_types::Metrics;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;
use tch::Device;

/// Does a task; adds `spend_time` in seconds.
///
/// # Errors
/// Parameters, data, module or weights that do not fit, and a training that diverges: code and sentence for the user.
pub fn run(task: &TrainerTask) -> Result<TrainerResult, TrainerFailure> {
    let start = Instant::now();
    let mut metrics = metrics(task).map_err(TorchError::into_failure)?;
    metrics.0.insert("spend_time".to_owned(), start.elapsed().as_secs_f64());
    Ok(TrainerResult { metrics })
}

fn metrics(task: &TrainerTask) -> Result<Metrics, TorchError> {
    let parameters = Parameters::of(task)?;
    // several clients may share a machine, and sums must come out the same
    tch::set_num_threads(1);
    tch::manual_seed(task.seed.cast_signed());
    let device = if task.gpu { Device::cuda_if_available() } else { Device::Cpu };
    let path = Path::new(&task.task_entry);
    let mut module = Module::load(path, device)?;
    let state = State::of(&module, path)?;
    match &task.work {
        Work::Init { out_weights } => {
            state.write(out_weights, BTreeMap::new())?;
            Ok(Metrics::default())
        }
        Work::Train { base, out_weights } => {
            let controls = state.read(base)?;
            let data = Data::load(task, &parameters, Split::Train, state.float())?;
            let mut correction = Correction::new(parameters.federated, &state, controls, base, device)?;
            train(&mut module, &state, &data, &parameters, &mut correction, (task.seed, device))?;
            let metrics = measure(&mut module, &data, parameters.loss, device)?;
            state.write(out_weights, correction.finish(&state)?)?;
            Ok(metrics)
        }
        Work::Evaluate { base } => {
            state.read(base)?;
            let data = Data::load(task, &parameters, Split::Test, state.float())?;
            measure(&mut module, &data, parameters.loss, device)
        }
    }
}
