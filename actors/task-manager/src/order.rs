//! A task order between its two forms: as it crosses the link, and as the task machine keeps it.

use nsfl_messages::wire::{Compression, Scripts, TaskOrder, TaskReport};
use nsfl_types::{BlobRef, Code, Refusal, Resource, Runtime, TaskKey};
use nsfl_workflow::Report;
use serde::{Deserialize, Serialize};

/// What of an order the machine keeps without looking into it: what the trainer needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// What runs it.
    pub runtime: Runtime,
    /// Name of a task configured on the client; empty when `scripts` come with it.
    pub task_entry: String,
    /// Scripts sent with the job.
    #[serde(default)]
    pub scripts: Option<Scripts>,
    /// What the job's extender broadcasts this round: a zip.
    #[serde(default)]
    pub inputs: Option<BlobRef>,
    /// Who submitted the job.
    #[serde(default)]
    pub author: String,
    /// A JSON object with a name, as text.
    #[serde(default)]
    pub optimizer: Option<String>,
    /// How the update is to be compressed.
    #[serde(default)]
    pub compression: Option<Compression>,
    /// A JSON object, as text.
    pub parameters: String,
    /// Data sets it needs.
    pub datasets: Vec<String>,
    /// What it needs of the client.
    pub resource: Resource,
    /// Decides everything random.
    pub seed: u64,
}

impl Work {
    /// From what the machine has kept.
    pub(crate) fn of(order: &nsfl_workflow::TaskOrder) -> Result<Self, Refusal> {
        let bad = |e| Refusal::new(Code::BadDocument, format!("the task's record: {e}"));
        serde_json::from_str(&order.spec).map_err(bad)
    }
}

/// The order for the machine.
pub(crate) fn to_machine(order: TaskOrder) -> nsfl_workflow::TaskOrder {
    let TaskOrder { key, base, runtime, task_entry, scripts, inputs, author, optimizer, .. } = order;
    let TaskOrder { compression, parameters, datasets, resource, seed, timeout_ms, .. } = order;
    let work = Work {
        runtime,
        task_entry,
        scripts,
        inputs,
        author,
        optimizer,
        compression,
        parameters,
        datasets,
        resource,
        seed,
    };
    let spec = serde_json::to_string(&work).expect("names, texts and finite numbers always serialise");
    nsfl_workflow::TaskOrder { key, base, timeout_ms, spec }
}

/// What a task on record asked for; nothing of one whose record is not ours: it fails by itself.
pub(crate) fn need(order: &nsfl_workflow::TaskOrder) -> Resource {
    let nothing = Resource { worker_num: 1, cpu: 0.0, gpu: 0.0, memory_mb: 0.0 };
    serde_json::from_str::<Work>(&order.spec).map_or(nothing, |work| work.resource)
}

/// The machine's report for the link.
pub(crate) fn to_wire(key: TaskKey, report: Report) -> TaskReport {
    match report {
        Report::Started => TaskReport::Started { key },
        Report::Done { update } => {
            TaskReport::Done { key, update: update.blob, extra: update.extra, metrics: update.metrics }
        }
        Report::Failed { code, reason, cause } => TaskReport::Failed { key, code, reason, cause },
    }
}
