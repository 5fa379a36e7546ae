//! What a job's `parameters` and `optimizer` may say to this runtime.

use nsfl_trainer::{TaskError, TrainerTask, parameters, settings};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// What is minimised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Loss {
    CrossEntropy,
    Mse,
    BceWithLogits,
    Nll,
}

/// Which of libtorch's optimizers makes the steps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Method {
    #[default]
    Sgd,
    Adam,
    AdamW,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameters {
    pub(crate) loss: Loss,
    #[serde(default)]
    pub(crate) optimizer: Method,
    learning_rate: Option<f64>,
    momentum: Option<f64>,
    nesterov: Option<bool>,
    weight_decay: Option<f64>,
    batch_size: Option<usize>,
    /// Passes over the local data.
    #[serde(default = "one")]
    pub(crate) epochs: u32,
    /// Every input is divided by this.
    pub(crate) scale: Option<f64>,
    /// Extents of one sample as the module takes it; those of the data when not given.
    pub(crate) input_shape: Option<Vec<i64>>,
    /// Data set to train on: the only one when not given.
    pub(crate) train_dataset: Option<String>,
    /// Data set to evaluate on: `train_dataset` when not given.
    pub(crate) test_dataset: Option<String>,
    #[serde(rename = "seed")]
    _seed: Option<IgnoredAny>,
    #[serde(skip)]
    pub(crate) federated: Federated,
}

/// The job's federated optimizer: what it adds to each gradient.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) enum Federated {
    #[default]
    None,
    /// μ (w − w₀).
    FedProx { mu: f64 },
    /// c − cᵢ.
    Scaffold,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum FederatedName {
    FedProx,
    Scaffold,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FederatedSettings {
    name: FederatedName,
    mu: Option<f64>,
    learning_rate: Option<f64>,
    batch_size: Option<usize>,
    #[serde(rename = "sample_num")]
    _sample_num: Option<IgnoredAny>,
}

/// FedProx's μ when the job does not say.
const MU: f64 = 0.6;
const BATCH: usize = 32;

fn one() -> u32 {
    1
}

impl Parameters {
    /// Reads and checks what the task says. The federated optimizer's learning rate and batch size hold where the
    /// parameters have none.
    pub(crate) fn of(task: &TrainerTask) -> Result<Self, TaskError> {
        let mut read: Self = parameters(task)?;
        if let Some(object) = &task.optimizer {
            let federated: FederatedSettings = settings(object, "optimizer")?;
            read.learning_rate = read.learning_rate.or(federated.learning_rate);
            read.batch_size = read.batch_size.or(federated.batch_size);
            read.federated = match (federated.name, federated.mu) {
                (FederatedName::FedProx, mu) => Federated::FedProx { mu: mu.unwrap_or(MU) },
                (FederatedName::Scaffold, None) => Federated::Scaffold,
                (FederatedName::Scaffold, Some(_)) => {
                    return Err(TaskError::BadParameters("optimizer.mu: belongs to fedprox, not to scaffold".into()));
                }
            };
        }
        read.check()?;
        Ok(read)
    }

    pub(crate) fn learning_rate(&self) -> f64 {
        self.learning_rate.unwrap_or(if self.optimizer == Method::Sgd { 0.01 } else { 0.001 })
    }

    pub(crate) fn momentum(&self) -> f64 {
        self.momentum.unwrap_or(0.0)
    }

    pub(crate) fn nesterov(&self) -> bool {
        self.nesterov.unwrap_or(false)
    }

    /// AdamW decays by itself, as in PyTorch.
    pub(crate) fn weight_decay(&self) -> f64 {
        self.weight_decay.unwrap_or(if self.optimizer == Method::AdamW { 0.01 } else { 0.0 })
    }

    pub(crate) fn batch_size(&self) -> usize {
        self.batch_size.unwrap_or(BATCH)
    }

    fn check(&self) -> Result<(), TaskError> {
        let positive = |x: f64| x.is_finite() && x > 0.0;
        let not_negative = |x: f64| x.is_finite() && x >= 0.0;
        let sgd = self.optimizer == Method::Sgd;
        let shape = self.input_shape.as_ref().is_none_or(|s| !s.is_empty() && s.iter().all(|n| *n > 0));
        let mu = if let Federated::FedProx { mu } = self.federated { mu } else { 0.0 };
        let rules = [
            ("parameters.epochs", self.epochs >= 1, "must be an integer ≥ 1"),
            ("parameters.batch_size", self.batch_size() >= 1, "must be an integer ≥ 1"),
            ("parameters.learning_rate", positive(self.learning_rate()), "must be a finite number > 0"),
            ("parameters.momentum", sgd || self.momentum.is_none(), "is for optimizer sgd only"),
            ("parameters.momentum", (0.0..1.0).contains(&self.momentum()), "must be from 0 to below 1"),
            ("parameters.nesterov", sgd || self.nesterov.is_none(), "is for optimizer sgd only"),
            ("parameters.nesterov", !self.nesterov() || self.momentum() > 0.0, "needs a momentum above 0"),
            ("parameters.weight_decay", not_negative(self.weight_decay()), "must be a finite number ≥ 0"),
            ("parameters.scale", self.scale.is_none_or(positive), "must be a finite number > 0"),
            ("parameters.input_shape", shape, "must be a list of integers ≥ 1, one at least"),
            ("optimizer.mu", not_negative(mu), "must be a finite number ≥ 0"),
        ];
        match rules.into_iter().find(|(_, holds, _)| !holds) {
            None => Ok(()),
            Some((name, _, rule)) => Err(TaskError::BadParameters(format!("{name}: {rule}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Map, Value};

    fn object(text: &str) -> Map<String, Value> {
        serde_json::from_str(text).unwrap()
    }

    fn read(parameters: &str, optimizer: Option<&str>) -> Result<Parameters, String> {
        let work = nsfl_trainer::Work::Evaluate { base: "b".into() };
        let (parameters, optimizer) = (object(parameters), optimizer.map(object));
        let (datasets, result) = ([].into(), "r".into());
        let task =
            TrainerTask { work, task_entry: "m".into(), parameters, optimizer, gpu: false, seed: 1, datasets, result };
        Parameters::of(&task).map_err(|e| e.to_string())
    }

    #[test]
    fn what_is_not_said_is_as_in_pytorch() {
        let sgd = read(r#"{"loss": "mse"}"#, None).unwrap();
        assert_eq!((sgd.learning_rate(), sgd.weight_decay(), sgd.batch_size()), (0.01, 0.0, 32));
        let adamw = read(r#"{"loss": "nll", "optimizer": "adamw"}"#, None).unwrap();
        assert_eq!((adamw.learning_rate(), adamw.weight_decay()), (0.001, 0.01));
    }

    #[test]
    fn each_wrong_parameter_is_named_with_what_is_allowed() {
        let says = |more: &str| {
            let e = read(&format!(r#"{{"loss": "mse"{more}}}"#), None).unwrap_err();
            assert!(e.starts_with("parameters."), "{e}");
            e["parameters.".len()..].to_owned()
        };
        assert_eq!(says(r#", "epochs": 0"#), "epochs: must be an integer ≥ 1");
        assert_eq!(says(r#", "batch_size": 0"#), "batch_size: must be an integer ≥ 1");
        assert_eq!(says(r#", "learning_rate": 0"#), "learning_rate: must be a finite number > 0");
        assert_eq!(says(r#", "momentum": 1"#), "momentum: must be from 0 to below 1");
        assert_eq!(says(r#", "momentum": 0.5, "optimizer": "adam""#), "momentum: is for optimizer sgd only");
        assert_eq!(says(r#", "nesterov": true, "optimizer": "adamw""#), "nesterov: is for optimizer sgd only");
        assert_eq!(says(r#", "nesterov": true"#), "nesterov: needs a momentum above 0");
        assert_eq!(says(r#", "weight_decay": -1"#), "weight_decay: must be a finite number ≥ 0");
        assert_eq!(says(r#", "scale": 0"#), "scale: must be a finite number > 0");
        assert_eq!(says(r#", "input_shape": [1, 0]"#), "input_shape: must be a list of integers ≥ 1, one at least");
        assert!(says(r#", "optimizer": "lion""#).ends_with("expected one of `sgd`, `adam`, `adamw`"));
        assert!(says(r#", "lr": 1"#).starts_with("lr: unknown field `lr`, expected one of `loss`, `optimizer`"));
        let e = read(r#"{"loss": "hinge"}"#, None).unwrap_err();
        assert!(
            e.starts_with("parameters.loss: unknown variant `hinge`, expected one of `cross_entropy`, `mse`"),
            "{e}"
        );
        assert_eq!(read("{}", None).unwrap_err(), "parameters: missing field `loss`");
    }

    #[test]
    fn the_federated_optimizer_is_read_and_lends_its_numbers() {
        let with = |optimizer: &str| read(r#"{"loss": "mse"}"#, Some(optimizer));
        assert_eq!(with(r#"{"name": "fedprox"}"#).unwrap().federated, Federated::FedProx { mu: 0.6 });
        let scaffold = with(r#"{"name": "scaffold", "learning_rate": 0.5, "batch_size": 7, "sample_num": 9}"#).unwrap();
        assert_eq!(
            (scaffold.federated, scaffold.learning_rate(), scaffold.batch_size()),
            (Federated::Scaffold, 0.5, 7)
        );
        let own = read(r#"{"loss": "mse", "learning_rate": 0.1}"#, Some(r#"{"name":"fedprox","learning_rate":2}"#));
        assert_eq!(own.unwrap().learning_rate(), 0.1);
        assert_eq!(with(r#"{"name": "fedprox", "mu": -1}"#).unwrap_err(), "optimizer.mu: must be a finite number ≥ 0");
        assert_eq!(
            with(r#"{"name": "scaffold", "mu": 1}"#).unwrap_err(),
            "optimizer.mu: belongs to fedprox, not to scaffold"
        );
        let e = with(r#"{"name": "fedyogi"}"#).unwrap_err();
        assert!(e.starts_with("optimizer.name: unknown variant `fedyogi`, expected `fedprox` or `scaffold`"), "{e}");
    }
}
