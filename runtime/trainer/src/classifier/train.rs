//! The passes over the local data: batches, their gradients, the optimizer's steps.

use super::Data;
use super::local::secret;
use super::network::Network;
use super::parameters::Parameters;
use crate::TaskError;
use crate::rng::Rng;
use candle_core::{Device, Tensor};
use candle_nn::loss;
use nsfl_optimizer::{Clip, Optimizer};

/// Takes all local steps and says how many. The network holds the weights that they lead to.
pub(super) fn train(
    network: &Network,
    data: &Data,
    parameters: &Parameters,
    seed: u64,
    optimizer: &mut dyn Optimizer,
) -> Result<u32, TaskError> {
    match optimizer.clip() {
        None => passes(network, data, parameters, seed, optimizer),
        Some(clip) => private_passes(network, data, parameters, clip, optimizer),
    }
}

/// All data in an order of the seed's, a batch a step.
fn passes(
    network: &Network,
    data: &Data,
    parameters: &Parameters,
    seed: u64,
    optimizer: &mut dyn Optimizer,
) -> Result<u32, TaskError> {
    let mut weights = network.weights()?;
    let mut gradient = vec![0.0; weights.len()];
    let mut steps = 0;
    let mut rng = Rng::new(seed);
    let mut order: Vec<u32> = (0..u32::try_from(data.samples).unwrap_or(u32::MAX)).collect();
    for _ in 0..parameters.epochs {
        rng.shuffle(&mut order);
        let order = Tensor::new(order.as_slice(), &Device::Cpu)?;
        let (inputs, labels) = (data.inputs.index_select(&order, 0)?, data.labels.index_select(&order, 0)?);
        for start in (0..data.samples).step_by(parameters.batch_size()) {
            let n = parameters.batch_size().min(data.samples - start);
            network.gradient(&loss_of(network, &inputs, &labels, start, n)?, &mut gradient)?;
            optimizer.step(&mut weights, &mut gradient);
            network.set(&weights)?;
            steps += 1;
        }
    }
    Ok(steps)
}

/// As many steps, each on samples that were chosen by a chance of their own, and on each one's clipped gradient.
#[allow(clippy::cast_precision_loss, reason = "sample counts")]
fn private_passes(
    network: &Network,
    data: &Data,
    parameters: &Parameters,
    clip: Clip,
    optimizer: &mut dyn Optimizer,
) -> Result<u32, TaskError> {
    let mut weights = network.weights()?;
    let (mut gradient, mut sum) = (vec![0.0; weights.len()], vec![0.0; weights.len()]);
    let mut steps = 0;
    let mut choice = secret()?;
    let samples = u32::try_from(data.samples).unwrap_or(u32::MAX);
    let chance = (parameters.batch_size() as f64 / data.samples as f64).min(1.0);
    for _ in 0..parameters.epochs {
        for _ in 0..data.samples.div_ceil(parameters.batch_size()) {
            sum.fill(0.0);
            for sample in choice.chosen(chance, samples) {
                let loss = loss_of(network, &data.inputs, &data.labels, sample as usize, 1)?;
                network.gradient(&loss, &mut gradient)?;
                clip.add(&gradient, &mut sum);
            }
            optimizer.step(&mut weights, &mut sum);
            network.set(&weights)?;
            steps += 1;
        }
    }
    Ok(steps)
}

/// The mean cross-entropy of `n` samples.
fn loss_of(network: &Network, inputs: &Tensor, labels: &Tensor, start: usize, n: usize) -> candle_core::Result<Tensor> {
    let outputs = network.forward(&inputs.narrow(0, start, n)?)?;
    loss::cross_entropy(&outputs, &labels.narrow(0, start, n)?)
}
