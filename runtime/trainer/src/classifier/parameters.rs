//! What a job's `parameters` and `optimizer` may say to the classifier.

use crate::dataset::Expected;
use crate::{TaskError, TrainerTask};
use nsfl_optimizer::SgdSettings;
use nsfl_types::OptimizerSpec;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameters {
    /// Values of a sample.
    pub(super) features: usize,
    /// Labels are 0 to classes − 1.
    pub(super) classes: usize,
    /// Units of the hidden layer; 0: none.
    #[serde(default)]
    pub(super) hidden: usize,
    /// Passes over the local data.
    #[serde(default = "five")]
    pub(super) epochs: u32,
    batch_size: Option<usize>,
    /// Step of the local gradient descent.
    learning_rate: Option<f64>,
    #[serde(default)]
    momentum: f64,
    #[serde(default)]
    nesterov: bool,
    /// Part of the gradient.
    #[serde(default)]
    pub(super) weight_decay: f64,
    /// Every input is divided by this.
    #[serde(default = "one")]
    scale: f32,
    /// Data set to train on: the only one when not given.
    pub(super) train_dataset: Option<String>,
    /// Data set to evaluate on: `train_dataset` when not given.
    pub(super) test_dataset: Option<String>,
    #[serde(rename = "seed")]
    _seed: Option<IgnoredAny>,
    /// The job's federated optimizer.
    #[serde(skip)]
    pub(super) optimizer: Option<OptimizerSpec>,
}

fn five() -> u32 {
    5
}

fn one() -> f32 {
    1.0
}

const BATCH: usize = 10;
const LEARNING_RATE: f64 = 0.1;
const ADAM_LEARNING_RATE: f64 = 0.001;
/// Largest layer.
const MAX_WIDTH: usize = 1 << 20;

impl Parameters {
    /// Reads and checks what the task says.
    pub(super) fn of(task: &TrainerTask) -> Result<Self, TaskError> {
        let mut read: Self = crate::parameters(task)?;
        if let Some(object) = &task.optimizer {
            let spec = OptimizerSpec::from_json(&Value::Object(object.clone()));
            read.optimizer = Some(spec.map_err(|e| TaskError::BadParameters(format!("{}: {}", e.field, e.problem)))?);
        }
        read.check()?;
        Ok(read)
    }

    /// The parameters', else the optimizer's, else the default.
    pub(super) fn learning_rate(&self) -> f64 {
        let default = if self.is_adam() { ADAM_LEARNING_RATE } else { LEARNING_RATE };
        self.learning_rate.or_else(|| self.optimizer.as_ref()?.learning_rate()).unwrap_or(default)
    }

    /// The parameters', else the optimizer's, else the default.
    pub(super) fn batch_size(&self) -> usize {
        let of_optimizer = || usize::try_from(self.optimizer.as_ref()?.batch_size()?).ok();
        self.batch_size.or_else(of_optimizer).unwrap_or(BATCH)
    }

    pub(super) fn sgd(&self) -> SgdSettings {
        let Self { momentum, nesterov, weight_decay, .. } = *self;
        SgdSettings { learning_rate: self.learning_rate(), momentum, nesterov, weight_decay }
    }

    /// What rules may want to know of the local descent, by the names that they know it by.
    pub(super) fn told(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let pull = match &self.optimizer {
            Some(OptimizerSpec::FedProx { mu, .. } | OptimizerSpec::Pgd { mu, .. }) => *mu,
            _ => 0.0,
        };
        let used = [("momentum", self.momentum), ("mu", pull)].into_iter().filter(|(_, value)| *value > 0.0);
        [("local_learning_rate", self.learning_rate())].into_iter().chain(used)
    }

    fn is_adam(&self) -> bool {
        matches!(self.optimizer, Some(OptimizerSpec::DpAdam(_)))
    }

    fn check(&self) -> Result<(), TaskError> {
        let positive = |x: f64| x.is_finite() && x > 0.0;
        let rules = [
            ("features", (1..=MAX_WIDTH).contains(&self.features), "must be an integer from 1 to 1048576"),
            ("classes", (2..=MAX_WIDTH).contains(&self.classes), "must be an integer from 2 to 1048576"),
            ("hidden", self.hidden <= MAX_WIDTH, "must be an integer from 0 to 1048576"),
            ("epochs", self.epochs >= 1, "must be an integer ≥ 1"),
            ("batch_size", self.batch_size() >= 1, "must be an integer ≥ 1"),
            ("learning_rate", positive(self.learning_rate()), "must be a finite number > 0"),
            ("momentum", (0.0..1.0).contains(&self.momentum), "must be from 0 to below 1"),
            ("momentum", self.momentum == 0.0 || !self.is_adam(), "is not for optimizer dp_adam"),
            ("nesterov", !self.nesterov || self.momentum > 0.0, "needs a momentum above 0"),
            ("weight_decay", self.weight_decay.is_finite() && self.weight_decay >= 0.0, "must be a finite number ≥ 0"),
            ("scale", positive(f64::from(self.scale)), "must be a finite number > 0"),
        ];
        match rules.into_iter().find(|(_, holds, _)| !holds) {
            None => Ok(()),
            Some((name, _, rule)) => Err(TaskError::BadParameters(format!("parameters.{name}: {rule}"))),
        }
    }

    pub(super) fn expected(&self) -> Expected {
        let classes = u32::try_from(self.classes).expect("the largest number of classes is checked");
        Expected { features: Some(self.features), classes: Some(classes), scale: self.scale }
    }
}
