//! The rounds of a job's run, the clients of the one that is open, and the metrics as series.

use crate::Time;
use nsfl_types::{Cause, ClientId, Digest, TaskKind};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Metric name to value. JSON has no NaN and no infinity: such a value is `null`.
pub type Measured = BTreeMap<String, Option<f64>>;

/// A global model by content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model {
    /// SHA-256 of the file, 64 hex digits.
    pub sha256: Digest,
    /// Its length in bytes.
    pub bytes: u64,
}

/// One attempt of a round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// Round, from 1.
    pub round: u32,
    /// Attempt, from 1.
    pub attempt: u32,
    /// `train` or `evaluate`.
    pub kind: TaskKind,
    /// `open`, `complete` or `failed`.
    pub state: String,
    /// Why it failed; empty otherwise.
    pub reason: String,
    /// When its tasks went out.
    pub opened: Time,
    /// When it closed.
    pub closed: Option<Time>,
    /// Clients invited.
    pub cohort: u32,
    /// Updates counted.
    pub accepted: u32,
    /// Weighted mean of the members' metrics.
    pub metrics: Measured,
    /// The global model after it.
    pub model: Option<Model>,
    /// What more is known of a part of the server that failed, such as the job's extender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
}

/// One client's part of a round: its task began in it, or its update is counted in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// The client.
    pub client: ClientId,
    /// The round in which its task began.
    #[serde(default)]
    pub round: u32,
    /// Its attempt of that round.
    pub attempt: u32,
    /// The model its task began with: how many were made before it.
    #[serde(default)]
    pub version: u32,
    /// The round of the model that its update has gone into, in jobs whose late updates count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted: Option<u32>,
    /// How many models were made from the one it began with until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staleness: Option<u32>,
    /// `train` or `evaluate`.
    pub kind: TaskKind,
    /// `invited`, `started`, `accepted`, `refused`, `failed` or `straggler`.
    pub state: String,
    /// Its metrics, once accepted.
    pub metrics: Measured,
    /// Why it was refused or failed, for scripts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The same in a sentence; empty otherwise.
    pub reason: String,
    /// What more is known of a trainer that failed: exit code or signal, limit, traceback, last lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// When its task was sent, in rounds of servers that note it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<Time>,
    /// When it said that it trains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Time>,
    /// When it began to bring its update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uploading: Option<Time>,
    /// Bytes of its update, once accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// When it came to this state.
    pub at: Time,
}

/// A client's part of a round that came to nothing, in short; `…/rounds/{round}` has it in full.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// Round, from 1.
    pub round: u32,
    /// Attempt, from 1.
    pub attempt: u32,
    /// `train` or `evaluate`.
    pub kind: TaskKind,
    /// The client.
    pub client: ClientId,
    /// `refused`, `failed` or `straggler`.
    pub state: String,
    /// Why, for scripts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The same in a sentence.
    pub reason: String,
    /// Exit code or signal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<String>,
    /// The limit it ran into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// The traceback's last line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
    /// When.
    pub at: Time,
}

/// A client that has not replied yet, and how far it says it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Awaited {
    /// The client.
    pub client: ClientId,
    /// 0 to 1, if it is known.
    pub done: Option<f64>,
    /// In its script's words; may be empty.
    pub message: String,
    /// Numbers so far.
    pub metrics: Measured,
    /// When it said so; `null` when it has said nothing yet.
    pub at: Option<Time>,
    /// When it began to bring its update; absent before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uploading: Option<Time>,
}

/// One round in full.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoundDetail {
    /// The run, from 1.
    pub run: u32,
    /// Its attempts, train before evaluate.
    pub attempts: Vec<Round>,
    /// Each client's part in each.
    pub members: Vec<Member>,
}

/// The newest round of the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CurrentRound {
    /// Its number.
    pub round: u32,
    /// Clients that have not replied yet; empty when no round is open.
    pub awaited: Vec<ClientId>,
    /// Those of them whose link has ended.
    #[serde(default)]
    pub away: Vec<ClientId>,
    /// How far those are who have said so.
    #[serde(default)]
    pub progress: Vec<Awaited>,
    /// When the round stops waiting; `null` when no round is open.
    pub deadline: Option<Time>,
    /// Each client's part.
    pub members: Vec<Member>,
}

/// The rounds of a job's last run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rounds {
    /// The run, from 1; 0 before the first.
    pub run: u32,
    /// By round, kind and attempt.
    pub rounds: Vec<Round>,
    /// The newest one in detail; `null` before the first.
    pub current: Option<CurrentRound>,
}

/// The metrics of a job's last run: for each metric a value a complete round, `null` where it was not measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobMetrics {
    /// The run, from 1; 0 before the first.
    pub run: u32,
    /// The rounds the lists run over.
    pub rounds: Vec<u32>,
    /// As the clients measured while training.
    pub train: BTreeMap<String, Vec<Option<f64>>>,
    /// As the clients measured the global model.
    pub evaluate: BTreeMap<String, Vec<Option<f64>>>,
}
