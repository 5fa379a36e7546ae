//! The job document exactly as users write it: optional fields, no checks but types and unknown names.

use super::{ExtenderDocument, ScriptsDocument};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A list that may be written as one string; commas separate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a string or a list of strings")]
pub enum OneOrMany {
    /// `"a"` or `"a,b"`.
    One(String),
    /// `["a", "b"]`.
    Many(Vec<String>),
}

impl OneOrMany {
    /// The items, trimmed, empty ones left out.
    #[must_use]
    pub fn items(&self) -> Vec<String> {
        let split = |s: &str| s.split(',').map(|p| p.trim().to_owned()).collect::<Vec<_>>();
        let all = match self {
            OneOrMany::One(s) => split(s),
            OneOrMany::Many(v) => v.iter().map(|s| s.trim().to_owned()).collect(),
        };
        all.into_iter().filter(|s| !s.is_empty()).collect()
    }
}

/// `hyper_parameters` as written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented on the checked form, HyperParameters")]
pub struct HyperDocument {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_round_num: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_num: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold_client_num: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluate_interval: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub save_interval: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_timeout: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub close_at_threshold: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_staleness: Option<u32>,
}

/// `resource` as written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented on the checked form, Resource")]
pub struct ResourceDocument {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_num: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<f64>,
}

/// `aggregator` as written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented on the checked form, AggregatorSpec")]
pub struct AggregatorDocument {
    pub name: String,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub params: Map<String, Value>,
}

/// The job document. `JobSpec::check` turns it into the checked form.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the fields are those of the public job document, docs/job.md")]
pub struct JobDocument {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients: Option<OneOrMany>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<ResourceDocument>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hyper_parameters: Option<HyperDocument>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_entry: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scripts: Option<ScriptsDocument>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssl: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Map<String, Value>>,
    #[serde(default, alias = "extenders", skip_serializing_if = "Option::is_none")]
    pub extender: Option<ExtenderDocument>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secure_algorithm: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optimizer: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aggregator: Option<AggregatorDocument>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datasets: Option<OneOrMany>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub random_client: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub untrained_first: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redundancy: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
}
