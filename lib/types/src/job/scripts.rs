//! What a job brings along: its scripts, its extender, its federated optimizer. Documents and checked forms.

use super::spec::{bad, required, storage_path};
use super::{JobError, Runtime};
use crate::Code;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// `scripts` as written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented on the checked form, ScriptsSpec")]
pub struct ScriptsDocument {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_file: Option<String>,
}

/// `extender` as written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented on the checked form, ExtenderSpec")]
pub struct ExtenderDocument {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script_path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broadcast: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aggregate: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish: Option<String>,
}

/// `scripts`, checked: sent to the clients with each task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptsSpec {
    /// A folder or a `.zip` in the namespace's storage: relative, without `..`.
    pub path: String,
    /// The task configuration in it.
    pub config_file: String,
}

/// `extender`, checked: functions of the user's script that the server calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtenderSpec {
    /// A folder or a `.zip` in the namespace's storage: relative, without `..`.
    pub script_path: String,
    /// The Python file in it.
    pub entry: String,
    /// Name of the function called before each train round. When none of the three is named, those of the file that are
    /// called `broadcast`, `aggregate` and `finish` are taken.
    pub broadcast: Option<String>,
    /// Name of the function called for each update.
    pub aggregate: Option<String>,
    /// Name of the function called once a round, after the updates.
    pub finish: Option<String>,
}

impl ExtenderSpec {
    /// Whether no function was named, so that the file's own names count.
    #[must_use]
    pub fn is_by_name(&self) -> bool {
        self.broadcast.is_none() && self.aggregate.is_none() && self.finish.is_none()
    }

    /// Whether there may be something to call before a round.
    #[must_use]
    pub fn broadcasts(&self) -> bool {
        self.broadcast.is_some() || self.is_by_name()
    }

    /// Whether there may be something to call with a round's updates.
    #[must_use]
    pub fn combines(&self) -> bool {
        self.aggregate.is_some() || self.finish.is_some() || self.is_by_name()
    }
}

/// `optimizer`, checked: what the scripts train with, beside their own optimizer.
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
}

impl OptimizerSpec {
    /// Whether the server keeps a control variate beside the model.
    #[must_use]
    pub fn is_scaffold(&self) -> bool {
        matches!(self, OptimizerSpec::Scaffold { .. })
    }

    /// As it is sent to the clients: a JSON object with `name` and what the job sets.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let fields = match self {
            OptimizerSpec::FedProx { mu, learning_rate } => {
                json!({"name": "fedprox", "mu": mu, "learning_rate": learning_rate})
            }
            OptimizerSpec::Scaffold { learning_rate, batch_size, sample_num } => {
                json!({"name": "scaffold", "learning_rate": learning_rate, "batch_size": batch_size, "sample_num": sample_num})
            }
        };
        let set = fields.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
        set.map(|(name, value)| (name.clone(), value.clone())).collect::<Map<_, _>>().into()
    }
}

/// Runtimes whose tasks are scripts; `builtin` has none.
pub(super) fn scripts(d: Option<&ScriptsDocument>, runtime: Runtime) -> Result<Option<ScriptsSpec>, JobError> {
    let Some(d) = d else { return Ok(None) };
    if runtime == Runtime::Builtin {
        return Err(bad("scripts", "runtime builtin runs no scripts: give task_entry, or another runtime"));
    }
    let path = storage_path("scripts.path", required("scripts.path", d.path.as_deref())?)?;
    let config = required("scripts.config_file", d.config_file.as_deref())?;
    Ok(Some(ScriptsSpec { path, config_file: inside("scripts.config_file", config)? }))
}

pub(super) fn extender(d: Option<&ExtenderDocument>) -> Result<Option<ExtenderSpec>, JobError> {
    let Some(d) = d else { return Ok(None) };
    let path = storage_path("extender.script_path", required("extender.script_path", d.script_path.as_deref())?)?;
    let entry = inside("extender.entry", required("extender.entry", d.entry.as_deref())?)?;
    let entry = if entry.ends_with(".py") { entry } else { entry + ".py" };
    Ok(Some(ExtenderSpec {
        script_path: path,
        entry,
        broadcast: function("extender.broadcast", d.broadcast.as_deref())?,
        aggregate: function("extender.aggregate", d.aggregate.as_deref())?,
        finish: function("extender.finish", d.finish.as_deref())?,
    }))
}

fn inside(field: &str, path: &str) -> Result<String, JobError> {
    storage_path(field, path).map_err(|_| bad(field, &format!("'{path}' is not a path inside the scripts (no '..')")))
}

fn function(field: &str, name: Option<&str>) -> Result<Option<String>, JobError> {
    let Some(name) = name.map(str::trim).filter(|name| !name.is_empty()) else { return Ok(None) };
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    if name.starts_with(letter) && name.chars().all(|c| letter(c) || c.is_ascii_digit()) {
        return Ok(Some(name.to_owned()));
    }
    Err(bad(field, &format!("'{name}' is no name of a Python function")))
}

/// Fields stand beside the name or in `params`, as in documents of older platforms.
pub(super) fn optimizer(value: Option<&Value>, runtime: Runtime) -> Result<Option<OptimizerSpec>, JobError> {
    let Some(value) = value else { return Ok(None) };
    let object = value.as_object().ok_or_else(|| bad("optimizer", "must be an object with name"))?;
    let name = required("optimizer.name", object.get("name").and_then(Value::as_str))?;
    let mut fields: Vec<(String, &str, &Value)> = Vec::new();
    for (key, value) in object {
        match (key.as_str(), value) {
            ("name", _) => {}
            ("params", Value::Object(params)) => {
                fields
                    .extend(params.iter().map(|(key, value)| (format!("optimizer.params.{key}"), key.as_str(), value)));
            }
            ("params", _) => return Err(bad("optimizer.params", "must be an object")),
            _ => fields.push((format!("optimizer.{key}"), key, value)),
        }
    }
    let spec = match name.to_ascii_lowercase().as_str() {
        "fedprox" => fedprox(&fields)?,
        "scaffold" => scaffold(&fields)?,
        _ => return Err(not_offered("optimizer.name", &format!("'{name}'"), "allowed: fedprox, scaffold")),
    };
    if runtime == Runtime::Builtin {
        return Err(not_offered("optimizer", "an optimizer with runtime builtin", "leave it out, or use a script"));
    }
    Ok(Some(spec))
}

type Fields<'a> = [(String, &'a str, &'a Value)];

fn fedprox(fields: &Fields<'_>) -> Result<OptimizerSpec, JobError> {
    let (mut mu, mut learning_rate) = (0.6, None);
    for (path, key, value) in fields {
        match *key {
            "mu" => mu = number(path, value, |v| v >= 0.0, "≥ 0")?,
            "learning_rate" => learning_rate = Some(number(path, value, |v| v > 0.0, "> 0")?),
            _ => return Err(bad(path, "is unknown to fedprox; allowed: mu, learning_rate")),
        }
    }
    Ok(OptimizerSpec::FedProx { mu, learning_rate })
}

fn scaffold(fields: &Fields<'_>) -> Result<OptimizerSpec, JobError> {
    let (mut learning_rate, mut batch_size, mut sample_num) = (None, None, None);
    for (path, key, value) in fields {
        match *key {
            "learning_rate" => learning_rate = Some(number(path, value, |v| v > 0.0, "> 0")?),
            "batch_size" => batch_size = Some(count(path, value)?),
            "sample_num" => sample_num = Some(count(path, value)?),
            _ => return Err(bad(path, "is unknown to scaffold; allowed: learning_rate, batch_size, sample_num")),
        }
    }
    Ok(OptimizerSpec::Scaffold { learning_rate, batch_size, sample_num })
}

fn number(path: &str, value: &Value, fits: fn(f64) -> bool, range: &str) -> Result<f64, JobError> {
    let number = value.as_f64().filter(|v| v.is_finite() && fits(*v));
    number.ok_or_else(|| bad(path, &format!("{value} is out of range: a number {range} is allowed")))
}

fn count(path: &str, value: &Value) -> Result<u64, JobError> {
    let count = value.as_u64().filter(|v| *v >= 1);
    count.ok_or_else(|| bad(path, &format!("{value} is out of range: an integer ≥ 1 is allowed")))
}

fn not_offered(field: &str, what: &str, hint: &str) -> JobError {
    let problem = format!("{what} is not offered by this version; {hint}");
    JobError { field: field.to_owned(), problem, code: Code::Unsupported }
}
