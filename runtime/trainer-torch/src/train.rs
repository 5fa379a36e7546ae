//! Mini-batch training with one of libtorch's optimizers.

use crate::data::Data;
use crate::error::TorchError;
use crate::federated::Correction;
use crate::module::Module;
use crate::parameters::{Method, Parameters};
use crate::progress;
use crate::state::State;
use nsfl_trainer::Rng;
use tch::{COptimizer, Device, Tensor};

/// Beta 1, beta 2 and epsilon of Adam, as in PyTorch.
const ADAM: (f64, f64, f64) = (0.9, 0.999, 1e-8);

/// Trains the module in place.
pub(crate) fn train(
    module: &mut Module,
    state: &State,
    data: &Data,
    parameters: &Parameters,
    correction: &mut Correction,
    (seed, device): (u64, Device),
) -> Result<(), TorchError> {
    let optimizer = optimizer(state, parameters)?;
    let mut rng = Rng::new(seed);
    let mut order: Vec<i64> = (0..i64::try_from(data.samples).unwrap_or(i64::MAX)).collect();
    module.set_training(true)?;
    for epoch in 0..parameters.epochs {
        progress::tell(epoch, parameters.epochs);
        rng.shuffle(&mut order);
        for batch in batches(&order, parameters.batch_size()) {
            let index = Tensor::f_from_slice(batch)?;
            let part = |t: &Tensor| t.f_index_select(0, &index)?.f_to(device);
            let outputs = module.forward(&part(&data.inputs)?)?;
            optimizer.zero_grad()?;
            parameters.loss.mean(&outputs, &part(&data.targets)?)?.f_backward()?;
            correction.apply(state)?;
            optimizer.step()?;
        }
    }
    Ok(())
}

fn optimizer(state: &State, parameters: &Parameters) -> Result<COptimizer, TorchError> {
    let (rate, decay, (beta1, beta2, epsilon)) = (parameters.learning_rate(), parameters.weight_decay(), ADAM);
    let mut optimizer = match parameters.optimizer {
        Method::Sgd => COptimizer::sgd(rate, parameters.momentum(), 0.0, decay, parameters.nesterov()),
        Method::Adam => COptimizer::adam(rate, beta1, beta2, decay, epsilon, false),
        Method::AdamW => COptimizer::adamw(rate, beta1, beta2, decay, epsilon, false),
    }?;
    state.trainable().try_for_each(|(_, weight)| optimizer.add_parameters(weight, 0))?;
    Ok(optimizer)
}

/// Batches of `size`, the last one smaller; a single sample that would be left joins the batch before it, since
/// batch normalisation has no variance of one.
fn batches(order: &[i64], size: usize) -> impl Iterator<Item = &[i64]> {
    let even =
        if size > 1 && order.len() > size && order.len() % size == 1 { order.len() - size - 1 } else { order.len() };
    let (head, tail) = order.split_at(even);
    head.chunks(size).chain((!tail.is_empty()).then_some(tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_sample_is_left_alone_and_none_out() {
        let lengths = |samples: i64, size| {
            let order: Vec<i64> = (0..samples).collect();
            assert_eq!(batches(&order, size).flatten().copied().collect::<Vec<_>>(), order);
            batches(&order, size).map(<[i64]>::len).collect::<Vec<_>>()
        };
        assert_eq!(lengths(8, 4), [4, 4]);
        assert_eq!(lengths(10, 4), [4, 4, 2]);
        assert_eq!(lengths(9, 4), [4, 5]);
        assert_eq!(lengths(5, 4), [5]);
        assert_eq!(lengths(1, 4), [1]);
        assert_eq!(lengths(3, 1), [1, 1, 1]);
    }
}
