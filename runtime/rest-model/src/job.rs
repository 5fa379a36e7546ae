//! A job as REST shows it: the document's fields and, beside them, what the server set.

use crate::{Awaited, Failure, Time};
use nsfl_types::{JobDocument, JobStatus};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A saved model of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The accuracy of its round, `null` when that round was not evaluated.
    pub accuracy: Option<f64>,
    /// Where it is in the namespace's storage.
    pub path: String,
}

/// One job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The document as written.
    #[serde(flatten)]
    pub document: JobDocument,
    /// The namespace that owns it.
    pub namespace: String,
    /// When it was created.
    pub create_time: Time,
    /// When its last run started, `null` before the first.
    pub start_time: Option<Time>,
    /// Its starts so far.
    pub run: u32,
    /// State, reason, progress.
    pub status: JobStatus,
    /// Its checkpoints by id.
    pub checkpoints: BTreeMap<String, Checkpoint>,
    /// Who wrote the document: the user of the request, as far as the server can vouch for one.
    #[serde(default)]
    pub author: String,
    /// Of one job, not in lists: clients that have not replied in the open round, and how far they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub awaited: Vec<Awaited>,
    /// Of one job, not in lists: what failed last in this run, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<Failure>,
}

impl Job {
    /// The job's id; a server never sends a job without one.
    #[must_use]
    pub fn id(&self) -> &str {
        self.document.id.as_deref().unwrap_or_default()
    }
}

/// The jobs of a namespace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Jobs {
    /// By id.
    pub jobs: Vec<Job>,
}
