//! A training site as REST shows it.

use crate::Time;
use nsfl_types::{ClientId, Resource, Runtime, TaskKind};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Why an operator keeps a client away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Who did it.
    pub by: String,
    /// Since when.
    pub at: Time,
    /// In their words; may be empty.
    pub reason: String,
}

/// A client's link, as the server sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientLink {
    /// Whether there is a connection now.
    pub connected: bool,
    /// Last round trip, microseconds; 0 before the first.
    pub rtt_us: u64,
    /// Payload bytes received.
    pub bytes_in: u64,
    /// Payload bytes sent.
    pub bytes_out: u64,
    /// Frames received.
    pub frames_in: u64,
    /// Frames sent.
    pub frames_out: u64,
    /// Connections after the first.
    pub reconnects: u64,
    /// Sessions after the first.
    pub sessions_lost: u64,
    /// Messages sent that the client has not taken for good.
    pub outbox_messages: u64,
    /// Payload bytes that wait to be written.
    pub queued_bytes: u64,
}

/// A task that the server awaits of a client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClientTask {
    /// `namespace/id` of its job.
    pub job: String,
    /// Run, from 1.
    pub run: u32,
    /// Round, from 1.
    pub round: u32,
    /// Attempt, from 1.
    pub attempt: u32,
    /// `train` or `evaluate`.
    pub kind: TaskKind,
    /// `invited` or `started`.
    pub state: String,
    /// When it came to this state.
    pub at: Time,
    /// 0 to 1, if the trainer says so.
    pub done: Option<f64>,
    /// In its words.
    pub message: String,
}

/// One client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Client {
    /// Its id, from its certificate.
    pub id: ClientId,
    /// Its address as it sees it.
    pub address: String,
    /// Operating system.
    pub os: String,
    /// Version of its software.
    pub version: String,
    /// Runtimes it supports.
    pub runtimes: Vec<Runtime>,
    /// A free label.
    pub label: String,
    /// `online`, `lost` while its link is down, or `removed`.
    pub state: String,
    /// Tasks it runs at once, at most.
    pub max_tasks: u32,
    /// Tasks it has now.
    pub current_tasks: u32,
    /// What it offers.
    pub resource: Resource,
    /// Data set name to sample count.
    pub datasets: BTreeMap<String, u64>,
    /// Since when it is registered.
    pub registered: Time,
    /// Its last sign of life.
    pub last_seen: Time,
    /// Whether an operator keeps new tasks away from it.
    #[serde(default)]
    pub cordoned: bool,
    /// Who did, or who removed it.
    #[serde(default)]
    pub mark: Option<Mark>,
    /// Whether it shows its actors.
    #[serde(default)]
    pub observable: bool,
    /// Its session; `null` without one.
    #[serde(default)]
    pub session: Option<u64>,
    /// Its link; `null` without a session.
    #[serde(default)]
    pub link: Option<ClientLink>,
    /// Of one client, not in lists: the tasks that are awaited of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<ClientTask>,
}

/// Every known client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Clients {
    /// By id.
    pub clients: Vec<Client>,
}
