//! A round's name, its members' states, and what an update is to the machines: a reference, never its bytes.

use nsfl_types::{BlobRef, ClientId, Code, JobKey, Metrics, TaskKey, TaskKind};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One attempt of one round: a `TaskKey` without the client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundId {
    /// The job.
    pub job: JobKey,
    /// n-th start of the job, from 1.
    pub run: u32,
    /// Round number, from 1.
    pub round: u32,
    /// Try of this round, from 1.
    pub attempt: u32,
    /// Train or evaluate part of the round.
    pub kind: TaskKind,
}

impl RoundId {
    /// The client's task in this round.
    #[must_use]
    pub fn task(&self, client: &ClientId) -> TaskKey {
        let Self { job, run, round, attempt, kind } = self.clone();
        TaskKey { job, run, round, attempt, kind, client: client.clone() }
    }

    /// Whether the task is one of this round.
    #[must_use]
    pub fn has(&self, key: &TaskKey) -> bool {
        self.task(&key.client) == *key
    }
}

/// What a client hands in, by reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UpdateRef {
    /// The stored delta; `None` for an evaluation.
    pub blob: Option<BlobRef>,
    /// What the script put for the job's extender, stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<BlobRef>,
    /// Numbers the trainer reported.
    pub metrics: Metrics,
    /// Its weight in the average. Kept as text: JSON numbers do not come back to the last bit.
    #[serde(with = "exact")]
    pub weight: f64,
}

impl UpdateRef {
    /// Without metrics that are NaN or infinite: no mean can be made of them and JSON cannot hold them.
    pub(crate) fn with_finite_metrics(mut self) -> Self {
        self.metrics.0.retain(|_, value| value.is_finite());
        self
    }
}

/// What is known of one member of a cohort. A client that is away is none of these: it may come back in time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemberState {
    /// The task was sent.
    Invited,
    /// The client said it works on it.
    Started,
    /// Its update counts.
    Accepted { update: UpdateRef },
    /// Its update was wrong.
    Refused { code: Code, reason: String },
    /// The client could not do it.
    Failed { code: Code, reason: String },
    /// Its answer is waited for no longer.
    Silent { code: Code, reason: String },
}

impl MemberState {
    /// Whether an answer may still come.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        matches!(self, MemberState::Invited | MemberState::Started)
    }
}

const SHOWN_MEMBERS: usize = 5;

/// Who did not deliver and why, for people: the first few, then a count.
pub(super) fn listed(members: &BTreeMap<ClientId, MemberState>) -> String {
    let missing: Vec<String> = members
        .iter()
        .filter_map(|(client, state)| match state {
            MemberState::Accepted { .. } => None,
            MemberState::Invited | MemberState::Started => Some(format!("{client} was silent")),
            MemberState::Refused { code, reason } => Some(format!("{client} was refused ({code}: {reason})")),
            MemberState::Failed { code, reason } => Some(format!("{client} failed ({code}: {reason})")),
            MemberState::Silent { reason, .. } => Some(format!("{client} was silent ({reason})")),
        })
        .collect();
    let shown = missing[..missing.len().min(SHOWN_MEMBERS)].join("; ");
    match missing.len().saturating_sub(SHOWN_MEMBERS) {
        0 => shown,
        more => format!("{shown}; and {more} more"),
    }
}

/// A float as text that parses back to the same bits.
mod exact {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(value: &f64, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&value.to_string())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<f64, D::Error> {
        String::deserialize(d)?.parse().map_err(D::Error::custom)
    }
}
