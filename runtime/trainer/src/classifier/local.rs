//! The optimizer of a task, by the job's document, with what this client keeps from round to round: in the task's folder,
//! `state/<name>.safetensors` is from the round before and `out/state/<name>.safetensors` for the next one.

use super::network::Network;
use super::parameters::Parameters;
use crate::{TaskError, weights};
use nsfl_optimizer::{
    Adam, AdamSettings, Clip, FedDyn, FedProx, Noise, Optimizer, PerturbedDescent, Private, Scaffold, Sgd,
};
use nsfl_types::{OptimizerSpec, PrivateSpec};
use rand::TryRng as _;
use std::path::{Path, PathBuf};

/// An optimizer, and where what it keeps goes.
pub(super) struct Local {
    pub(super) optimizer: Box<dyn Optimizer>,
    /// Written when the task is done.
    to_keep: Option<PathBuf>,
}

impl Local {
    /// From the global weights; `controls` came with them. `folder` is the task's.
    pub(super) fn new(
        parameters: &Parameters,
        network: &Network,
        controls: Option<Vec<f32>>,
        folder: &Path,
    ) -> Result<Self, TaskError> {
        let global = network.weights()?;
        let sgd = Sgd::new(parameters.sgd());
        let kept = |name: &str| kept(&folder.join("state").join(name), network);
        let mut to_keep = None;
        let mut keeps = |name: &str| to_keep = Some(folder.join("out/state").join(name));
        let optimizer: Box<dyn Optimizer> = match &parameters.optimizer {
            None => Box::new(sgd),
            Some(OptimizerSpec::FedProx { mu, .. }) => Box::new(FedProx::new(sgd, *mu, global)),
            Some(OptimizerSpec::Pgd { mu, .. }) => Box::new(PerturbedDescent::new(sgd, *mu, global)),
            Some(OptimizerSpec::Scaffold { .. }) => {
                keeps(SCAFFOLD);
                let zeros = || vec![0.0; global.len()];
                Box::new(Scaffold::new(sgd, global.clone(), controls.unwrap_or_else(zeros), kept(SCAFFOLD)?))
            }
            Some(OptimizerSpec::FedDyn { alpha, .. }) => {
                keeps(FEDDYN);
                Box::new(FedDyn::new(sgd, *alpha, global, kept(FEDDYN)?))
            }
            Some(OptimizerSpec::DpSgd(spec)) => Box::new(private(spec, sgd, parameters)?),
            Some(OptimizerSpec::DpAdam(spec)) => {
                let (learning_rate, weight_decay) = (parameters.learning_rate(), parameters.weight_decay);
                let adam = Adam::new(AdamSettings { learning_rate, weight_decay, ..AdamSettings::default() });
                Box::new(private(spec, adam, parameters)?)
            }
        };
        Ok(Self { optimizer, to_keep })
    }

    /// Writes what the client keeps, and gives what travels beside the weights.
    pub(super) fn finish(self, network: &Network) -> Result<Option<Vec<f32>>, TaskError> {
        let finished = self.optimizer.finish(&network.weights()?);
        if let Some((path, kept)) = self.to_keep.zip(finished.kept) {
            let folder = path.parent().unwrap_or(&path);
            let failed = |source| TaskError::File { path: folder.to_owned(), action: "made", source };
            std::fs::create_dir_all(folder).map_err(failed)?;
            network.write_values(&path, &kept)?;
        }
        Ok(finished.control)
    }
}

const SCAFFOLD: &str = "scaffold.safetensors";
const FEDDYN: &str = "feddyn.safetensors";

/// What the client kept in the round before; zeros its first time.
fn kept(path: &Path, network: &Network) -> Result<Vec<f32>, TaskError> {
    if !path.exists() {
        return Ok(vec![0.0; network.layout().data_len() / 4]);
    }
    Ok(weights::values(path, &weights::read(path)?, network.layout())?.concat())
}

#[allow(clippy::cast_precision_loss, reason = "samples of a batch")]
fn private<O: Optimizer>(spec: &PrivateSpec, inner: O, parameters: &Parameters) -> Result<Private<O>, TaskError> {
    let clip = Clip::new(spec.clip);
    let clip = clip.ok_or_else(|| TaskError::BadParameters("optimizer.clip: must be a finite number > 0".into()))?;
    Ok(Private::new(inner, clip, spec.noise_multiplier, parameters.batch_size() as f64, secret()?))
}

/// A stream that the server cannot know: not of the task's seed, which it gave.
pub(super) fn secret() -> Result<Noise, TaskError> {
    let mut key = [0; 32];
    rand::rngs::SysRng.try_fill_bytes(&mut key).map_err(|e| TaskError::NoKey(e.to_string()))?;
    Ok(Noise::new(key))
}
