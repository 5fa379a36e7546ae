//! The classifier's part of a job's `parameters`.

use crate::TaskError;
use crate::dataset::Expected;
use serde::Deserialize;
use serde::de::IgnoredAny;

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
    #[serde(default = "ten")]
    pub(super) batch_size: usize,
    /// Step of the local gradient descent.
    #[serde(default = "tenth")]
    pub(super) learning_rate: f64,
    /// Every input is divided by this.
    #[serde(default = "one")]
    scale: f32,
    /// Data set to train on: the only one when not given.
    pub(super) train_dataset: Option<String>,
    /// Data set to evaluate on: `train_dataset` when not given.
    pub(super) test_dataset: Option<String>,
    #[serde(rename = "seed")]
    _seed: Option<IgnoredAny>,
}

fn five() -> u32 {
    5
}

fn ten() -> usize {
    10
}

fn tenth() -> f64 {
    0.1
}

fn one() -> f32 {
    1.0
}

/// Largest layer.
const MAX_WIDTH: usize = 1 << 20;

impl Parameters {
    pub(super) fn check(&self) -> Result<(), TaskError> {
        let positive = |x: f64| x.is_finite() && x > 0.0;
        let rules = [
            ("features", (1..=MAX_WIDTH).contains(&self.features), "must be an integer from 1 to 1048576"),
            ("classes", (2..=MAX_WIDTH).contains(&self.classes), "must be an integer from 2 to 1048576"),
            ("hidden", self.hidden <= MAX_WIDTH, "must be an integer from 0 to 1048576"),
            ("epochs", self.epochs >= 1, "must be an integer ≥ 1"),
            ("batch_size", self.batch_size >= 1, "must be an integer ≥ 1"),
            ("learning_rate", positive(self.learning_rate), "must be a finite number > 0"),
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
