//! A small classifier on the CPU: softmax regression, or one hidden layer of rectified linear units. Mini-batch
//! gradient descent on the cross-entropy, with candle. The same seed gives the same bytes; the daemon allows it
//! one thread, which is also the fastest for networks of this size.

mod network;
mod parameters;

use crate::dataset::{self, Samples, Split};
use crate::rng::Rng;
use crate::{TaskError, TrainerTask, Work};
use candle_core::{DType, Device, Tensor};
use candle_nn::{Optimizer as _, SGD, loss};
use network::Network;
use nsfl_types::Metrics;
use parameters::Parameters;

/// Samples of one forward pass when measuring.
const MEASURE_BATCH: usize = 1024;

pub(crate) fn run(task: &TrainerTask) -> Result<Metrics, TaskError> {
    let parameters: Parameters = crate::parameters(task)?;
    parameters.check()?;
    match &task.work {
        Work::Init { out_weights } => {
            network::init(&parameters, task.seed, out_weights)?;
            Ok(Metrics::default())
        }
        Work::Train { base, out_weights } => {
            let data = load(task, &parameters, Split::Train)?;
            let network = Network::read(&parameters, base)?;
            train(&network, &data, &parameters, task.seed)?;
            let metrics = measure(&network, &data)?;
            network.write(out_weights)?;
            Ok(metrics)
        }
        Work::Evaluate { base } => {
            let data = load(task, &parameters, Split::Test)?;
            measure(&Network::read(&parameters, base)?, &data)
        }
    }
}

/// Inputs [samples, features] and labels [samples].
struct Data {
    inputs: Tensor,
    labels: Tensor,
    samples: usize,
}

fn load(task: &TrainerTask, parameters: &Parameters, split: Split) -> Result<Data, TaskError> {
    let train = parameters.train_dataset.as_deref();
    let (name, parameter) = match split {
        Split::Train => (train, "train_dataset"),
        Split::Test => (parameters.test_dataset.as_deref().or(train), "test_dataset"),
    };
    let path = dataset::choose(&task.datasets, name, parameter)?;
    let Samples { values, labels, .. } = dataset::load(path, split, parameters.expected())?;
    let samples = labels.len();
    let inputs = Tensor::from_vec(values, (samples, parameters.features), &Device::Cpu)?;
    Ok(Data { inputs, labels: Tensor::from_vec(labels, samples, &Device::Cpu)?, samples })
}

fn train(network: &Network, data: &Data, parameters: &Parameters, seed: u64) -> Result<(), TaskError> {
    let mut rng = Rng::new(seed);
    let mut optimizer = SGD::new(network.variables(), parameters.learning_rate)?;
    let mut order: Vec<u32> = (0..u32::try_from(data.samples).unwrap_or(u32::MAX)).collect();
    for _ in 0..parameters.epochs {
        rng.shuffle(&mut order);
        let order = Tensor::new(order.as_slice(), &Device::Cpu)?;
        let (inputs, labels) = (data.inputs.index_select(&order, 0)?, data.labels.index_select(&order, 0)?);
        for start in (0..data.samples).step_by(parameters.batch_size) {
            let n = parameters.batch_size.min(data.samples - start);
            let outputs = network.forward(&inputs.narrow(0, start, n)?)?;
            optimizer.backward_step(&loss::cross_entropy(&outputs, &labels.narrow(0, start, n)?)?)?;
        }
    }
    Ok(())
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
