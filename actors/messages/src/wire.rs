//! What crosses a link, as bincode behind one version byte. The sender is the certificate's identity, never a field.
//! Anything larger than a mebibyte is a blob.

use nsfl_types::{BlobRef, Cause, ClientId, Code, Metrics, Resource, Runtime, TaskKey};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;

/// Version of these messages, agreed at the link's handshake as the version of each export.
pub const VERSION: u16 = 4;
/// Export index of the client registry: `RegistryReport`s.
pub const EXPORT_REGISTRY: u16 = 0;
/// Export index of a client's tasks: `TaskReport`s to the server, `TaskCommand`s to the client.
pub const EXPORT_TASKS: u16 = 1;

/// Export index of a client's actors, where it shows them: `ObserveQuestion`s, answered by `ObserveAnswer`s.
pub const EXPORT_OBSERVE: u16 = 2;

/// What a client offers, told when its link comes up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClientInfo {
    /// Its id; must be its certificate's.
    pub client: ClientId,
    /// Its address as it sees it, for people.
    pub address: String,
    /// Operating system.
    pub os: String,
    /// Version of the software.
    pub version: String,
    /// Runtimes it supports.
    pub runtimes: Vec<Runtime>,
    /// A free label that jobs may ask for.
    pub label: String,
    /// Tasks it runs at once.
    pub max_tasks: u32,
    /// CPU cores, GPUs and memory it offers.
    pub resource: Resource,
    /// Data set name to sample count.
    pub datasets: BTreeMap<String, u64>,
}

/// What a client is doing, told with each heartbeat.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ClientLoad {
    /// Tasks it has now.
    pub current_tasks: u32,
}

/// From a client to the registry.
#[allow(clippy::large_enum_variant, reason = "one message a session is large, and it is not kept")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum RegistryReport {
    /// It is there.
    Register(ClientInfo),
    /// It lives.
    Heartbeat(ClientLoad),
}

/// From a client on its tasks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum TaskReport {
    /// Every task it holds, sent on each (re)connect.
    Inventory {
        /// The tasks.
        tasks: Vec<TaskKey>,
    },
    /// Its executor runs.
    Started {
        /// The task.
        key: TaskKey,
    },
    /// The result is uploaded.
    Done {
        /// The task.
        key: TaskKey,
        /// The delta, for train tasks.
        update: Option<BlobRef>,
        /// What the script put for the job's extender: a zip of `parameters.json` and `files/`.
        extra: Option<BlobRef>,
        /// What the trainer measured.
        metrics: Metrics,
    },
    /// There is no result.
    Failed {
        /// The task.
        key: TaskKey,
        /// The stable code.
        code: Code,
        /// The reason, in a sentence.
        reason: String,
        /// What more is known of a trainer that failed.
        cause: Option<Box<Cause>>,
    },
    /// How far its trainer is. Sent at most once and kept by nobody.
    Progress {
        /// The task.
        key: TaskKey,
        /// Done so far, 0 to 1, if the script says so.
        done: Option<f64>,
        /// The script's own words.
        message: String,
        /// Numbers so far.
        metrics: Metrics,
    },
    /// Its trainer is done, what it made is on its way. Sent at most once.
    Uploading {
        /// The task.
        key: TaskKey,
    },
}

impl TaskOrder {
    /// What the client has to read for it: base model, scripts, inputs.
    pub fn blobs(&self) -> impl Iterator<Item = BlobRef> {
        let scripts = self.scripts.as_ref().map(|scripts| scripts.package);
        [Some(self.base), scripts, self.inputs].into_iter().flatten()
    }
}

impl TaskCommand {
    /// The task it is about.
    #[must_use]
    pub fn key(&self) -> &TaskKey {
        match self {
            TaskCommand::Run(order) => &order.key,
            TaskCommand::Cancel { key } | TaskCommand::Ack { key } | TaskCommand::Refuse { key, .. } => key,
        }
    }
}

impl TaskReport {
    /// The task it is about; none for an inventory.
    #[must_use]
    pub fn key(&self) -> Option<&TaskKey> {
        match self {
            TaskReport::Inventory { .. } => None,
            TaskReport::Started { key }
            | TaskReport::Done { key, .. }
            | TaskReport::Failed { key, .. }
            | TaskReport::Progress { key, .. }
            | TaskReport::Uploading { key } => Some(key),
        }
    }
}

/// The scripts of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scripts {
    /// A zip.
    pub package: BlobRef,
    /// The task configuration in it.
    pub config_file: String,
}

/// How a client compresses its update.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Compression {
    /// The job's `UpdateCoding`, as JSON.
    pub coding: String,
    /// Round and attempt of the client's last update of this run that is in the model: what that one lost goes into the next.
    pub counted: Option<(u32, u32)>,
}

/// A task as the coordinator sends it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskOrder {
    /// Its identity.
    pub key: TaskKey,
    /// The global model to start from, compressed or not.
    pub base: BlobRef,
    /// What runs it.
    pub runtime: Runtime,
    /// Name of a task configured on the client; empty when `scripts` come with it.
    pub task_entry: String,
    /// Scripts sent with the job.
    pub scripts: Option<Scripts>,
    /// What the job's extender broadcasts this round: a zip of `parameters.json` and `files/`.
    pub inputs: Option<BlobRef>,
    /// Who submitted the job, for the site's policy.
    pub author: String,
    /// The federated optimizer: a JSON object with its name.
    pub optimizer: Option<String>,
    /// How the update is to be compressed.
    pub compression: Option<Compression>,
    /// The job's parameters, a JSON object.
    pub parameters: String,
    /// Data sets it needs.
    pub datasets: Vec<String>,
    /// What it needs.
    pub resource: Resource,
    /// Its seed.
    pub seed: u64,
    /// Time the client has for it, in milliseconds.
    pub timeout_ms: u64,
}

/// From a coordinator to a client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum TaskCommand {
    /// Run it. For a task that is known: report again how it stands.
    Run(Box<TaskOrder>),
    /// It is not wanted any more.
    Cancel {
        /// The task.
        key: TaskKey,
    },
    /// Its report is safe with the server: forget it.
    Ack {
        /// The task.
        key: TaskKey,
    },
    /// Its result was turned down: forget it.
    Refuse {
        /// The task.
        key: TaskKey,
        /// The stable code.
        code: Code,
        /// The reason.
        reason: String,
    },
}

/// Asks a client for its tree of actors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObserveQuestion {
    /// How long its actors may take to answer.
    pub within_ms: u64,
}

/// A client's tree of actors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObserveAnswer {
    /// An `nsfl_actor::ActorView` as JSON, since roles tell of themselves in JSON.
    pub tree: String,
}

/// A payload that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Another version than this node speaks.
    #[error("message version {0}, this node speaks {VERSION}")]
    Version(u8),
    /// Not a message of the type expected.
    #[error("undecodable message")]
    Decode(#[from] bincode::error::DecodeError),
    /// Bytes after the message.
    #[error("{0} bytes after the message")]
    Trailing(usize),
}

/// A message cannot grow past what a frame carries.
const MAX_LEN: usize = 1 << 20;

/// The payload of a message.
#[must_use]
pub fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    let mut bytes = vec![VERSION as u8];
    bincode::serde::encode_into_std_write(message, &mut bytes, bincode::config::standard())
        .expect("writing these plain types to memory cannot fail");
    bytes
}

/// The message of a payload. Lengths are checked against what is there before anything is allocated.
///
/// # Errors
/// Another version, another type, or bytes left over.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, WireError> {
    let (version, body) = bytes.split_first().ok_or(WireError::Version(0))?;
    if u16::from(*version) != VERSION {
        return Err(WireError::Version(*version));
    }
    let config = bincode::config::standard().with_limit::<MAX_LEN>();
    let (message, read) = bincode::serde::decode_from_slice(body, config)?;
    if read == body.len() { Ok(message) } else { Err(WireError::Trailing(body.len() - read)) }
}

#[cfg(test)]
mod tests;
