//! Lines of the server's log.

use crate::Time;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogLine {
    /// Counts up while the server lives.
    pub seq: u64,
    /// When.
    pub at: Time,
    /// `ERROR`, `WARN`, `INFO`, `DEBUG` or `TRACE`.
    pub level: String,
    /// Which part of the program.
    pub target: String,
    /// What.
    pub message: String,
    /// Its fields, and those of the spans it is in.
    pub fields: Map<String, Value>,
}

/// A part of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Logs {
    /// Oldest first.
    pub logs: Vec<LogLine>,
    /// Number of the newest line there is.
    pub last: u64,
}
