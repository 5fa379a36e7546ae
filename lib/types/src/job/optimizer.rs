//! The job's federated optimizer: what clients put around their gradient descent.

use super::spec::{bad, required};
use super::{JobError, Runtime};
use crate::Code;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// `optimizer`, checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum OptimizerSpec {
    /// Li et al. 2020, arXiv 1812.06127.
    FedProx {
        /// Weight of the pull towards the global model, ≥ 0.
        mu: f64,
        /// Local learning rate, if the job sets it.
        learning_rate: Option<f64>,
    },
    /// Karimireddy et al. 2020, arXiv 1910.06378.
    Scaffold {
        /// Local learning rate, if the job sets it.
        learning_rate: Option<f64>,
        /// Samples a step, if the job sets them.
        batch_size: Option<u64>,
        /// Samples of a client, if the job sets them.
        sample_num: Option<u64>,
    },
    /// Perturbed gradient descent, as in the code of FedProx's authors.
    Pgd {
        /// Weight of the pull towards the global model, ≥ 0.
        mu: f64,
        /// Local learning rate, if the job sets it.
        learning_rate: Option<f64>,
    },
    /// Acar et al. 2021, arXiv 2111.04263.
    FedDyn {
        /// Weight of the dynamic regulariser, > 0: that of the server's rule.
        alpha: f64,
        /// Local learning rate, if the job sets it.
        learning_rate: Option<f64>,
    },
    /// DP-SGD: Abadi et al. 2016, arXiv 1607.00133.
    DpSgd(PrivateSpec),
    /// The same with Adam.
    DpAdam(PrivateSpec),
}

/// Differential privacy for each sample of a client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PrivateSpec {
    /// C: the bound on the norm of a sample's gradient, > 0.
    pub clip: f64,
    /// σ: the noise's deviation is this times `clip`, ≥ 0.
    pub noise_multiplier: f64,
    /// Local learning rate, if the job sets it.
    pub learning_rate: Option<f64>,
    /// L: samples expected in a batch, if the job sets them.
    pub batch_size: Option<u64>,
}

impl OptimizerSpec {
    /// Whether the server keeps a control variate beside the model.
    #[must_use]
    pub fn is_scaffold(&self) -> bool {
        matches!(self, OptimizerSpec::Scaffold { .. })
    }

    /// Local learning rate, if the job sets it.
    #[must_use]
    pub fn learning_rate(&self) -> Option<f64> {
        match self {
            Self::FedProx { learning_rate, .. }
            | Self::Pgd { learning_rate, .. }
            | Self::Scaffold { learning_rate, .. }
            | Self::FedDyn { learning_rate, .. } => *learning_rate,
            Self::DpSgd(private) | Self::DpAdam(private) => private.learning_rate,
        }
    }

    /// Samples a step, if the job sets them.
    #[must_use]
    pub fn batch_size(&self) -> Option<u64> {
        match self {
            Self::Scaffold { batch_size, .. } => *batch_size,
            Self::DpSgd(private) | Self::DpAdam(private) => private.batch_size,
            Self::FedProx { .. } | Self::Pgd { .. } | Self::FedDyn { .. } => None,
        }
    }

    /// As it is sent to the clients: a JSON object with `name` and what the job sets.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let fields = match self {
            Self::FedProx { mu, learning_rate } => json!({"name": "fedprox", "mu": mu, "learning_rate": learning_rate}),
            Self::Pgd { mu, learning_rate } => json!({"name": "pgd", "mu": mu, "learning_rate": learning_rate}),
            Self::Scaffold { learning_rate, batch_size, sample_num } => {
                json!({"name": "scaffold", "learning_rate": learning_rate, "batch_size": batch_size, "sample_num": sample_num})
            }
            Self::FedDyn { alpha, learning_rate } => {
                json!({"name": "feddyn", "alpha": alpha, "learning_rate": learning_rate})
            }
            Self::DpSgd(private) => private.to_json("dp_sgd"),
            Self::DpAdam(private) => private.to_json("dp_adam"),
        };
        let set = fields.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
        set.map(|(name, value)| (name.clone(), value.clone())).collect::<Map<_, _>>().into()
    }

    /// Reads what [`Self::to_json`] gives, or a job document's `optimizer`: fields stand beside the name or in `params`, as
    /// in documents of older platforms.
    ///
    /// # Errors
    /// The first field that cannot be accepted, with its path and what is allowed.
    pub fn from_json(value: &Value) -> Result<Self, JobError> {
        let object = value.as_object().ok_or_else(|| bad("optimizer", "must be an object with name"))?;
        let name = required("optimizer.name", object.get("name").and_then(Value::as_str))?;
        let mut given = Vec::new();
        for (key, value) in object {
            match (key.as_str(), value) {
                ("name", _) => {}
                ("params", Value::Object(params)) => {
                    given.extend(params.iter().map(|(key, value)| (format!("optimizer.params.{key}"), key, value)));
                }
                ("params", _) => return Err(bad("optimizer.params", "must be an object")),
                _ => given.push((format!("optimizer.{key}"), key, value)),
            }
        }
        let fields = Fields(given);
        match name.to_ascii_lowercase().replace('-', "_").as_str() {
            "fedprox" => {
                fields.only("fedprox", &["mu", "learning_rate"])?;
                Ok(Self::FedProx { mu: fields.number("mu", 0.6, NOT_NEGATIVE)?, learning_rate: fields.rate()? })
            }
            "pgd" | "perturbed_gradient_descent" => {
                fields.only("pgd", &["mu", "learning_rate"])?;
                Ok(Self::Pgd { mu: fields.number("mu", 0.01, NOT_NEGATIVE)?, learning_rate: fields.rate()? })
            }
            "scaffold" => {
                fields.only("scaffold", &["learning_rate", "batch_size", "sample_num"])?;
                let (batch_size, sample_num) = (fields.count("batch_size")?, fields.count("sample_num")?);
                Ok(Self::Scaffold { learning_rate: fields.rate()?, batch_size, sample_num })
            }
            "feddyn" => {
                fields.only("feddyn", &["alpha", "learning_rate"])?;
                Ok(Self::FedDyn { alpha: fields.number("alpha", 0.01, POSITIVE)?, learning_rate: fields.rate()? })
            }
            "dp_sgd" => fields.private("dp_sgd").map(Self::DpSgd),
            "dp_adam" => fields.private("dp_adam").map(Self::DpAdam),
            _ => Err(not_offered("optimizer.name", &format!("'{name}'"), &format!("allowed: {NAMES}"))),
        }
    }
}

impl PrivateSpec {
    fn to_json(&self, name: &str) -> Value {
        let Self { clip, noise_multiplier, learning_rate, batch_size } = self;
        json!({"name": name, "clip": clip, "noise_multiplier": noise_multiplier, "learning_rate": learning_rate, "batch_size": batch_size})
    }
}

const NAMES: &str = "fedprox, pgd, scaffold, feddyn, dp_sgd, dp_adam";

/// The document's `optimizer`, for a runtime and task that know it.
pub(super) fn optimizer(
    value: Option<&Value>,
    runtime: Runtime,
    task_entry: &str,
) -> Result<Option<OptimizerSpec>, JobError> {
    let Some(value) = value else { return Ok(None) };
    let spec = OptimizerSpec::from_json(value)?;
    let private = matches!(spec, OptimizerSpec::DpSgd(_) | OptimizerSpec::DpAdam(_));
    let pulled = matches!(spec, OptimizerSpec::FedProx { .. } | OptimizerSpec::Scaffold { .. });
    let refused = |hint| {
        let named = spec.to_json()["name"].as_str().map_or_else(String::new, |name| format!("'{name}' "));
        Err(not_offered("optimizer", &format!("{named}with runtime {}", runtime.as_str()), hint))
    };
    match runtime {
        Runtime::Builtin if task_entry == "echo" => refused("echo does not train: leave it out"),
        Runtime::Tensorflow if private => refused("clipping each sample's gradient needs runtime pytorch or builtin"),
        Runtime::Torchscript if !pulled => refused("allowed: fedprox, scaffold"),
        _ => Ok(Some(spec)),
    }
}

/// Path, name and value of each.
struct Fields<'a>(Vec<(String, &'a String, &'a Value)>);

/// A range of numbers, and what it is called.
type Range = (fn(f64) -> bool, &'static str);
const NOT_NEGATIVE: Range = (|v| v >= 0.0, "≥ 0");
const POSITIVE: Range = (|v| v > 0.0, "> 0");

impl Fields<'_> {
    fn only(&self, of: &str, known: &[&str]) -> Result<(), JobError> {
        match self.0.iter().find(|(_, key, _)| !known.contains(&key.as_str())) {
            Some((path, ..)) => Err(bad(path, &format!("is unknown to {of}; allowed: {}", known.join(", ")))),
            None => Ok(()),
        }
    }

    /// Of one name twice the last counts.
    fn get(&self, name: &str) -> Option<(&str, &Value)> {
        self.0.iter().rev().find(|(_, key, _)| *key == name).map(|(path, _, value)| (path.as_str(), *value))
    }

    fn number(&self, name: &str, default: f64, (fits, range): Range) -> Result<f64, JobError> {
        let Some((path, value)) = self.get(name) else { return Ok(default) };
        let number = value.as_f64().filter(|v| v.is_finite() && fits(*v));
        number.ok_or_else(|| bad(path, &format!("{value} is out of range: a number {range} is allowed")))
    }

    fn rate(&self) -> Result<Option<f64>, JobError> {
        let given = self.get("learning_rate").is_some();
        self.number("learning_rate", 1.0, POSITIVE).map(|rate| given.then_some(rate))
    }

    fn count(&self, name: &str) -> Result<Option<u64>, JobError> {
        let Some((path, value)) = self.get(name) else { return Ok(None) };
        let count = value.as_u64().filter(|v| *v >= 1);
        count.map(Some).ok_or_else(|| bad(path, &format!("{value} is out of range: an integer ≥ 1 is allowed")))
    }

    fn private(&self, of: &str) -> Result<PrivateSpec, JobError> {
        self.only(of, &["clip", "noise_multiplier", "learning_rate", "batch_size"])?;
        Ok(PrivateSpec {
            clip: self.number("clip", 1.0, POSITIVE)?,
            noise_multiplier: self.number("noise_multiplier", 1.0, NOT_NEGATIVE)?,
            learning_rate: self.rate()?,
            batch_size: self.count("batch_size")?,
        })
    }
}

fn not_offered(field: &str, what: &str, hint: &str) -> JobError {
    let problem = format!("{what} is not offered by this version; {hint}");
    JobError { field: field.to_owned(), problem, code: Code::Unsupported }
}
