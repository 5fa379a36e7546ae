//! A small classifier on the CPU: softmax regression, or one hidden layer of rectified linear units. Mini-batch
//! gradient descent on the cross-entropy, with candle and the job's federated optimizer. The same seed gives the same
//! bytes, except under differential privacy; the daemon allows it one thread, which is also the fastest for networks of
//! this size.

mod drill;
mod local;
mod network;
mod parameters;
mod train;

use crate::dataset::{self, Samples, Split};
use crate::{TaskError, TrainerTask, Work};
use candle_core::{DType, Device, Tensor};
use candle_nn::loss;
use drill::Drill;
use local::Local;
use network::Network;
use nsfl_types::Metrics;
use parameters::Parameters;
use std::path::Path;

/// Samples of one forward pass when measuring.
const MEASURE_BATCH: usize = 1024;

pub(crate) fn run(task: &TrainerTask) -> Result<Metrics, TaskError> {
    let parameters = Parameters::of(task)?;
    match &task.work {
        Work::Init { out_weights } => {
            network::init(&parameters, task.seed, out_weights)?;
            Ok(Metrics::default())
        }
        Work::Train { base, out_weights } => {
            let path = dataset_of(task, &parameters, Split::Train)?;
            let data = load(path, &parameters, Split::Train)?;
            let (network, controls) = Network::read(&parameters, base)?;
            let folder = task.result.parent().unwrap_or(Path::new(""));
            let before = measure(&network, &data)?;
            let drill = Drill::of(path, &network)?;
            let mut local = Local::new(&parameters, &network, controls, folder)?;
            let steps = train::train(&network, &data, &parameters, task.seed, local.optimizer.as_mut())?;
            let mut metrics = measure(&network, &data)?;
            metrics.0.extend(before.get("loss").map(|loss| ("initial_loss".to_owned(), loss)));
            metrics.0.insert("local_steps".to_owned(), f64::from(steps));
            metrics.0.extend(parameters.told().map(|(name, value)| (name.to_owned(), value)));
            let controls = local.finish(&network)?;
            if let Some(drill) = drill {
                drill.disturb(&network, task.seed)?;
            }
            network.write(out_weights, controls)?;
            Ok(metrics)
        }
        Work::Evaluate { base } => {
            let data = load(dataset_of(task, &parameters, Split::Test)?, &parameters, Split::Test)?;
            measure(&Network::read(&parameters, base)?.0, &data)
        }
    }
}

/// Inputs [samples, features] and labels [samples].
struct Data {
    inputs: Tensor,
    labels: Tensor,
    samples: usize,
}

fn dataset_of<'a>(task: &'a TrainerTask, parameters: &Parameters, split: Split) -> Result<&'a Path, TaskError> {
    let train = parameters.train_dataset.as_deref();
    let (name, parameter) = match split {
        Split::Train => (train, "train_dataset"),
        Split::Test => (parameters.test_dataset.as_deref().or(train), "test_dataset"),
    };
    Ok(dataset::choose(&task.datasets, name, parameter)?)
}

fn load(path: &Path, parameters: &Parameters, split: Split) -> Result<Data, TaskError> {
    let Samples { values, labels, .. } = dataset::load(path, split, parameters.expected())?;
    let samples = labels.len();
    let inputs = Tensor::from_vec(values, (samples, parameters.features), &Device::Cpu)?;
    Ok(Data { inputs, labels: Tensor::from_vec(labels, samples, &Device::Cpu)?, samples })
}

/// `sample_num`, mean `loss` and `accuracy` over all of the data.
#[allow(clippy::cast_precision_loss, reason = "sample counts")]
fn measure(network: &Network, data: &Data) -> Result<Metrics, TaskError> {
    let (mut loss, mut right) = (0.0, 0.0);
    for start in (0..data.samples).step_by(MEASURE_BATCH) {
        let n = MEASURE_BATCH.min(data.samples - start);
        let labels = data.labels.narrow(0, start, n)?;
        let outputs = network.forward(&data.inputs.narrow(0, start, n)?)?.detach();
        loss += f64::from(loss::cross_entropy(&outputs, &labels)?.to_scalar::<f32>()?) * n as f64;
        right += f64::from(outputs.argmax(1)?.eq(&labels)?.to_dtype(DType::F32)?.sum_all()?.to_scalar::<f32>()?);
    }
    let samples = data.samples as f64;
    loss /= samples;
    if !loss.is_finite() {
        return Err(TaskError::Diverged(loss));
    }
    let metrics = [("sample_num", samples), ("loss", loss), ("accuracy", right / samples)];
    Ok(Metrics(metrics.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()))
}

#[cfg(test)]
mod tests;
