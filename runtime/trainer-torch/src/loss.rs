//! The losses, and the accuracy that goes with each.

use crate::error::TorchError;
use crate::parameters::Loss;
use nsfl_trainer::DatasetError;
use tch::{Kind, Reduction, Tensor};

/// What libtorch leaves out of a loss by convention.
const IGNORE: i64 = -100;

impl Loss {
    /// Whether targets are class numbers.
    pub(crate) fn of_classes(self) -> bool {
        matches!(self, Self::CrossEntropy | Self::Nll)
    }

    /// The mean loss of a batch.
    pub(crate) fn mean(self, outputs: &Tensor, targets: &Tensor) -> Result<Tensor, TorchError> {
        let none = None::<Tensor>;
        let mean = Reduction::Mean;
        Ok(match self {
            Self::CrossEntropy => {
                check_classes(outputs, targets)?;
                outputs.f_cross_entropy_loss(targets, none, mean, IGNORE, 0.0)?
            }
            Self::Nll => {
                check_classes(outputs, targets)?;
                outputs.f_nll_loss_nd(targets, none, mean, IGNORE)?
            }
            Self::Mse => outputs.f_mse_loss(&shaped(targets, outputs)?, mean)?,
            Self::BceWithLogits => {
                outputs.f_binary_cross_entropy_with_logits(&shaped(targets, outputs)?, none.as_ref(), None, mean)?
            }
        })
    }

    /// The share of right answers; none for a regression.
    pub(crate) fn accuracy(self, outputs: &Tensor, targets: &Tensor) -> Result<Option<f64>, TorchError> {
        let right = match self {
            Self::Mse => return Ok(None),
            Self::CrossEntropy | Self::Nll => outputs.f_argmax(1, false)?.f_eq_tensor(targets)?,
            Self::BceWithLogits => outputs.f_gt(0.0)?.f_eq_tensor(&shaped(targets, outputs)?.f_gt(0.5)?)?,
        };
        Ok(Some(number(&right.f_to_kind(Kind::Double)?.f_mean(Kind::Double)?)?))
    }
}

/// A tensor of one value.
pub(crate) fn number(tensor: &Tensor) -> Result<f64, TorchError> {
    Ok(tensor.f_double_value(&[])?)
}

/// Outputs must be [samples, classes, …], and no label may lie outside.
fn check_classes(outputs: &Tensor, targets: &Tensor) -> Result<(), TorchError> {
    let size = outputs.size();
    let classes = *size.get(1).ok_or_else(|| misfit(outputs, "[samples, classes]"))?;
    let (least, most) = (targets.f_min()?.f_int64_value(&[])?, targets.f_max()?.f_int64_value(&[])?);
    if least < 0 || most >= classes {
        let label = if least < 0 { least } else { most };
        let problem = format!("the label {label} is not from 0 to below {classes}, the module's number of outputs");
        return Err(DatasetError::new("labels", problem).into());
    }
    Ok(())
}

/// The targets in the outputs' shape: [n] and [n, 1] are the same thing, but libtorch would compare all with all.
fn shaped(targets: &Tensor, outputs: &Tensor) -> Result<Tensor, TorchError> {
    if targets.numel() != outputs.numel() || targets.size().first() != outputs.size().first() {
        return Err(misfit(outputs, &format!("{:?}, that of the targets", targets.size())));
    }
    Ok(targets.f_reshape_as(outputs)?)
}

fn misfit(outputs: &Tensor, expected: &str) -> TorchError {
    TorchError::Computation(format!(
        "the module's output has the shape {:?}; the loss needs {expected}",
        outputs.size()
    ))
}
