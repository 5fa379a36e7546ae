//! What happened to a job, as a list or as the data of a server-sent event.

use crate::Time;
use serde::{Deserialize, Serialize};

/// Something that happened to a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Counts up over all jobs; a reader goes on with `?after=<id>`.
    pub id: u64,
    /// When.
    pub at: Time,
    /// `namespace/id` of its job, where events of several are shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// Kebab-case, past tense: `round-closed`.
    pub kind: String,
    /// A JSON object with its fields.
    pub fields: serde_json::Value,
}

/// Events, oldest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Events {
    /// The events.
    pub events: Vec<Event>,
    /// Id of the server's newest event: where to begin to see only what comes.
    pub last: u64,
}
