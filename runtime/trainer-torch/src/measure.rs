//! How good a model is on a data set.

use crate::data::Data;
use crate::error::TorchError;
use crate::loss::number;
use crate::module::Module;
use crate::parameters::Loss;
use nsfl_trainer::TaskError;
use nsfl_types::Metrics;
use tch::Device;

/// Samples of one forward pass.
const BATCH: usize = 256;

/// `sample_num`, mean `loss`, and `accuracy` where there is one, in evaluation mode.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_wrap, reason = "sample counts")]
pub(crate) fn measure(module: &mut Module, data: &Data, loss: Loss, device: Device) -> Result<Metrics, TorchError> {
    module.set_training(false)?;
    let _guard = tch::no_grad_guard();
    let (mut sum, mut right) = (0.0, Some(0.0));
    for start in (0..data.samples).step_by(BATCH) {
        let n = BATCH.min(data.samples - start);
        let part = |t: &tch::Tensor| t.f_narrow(0, start as i64, n as i64)?.f_to(device);
        let (outputs, targets) = (module.forward(&part(&data.inputs)?)?, part(&data.targets)?);
        sum += number(&loss.mean(&outputs, &targets)?)? * n as f64;
        right = right.zip(loss.accuracy(&outputs, &targets)?).map(|(sum, share)| sum + share * n as f64);
    }
    let samples = data.samples as f64;
    let mean = sum / samples;
    if !mean.is_finite() {
        return Err(TaskError::Diverged(mean).into());
    }
    let accuracy = right.map(|right| ("accuracy", right / samples));
    let metrics = [("sample_num", samples), ("loss", mean)].into_iter().chain(accuracy);
    Ok(Metrics(metrics.map(|(name, value)| (name.to_owned(), value)).collect()))
}
