//! The checked job: every value is in range, every name is safe, exactly what the actors work with.

use super::compression::{self, CompressionSpec};
use super::document::{AggregatorDocument, JobDocument};
use super::late::{self, Late};
use super::optimizer::{self, OptimizerSpec};
use super::scripts::{self, ExtenderSpec, ScriptsSpec};
use crate::{ClientId, Code, JobId, seed_for};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A field of the job document that cannot be accepted: where, what is wrong, what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("job document: {field}: {problem}")]
pub struct JobError {
    /// Path of the field, such as `hyper_parameters.client_num`.
    pub field: String,
    /// What is wrong with it and what is allowed.
    pub problem: String,
    /// `BadDocument`, or `Unsupported` for what this version does not offer.
    pub code: Code,
}

/// What a job's script is written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Runtime {
    /// The native trainers of this project.
    Builtin,
    /// A PyTorch script.
    Pytorch,
    /// A TensorFlow or Keras script.
    Tensorflow,
    /// A TorchScript module, trained in process by libtorch.
    Torchscript,
}

impl Runtime {
    /// The name in the job document.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Runtime::Builtin => "builtin",
            Runtime::Pytorch => "pytorch",
            Runtime::Tensorflow => "tensorflow",
            Runtime::Torchscript => "torchscript",
        }
    }
}

/// Where the initial model comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ModelSource {
    /// A safetensors file in the namespace's storage.
    Path(String),
    /// A checkpoint of this job.
    Checkpoint(String),
    /// The builtin trainer initialises it from the job's seed.
    Init,
}

/// Least number of updates that completes a round: 1 to `client_num` (`threshold_client_num`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Quorum(u32);

impl Quorum {
    /// `None` unless 1 ≤ `threshold` ≤ `client_num`.
    #[must_use]
    pub fn new(threshold: u32, client_num: u32) -> Option<Self> {
        (1..=client_num).contains(&threshold).then_some(Self(threshold))
    }

    /// The number of updates.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }
}

/// Over-selection: a round invites up to `client_num × redundancy` clients, 1.0 to 2.0. Kept in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Redundancy(u32);

impl Redundancy {
    /// `None` unless 1.0 ≤ `factor` ≤ 2.0.
    #[must_use]
    pub fn new(factor: f64) -> Option<Self> {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be 1000 to 2000")]
        (1.0..=2.0).contains(&factor).then(|| Self((factor * 1000.0).round() as u32))
    }

    /// Size of the cohort for a target of `client_num` clients, rounded down, never below the target.
    #[must_use]
    pub fn cohort(self, client_num: u32) -> u32 {
        u32::try_from(u64::from(client_num) * u64::from(self.0) / 1000).unwrap_or(u32::MAX).max(client_num)
    }
}

/// `hyper_parameters`, checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HyperParameters {
    /// Rounds to run, ≥ 1. A failed round is tried again and does not count.
    pub max_round_num: u32,
    /// Target number of clients a round, ≥ 1.
    pub client_num: u32,
    /// Least number of updates that completes a round.
    pub quorum: Quorum,
    /// An evaluate round every this many rounds and after the last; 0: never.
    pub evaluate_interval: u32,
    /// A checkpoint every this many rounds and after the last; 0: after the last only.
    pub save_interval: u32,
    /// Time from sending a round's tasks to its deadline, in milliseconds.
    pub round_timeout_ms: u64,
    /// Server learning rate η, finite and > 0.
    pub learning_rate: f64,
    /// Close a round as soon as the quorum is met instead of waiting for the whole cohort.
    pub close_at_threshold: bool,
    /// What becomes of an update that comes after its round has closed.
    pub late: Late,
}

/// `resource`, checked: what each task needs on its client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resource {
    /// Processes of one task.
    pub worker_num: u32,
    /// CPU cores.
    pub cpu: f64,
    /// GPUs.
    pub gpu: f64,
    /// Memory in MB.
    pub memory_mb: f64,
}

/// `aggregator`: a rule's name and parameters, checked by who knows the rules (`Aggregation::of_job` of `nsfl-aggregate`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AggregatorSpec {
    /// The rule's name, not empty. Default `fedavg`.
    pub name: String,
    /// Its parameters as written.
    pub params: Map<String, Value>,
}

/// A checked job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobSpec {
    /// Unique in its namespace.
    pub id: JobId,
    /// What the script is written for.
    pub runtime: Runtime,
    /// Initial model.
    pub model: ModelSource,
    /// Only these clients, when not empty.
    pub clients: Vec<ClientId>,
    /// What each task needs.
    pub resource: Resource,
    /// Rounds, quorum, intervals.
    pub hyper: HyperParameters,
    /// Name of a task configured on the client; for `builtin`: `classifier` or `echo`. Empty with `scripts`.
    pub task_entry: String,
    /// Scripts sent with each task, instead of `task_entry`.
    pub scripts: Option<ScriptsSpec>,
    /// The user's functions on the server.
    pub extender: Option<ExtenderSpec>,
    /// The federated optimizer.
    pub optimizer: Option<OptimizerSpec>,
    /// Passed to the trainer.
    pub parameters: Map<String, Value>,
    /// Aggregation rule.
    pub aggregator: AggregatorSpec,
    /// How updates and the model are written on their way.
    pub compression: Option<CompressionSpec>,
    /// Data sets the task needs.
    pub datasets: Vec<String>,
    /// Folder for checkpoints and metrics in the namespace's storage: relative, without `..`.
    pub output: String,
    /// Random cohort instead of the best-scored.
    pub random_client: bool,
    /// Clients this job has not used yet first.
    pub untrained_first: bool,
    /// Over-selection.
    pub redundancy: Redundancy,
    /// Higher is scheduled first.
    pub priority: i32,
    /// Root of every seed of the job: `parameters.seed`, or derived from the id.
    pub seed: u64,
}

impl JobSpec {
    /// Parses a JSON document and checks it.
    ///
    /// # Errors
    /// The first field that cannot be accepted, with its path and what is allowed.
    pub fn parse(json: &[u8]) -> Result<(JobDocument, JobSpec), JobError> {
        let de = &mut serde_json::Deserializer::from_slice(json);
        let document: JobDocument = serde_path_to_error::deserialize(de).map_err(|e| {
            let path = e.path().to_string();
            let field = if path == "." { "document".to_owned() } else { path };
            bad(&field, &e.into_inner().to_string())
        })?;
        let spec = JobSpec::check(&document)?;
        Ok((document, spec))
    }

    /// Checks a document.
    ///
    /// # Errors
    /// The first field that cannot be accepted, with its path and what is allowed.
    pub fn check(d: &JobDocument) -> Result<JobSpec, JobError> {
        let id = required("id", d.id.as_deref())?;
        let id = JobId::new(id).map_err(|e| bad("id", &e.to_string()))?;
        let runtime = runtime(required("runtime", d.runtime.as_deref())?)?;
        unsupported(d)?;
        let parameters = d.parameters.clone().unwrap_or_default();
        let seed = seed(&parameters, &id)?;
        let task_entry = task_entry(d, runtime)?;
        let hyper = hyper(d)?;
        late::check(hyper.late, d)?;
        Ok(JobSpec {
            runtime,
            model: model(d, runtime)?,
            clients: clients(d)?,
            resource: resource(d)?,
            hyper,
            scripts: scripts::scripts(d.scripts.as_ref(), runtime)?,
            extender: scripts::extender(d.extender.as_ref())?,
            optimizer: optimizer::optimizer(d.optimizer.as_ref(), runtime, &task_entry)?,
            aggregator: aggregator(d.aggregator.as_ref())?,
            compression: compression::compression(d.compression.as_ref())?,
            datasets: d.datasets.as_ref().map(super::OneOrMany::items).unwrap_or_default(),
            output: storage_path("output", required("output", d.output.as_deref())?)?,
            random_client: d.random_client.unwrap_or(false),
            untrained_first: d.untrained_first.unwrap_or(false),
            redundancy: Redundancy::new(d.redundancy.unwrap_or(1.0))
                .ok_or_else(|| bad("redundancy", "must be between 1.0 and 2.0"))?,
            priority: d.priority.unwrap_or(0),
            task_entry,
            parameters,
            seed,
            id,
        })
    }
}

pub(super) fn bad(field: &str, problem: &str) -> JobError {
    JobError { field: field.to_owned(), problem: problem.to_owned(), code: Code::BadDocument }
}

pub(super) fn required<'a>(field: &str, value: Option<&'a str>) -> Result<&'a str, JobError> {
    match value {
        Some(v) if !v.trim().is_empty() => Ok(v),
        Some(_) => Err(bad(field, "must not be empty")),
        None => Err(bad(field, "is missing and required")),
    }
}

fn runtime(name: &str) -> Result<Runtime, JobError> {
    match name.to_ascii_lowercase().as_str() {
        "builtin" => Ok(Runtime::Builtin),
        "pytorch" => Ok(Runtime::Pytorch),
        "tensorflow" | "keras" => Ok(Runtime::Tensorflow),
        "torchscript" => Ok(Runtime::Torchscript),
        _ => Err(bad(
            "runtime",
            &format!("'{name}' is unknown; allowed: builtin, pytorch, tensorflow (alias keras), torchscript"),
        )),
    }
}

/// What the document may name but this version does not offer is refused by name, never ignored.
fn unsupported(d: &JobDocument) -> Result<(), JobError> {
    let fields = [
        ("model_id", d.model_id.is_some(), "give model_path, or none with runtime builtin"),
        ("secure_algorithm", d.secure_algorithm.is_some(), "leave it out"),
    ];
    match fields.into_iter().find(|(_, given, _)| *given) {
        None => Ok(()),
        Some((field, _, hint)) => Err(JobError {
            field: field.to_owned(),
            problem: format!("is not offered by this version; {hint}"),
            code: Code::Unsupported,
        }),
    }
}

fn model(d: &JobDocument, runtime: Runtime) -> Result<ModelSource, JobError> {
    match (&d.model_path, &d.checkpoint_id) {
        (Some(_), Some(_)) => Err(bad("model_path", "two model sources: give model_path or checkpoint_id, not both")),
        (Some(path), None) => storage_path("model_path", path).map(ModelSource::Path),
        (None, Some(id)) => Ok(ModelSource::Checkpoint(required("checkpoint_id", Some(id))?.to_owned())),
        (None, None) if runtime == Runtime::Builtin => Ok(ModelSource::Init),
        (None, None) => {
            Err(bad("model_path", "is missing: give model_path or checkpoint_id (only runtime builtin can do without)"))
        }
    }
}

fn clients(d: &JobDocument) -> Result<Vec<ClientId>, JobError> {
    let names = d.clients.as_ref().map(super::OneOrMany::items).unwrap_or_default();
    let mut ids = Vec::with_capacity(names.len());
    for (i, name) in names.into_iter().enumerate() {
        let id = ClientId::new(name).map_err(|e| bad(&format!("clients[{i}]"), &e.to_string()))?;
        if ids.contains(&id) {
            return Err(bad(&format!("clients[{i}]"), &format!("'{id}' is listed twice")));
        }
        ids.push(id);
    }
    Ok(ids)
}

fn resource(d: &JobDocument) -> Result<Resource, JobError> {
    let r = d.resource.clone().unwrap_or_default();
    let amount = |field: &str, value: Option<f64>, default: f64| match value.unwrap_or(default) {
        v if v.is_finite() && v >= 0.0 => Ok(v),
        v => Err(bad(field, &format!("{v} is out of range: a number ≥ 0 is allowed"))),
    };
    Ok(Resource {
        worker_num: at_least_one("resource.worker_num", r.worker_num, 1)?,
        cpu: amount("resource.cpu", r.cpu, 1.0)?,
        gpu: amount("resource.gpu", r.gpu, 0.0)?,
        memory_mb: amount("resource.memory", r.memory, 1000.0)?,
    })
}

const MAX_ROUND_TIMEOUT_S: f64 = 365.0 * 24.0 * 3600.0;

fn hyper(d: &JobDocument) -> Result<HyperParameters, JobError> {
    let h = d.hyper_parameters.clone().unwrap_or_default();
    let client_num = at_least_one("hyper_parameters.client_num", h.client_num, 1)?;
    let threshold = h.threshold_client_num.unwrap_or(1);
    let quorum = Quorum::new(threshold, client_num).ok_or_else(|| {
        let range = format!("{threshold} is out of range: 1 to client_num ({client_num}) is allowed");
        bad("hyper_parameters.threshold_client_num", &range)
    })?;
    let timeout = h.round_timeout.unwrap_or(3600.0);
    if !(0.001..=MAX_ROUND_TIMEOUT_S).contains(&timeout) {
        let range = format!("{timeout} is out of range: seconds from 0.001 to {MAX_ROUND_TIMEOUT_S} are allowed");
        return Err(bad("hyper_parameters.round_timeout", &range));
    }
    let learning_rate = h.learning_rate.unwrap_or(1.0);
    if !(learning_rate.is_finite() && learning_rate > 0.0) {
        return Err(bad("hyper_parameters.learning_rate", "must be a finite number > 0"));
    }
    Ok(HyperParameters {
        max_round_num: at_least_one("hyper_parameters.max_round_num", h.max_round_num, 10)?,
        client_num,
        quorum,
        evaluate_interval: h.evaluate_interval.unwrap_or(2),
        save_interval: h.save_interval.unwrap_or(5),
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "range checked above")]
        round_timeout_ms: (timeout * 1000.0).round() as u64,
        learning_rate,
        close_at_threshold: h.close_at_threshold.unwrap_or(false),
        late: late::late(&h)?,
    })
}

fn at_least_one(field: &str, value: Option<u32>, default: u32) -> Result<u32, JobError> {
    match value.unwrap_or(default) {
        0 => Err(bad(field, "0 is out of range: an integer ≥ 1 is allowed")),
        v => Ok(v),
    }
}

/// Tasks the builtin runtime offers.
const BUILTIN_TASKS: [&str; 2] = ["classifier", "echo"];

fn task_entry(d: &JobDocument, runtime: Runtime) -> Result<String, JobError> {
    match (&d.task_entry, &d.scripts) {
        (Some(_), Some(_)) => return Err(bad("scripts", "two tasks: give task_entry or scripts, not both")),
        (None, Some(_)) => return Ok(String::new()),
        (None, None) if runtime != Runtime::Builtin => {
            return Err(bad("task_entry", "is missing: give task_entry (a task of the clients) or scripts"));
        }
        _ => {}
    }
    let entry = required("task_entry", d.task_entry.as_deref())?;
    if runtime == Runtime::Builtin && !BUILTIN_TASKS.contains(&entry) {
        return Err(bad("task_entry", &format!("'{entry}' is unknown to runtime builtin; allowed: classifier, echo")));
    }
    Ok(entry.to_owned())
}

fn aggregator(a: Option<&AggregatorDocument>) -> Result<AggregatorSpec, JobError> {
    let Some(a) = a else { return Ok(AggregatorSpec { name: "fedavg".into(), params: Map::new() }) };
    let name = required("aggregator.name", Some(&a.name))?.to_owned();
    Ok(AggregatorSpec { name, params: a.params.clone() })
}

fn seed(parameters: &Map<String, Value>, id: &JobId) -> Result<u64, JobError> {
    match parameters.get("seed") {
        None | Some(Value::Null) => Ok(seed_for(0, &[id.as_str()])),
        Some(v) => v.as_u64().ok_or_else(|| bad("parameters.seed", "must be an integer ≥ 0")),
    }
}

/// A path inside the namespace's storage: relative (a leading `/` is dropped), no `..`, no empty parts.
pub(super) fn storage_path(field: &str, path: &str) -> Result<String, JobError> {
    let parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty() && *p != ".").collect();
    if parts.is_empty() || parts.contains(&"..") || path.contains('\0') || path.contains('\\') {
        return Err(bad(field, &format!("'{path}' is not a path inside the namespace's storage (no '..', not empty)")));
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests;
