//! A task order between its two forms: as it crosses the link, and as the task machine keeps it.

use nsfl_messages::wire::{Scripts, TaskOrder, TaskReport};
use nsfl_types::{BlobRef, Resource, Runtime, TaskKey};
use nsfl_workflow::Report;
use serde::{Deserialize, Serialize};

/// What of an order the machine keeps without looking into it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Work {
    pub(crate) runtime: Runtime,
    pub(crate) task_entry: String,
    #[serde(default)]
    pub(crate) scripts: Option<Scripts>,
    #[serde(default)]
    pub(crate) inputs: Option<BlobRef>,
    #[serde(default)]
    pub(crate) author: String,
    /// A JSON object with a name, as text.
    #[serde(default)]
    pub(crate) optimizer: Option<String>,
    /// A JSON object, as text.
    pub(crate) parameters: String,
    pub(crate) datasets: Vec<String>,
    pub(crate) resource: Resource,
    pub(crate) seed: u64,
}

/// The order for the machine.
pub(crate) fn to_machine(order: TaskOrder) -> nsfl_workflow::TaskOrder {
    let TaskOrder { key, base, runtime, task_entry, scripts, inputs, author, optimizer, .. } = order;
    let TaskOrder { parameters, datasets, resource, seed, timeout_ms, .. } = order;
    let work = Work { runtime, task_entry, scripts, inputs, author, optimizer, parameters, datasets, resource, seed };
    let spec = serde_json::to_string(&work).expect("names, texts and finite numbers always serialise");
    nsfl_workflow::TaskOrder { key, base, timeout_ms, spec }
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
