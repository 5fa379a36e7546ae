//! A data set as tensors.
//!
//! Beside what the builtin classifier reads (CSV and IDX), a data set may be safetensors: a file, or a folder with
//! `train.safetensors` and `test.safetensors`, holding `x` [samples, …] and `y` [samples, …].

use crate::error::TorchError;
use crate::parameters::Parameters;
use crate::state;
use nsfl_tensor::WeightsView;
use nsfl_trainer::dataset::{Expected, Samples, Split, choose, load};
use nsfl_trainer::{DatasetError, TrainerTask};
use std::path::{Path, PathBuf};
use tch::{Kind, Tensor};

/// Inputs and targets in memory of the CPU, a sample a row.
pub(crate) struct Data {
    pub(crate) inputs: Tensor,
    pub(crate) targets: Tensor,
    pub(crate) samples: usize,
}

impl Data {
    /// One part of the data set that the parameters name, in the types that module and loss take.
    pub(crate) fn load(
        task: &TrainerTask,
        parameters: &Parameters,
        split: Split,
        float: Kind,
    ) -> Result<Self, TorchError> {
        let train = parameters.train_dataset.as_deref();
        let (name, parameter) = match split {
            Split::Train => (train, "train_dataset"),
            Split::Test => (parameters.test_dataset.as_deref().or(train), "test_dataset"),
        };
        let path = choose(&task.datasets, name, parameter)?;
        let (place, x, y) = match safetensors(path, split) {
            Some(file) => {
                let (x, y) = from_safetensors(&file)?;
                (file, x, y)
            }
            None => {
                let (x, y) = from_samples(load(path, split, Expected { features: None, classes: None, scale: 1.0 })?)?;
                (path.to_owned(), x, y)
            }
        };
        let wrong = |problem: String| DatasetError::new(place.display(), problem);
        let samples = x.size().first().copied().unwrap_or(0);
        if samples == 0 || y.size().first() != Some(&samples) {
            let problem = format!("x {:?} and y {:?} are not as many samples, one at least", x.size(), y.size());
            return Err(wrong(problem).into());
        }
        let inputs = in_shape(&in_kind(x, parameters.scale, float)?, samples, parameters, wrong)?;
        let targets = if parameters.loss.of_classes() {
            if !whole(y.kind()) {
                return Err(wrong(format!("y is {:?}; this loss needs class numbers, integers", y.kind())).into());
            }
            y.f_to_kind(Kind::Int64)?
        } else {
            y.f_to_kind(float)?
        };
        Ok(Self { inputs, targets, samples: usize::try_from(samples).expect("counted and not negative") })
    }
}

fn safetensors(path: &Path, split: Split) -> Option<PathBuf> {
    let name = match split {
        Split::Train => "train.safetensors",
        Split::Test => "test.safetensors",
    };
    if path.is_dir() {
        Some(path.join(name)).filter(|file| file.is_file())
    } else {
        path.extension().is_some_and(|e| e == "safetensors").then(|| path.to_owned())
    }
}

fn from_safetensors(file: &Path) -> Result<(Tensor, Tensor), TorchError> {
    let wrong = |problem: String| DatasetError::new(file.display(), problem);
    let bytes = std::fs::read(file).map_err(|e| wrong(format!("cannot be read: {e}")))?;
    let view = WeightsView::parse(&bytes).map_err(|e| {
        let cause = std::error::Error::source(&e).map_or_else(|| e.to_string(), ToString::to_string);
        wrong(format!("is not readable as safetensors: {cause}"))
    })?;
    let mut tensors = state::tensors(&view)?;
    let names = tensors.keys().cloned().collect::<Vec<_>>().join(", ");
    let mut take = |name: &str| {
        let found = tensors.remove(name);
        found.ok_or_else(|| wrong(format!("has no tensor '{name}', only {names}")))
    };
    Ok((take("x")?, take("y")?))
}

fn from_samples(samples: Samples) -> Result<(Tensor, Tensor), TorchError> {
    let long = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let shape: Vec<i64> = [samples.labels.len()].into_iter().chain(samples.shape).map(long).collect();
    let labels: Vec<i64> = samples.labels.into_iter().map(i64::from).collect();
    let x = Tensor::f_from_slice(&samples.values)?.f_reshape(&shape)?;
    Ok((x, Tensor::f_from_slice(&labels)?))
}

/// Floats in the module's type, bytes too (pixels); other integers stay what they are (tokens) unless they are scaled.
fn in_kind(x: Tensor, scale: Option<f64>, float: Kind) -> Result<Tensor, TorchError> {
    let tokens = whole(x.kind()) && x.kind() != Kind::Uint8;
    Ok(match scale {
        Some(scale) => x.f_to_kind(float)?.f_div_scalar(scale)?,
        None if tokens => x.f_to_kind(Kind::Int64)?,
        None => x.f_to_kind(float)?,
    })
}

fn whole(kind: Kind) -> bool {
    matches!(kind, Kind::Uint8 | Kind::Int8 | Kind::Int16 | Kind::Int | Kind::Int64)
}

fn in_shape(
    x: &Tensor,
    samples: i64,
    parameters: &Parameters,
    wrong: impl Fn(String) -> DatasetError,
) -> Result<Tensor, TorchError> {
    let Some(shape) = &parameters.input_shape else { return Ok(x.shallow_clone()) };
    let wanted = shape.iter().try_fold(samples, |n, extent| n.checked_mul(*extent));
    if wanted != i64::try_from(x.numel()).ok() {
        let own = &x.size()[1..];
        return Err(
            wrong(format!("a sample has the shape {own:?}; parameters.input_shape {shape:?} does not fit")).into()
        );
    }
    let whole: Vec<i64> = std::iter::once(samples).chain(shape.iter().copied()).collect();
    Ok(x.f_reshape(&whole)?)
}
