//! Which clients fit a request, and why the others do not. The order among those who fit is decided in `select`.

use nsfl_types::{ClientId, JobSpec, Runtime};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What a client has, or a task needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Capacity {
    /// CPU cores.
    pub cpu: f64,
    /// GPUs.
    pub gpu: f64,
    /// Memory in MB.
    pub memory_mb: f64,
}

/// A client that is connected and alive, as it last described itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Its name.
    pub client: ClientId,
    /// Scripts it can run.
    pub runtimes: Vec<Runtime>,
    /// Its label; empty when it has none.
    pub label: String,
    /// Tasks it can do at the same time.
    pub max_tasks: u32,
    /// Tasks it does now.
    pub current_tasks: u32,
    /// An operator keeps new tasks away from it.
    pub cordoned: bool,
    /// What it has.
    pub resource: Capacity,
    /// Data set name to number of samples.
    pub datasets: BTreeMap<String, u64>,
}

/// What a job asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Clients wanted.
    pub count: u32,
    /// The script's runtime.
    pub runtime: Runtime,
    /// What one task needs.
    pub resource: Capacity,
    /// Data sets a task needs.
    pub datasets: Vec<String>,
    /// A client has one of these labels, when not empty.
    pub labels: Vec<String>,
    /// Only these clients, when not empty.
    pub only: Vec<ClientId>,
    /// Draw by lot instead of by score.
    pub random: bool,
    /// Clients that are not in `used` first.
    pub untrained_first: bool,
    /// Clients this job has used already.
    pub used: BTreeSet<ClientId>,
}

impl Request {
    /// What a checked job asks for, `count` clients at a time. Job documents name no labels.
    #[must_use]
    pub fn new(spec: &JobSpec, count: u32, used: BTreeSet<ClientId>) -> Self {
        let needed = &spec.resource;
        Self {
            count,
            runtime: spec.runtime,
            resource: Capacity { cpu: needed.cpu, gpu: needed.gpu, memory_mb: needed.memory_mb },
            datasets: spec.datasets.clone(),
            labels: Vec::new(),
            only: spec.clients.clone(),
            random: spec.random_client,
            untrained_first: spec.untrained_first,
            used,
        }
    }
}

/// Why a client was left out; its text follows the client's name in a sentence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unfit {
    /// Asked for by name, but not among the candidates.
    NotConnected,
    /// Not one of the clients the job names.
    NotListed,
    /// An operator keeps new tasks away from it.
    Cordoned,
    /// It has none of the labels.
    WrongLabel { label: String },
    /// It cannot run the script.
    LacksRuntime { runtime: Runtime },
    /// It has no such data set.
    LacksDataset { dataset: String },
    /// It has too little of something.
    LacksResource { resource: String, has: f64, needs: f64 },
    /// It does as many tasks as it can.
    Busy { tasks: u32, max_tasks: u32 },
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfit::NotConnected => write!(f, "is not connected"),
            Unfit::NotListed => write!(f, "is not among the job's clients"),
            Unfit::Cordoned => write!(f, "is cordoned"),
            Unfit::WrongLabel { label } => write!(f, "has label '{label}'"),
            Unfit::LacksRuntime { runtime } => write!(f, "lacks runtime {}", runtime.as_str()),
            Unfit::LacksDataset { dataset } => write!(f, "lacks data set '{dataset}'"),
            Unfit::LacksResource { resource, has, needs } => write!(f, "has {has} {resource} of {needs}"),
            Unfit::Busy { tasks, max_tasks } => write!(f, "is busy ({tasks} of {max_tasks} tasks)"),
        }
    }
}

/// The first reason why the candidate does not fit: lasting ones first, those that pass by themselves last.
pub(crate) fn unfit(request: &Request, candidate: &Candidate) -> Option<Unfit> {
    if !request.only.is_empty() && !request.only.contains(&candidate.client) {
        return Some(Unfit::NotListed);
    }
    if !request.labels.is_empty() && !request.labels.contains(&candidate.label) {
        return Some(Unfit::WrongLabel { label: candidate.label.clone() });
    }
    if !candidate.runtimes.contains(&request.runtime) {
        return Some(Unfit::LacksRuntime { runtime: request.runtime });
    }
    if let Some(dataset) = request.datasets.iter().find(|name| !candidate.datasets.contains_key(*name)) {
        return Some(Unfit::LacksDataset { dataset: dataset.clone() });
    }
    let (has, needs) = (&candidate.resource, &request.resource);
    let amounts = [
        ("CPU cores", has.cpu, needs.cpu),
        ("GPUs", has.gpu, needs.gpu),
        ("MB of memory", has.memory_mb, needs.memory_mb),
    ];
    let enough = |has: f64, needs: f64| has >= needs;
    if let Some((resource, has, needs)) = amounts.into_iter().find(|(_, has, needs)| !enough(*has, *needs)) {
        return Some(Unfit::LacksResource { resource: resource.to_owned(), has, needs });
    }
    if candidate.cordoned {
        return Some(Unfit::Cordoned);
    }
    let (tasks, max_tasks) = (candidate.current_tasks, candidate.max_tasks);
    (tasks >= max_tasks).then_some(Unfit::Busy { tasks, max_tasks })
}
