//! What a client's configuration holds, with every default. Not its identity: that is in the certificate.

use crate::checked::{self, Check, constant};
use crate::{
    Bytes, ConfigError, Count, Millis, Runtimes, Sandbox, Scripts, ServerAddress, Store, Telemetry, Tls, datasets, load,
};
use nsfl_telemetry::LogConfig;
use nsfl_types::Runtime;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A client. Required: `server`, `data_dir`, `tls`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientConfig {
    /// The server's links, `host:port`.
    pub server: ServerAddress,
    /// Folder of everything this client keeps. Made when missing.
    #[serde(deserialize_with = "checked::path")]
    pub data_dir: PathBuf,
    /// Free text that jobs may select by. Default empty.
    #[serde(default)]
    pub label: String,
    /// Tasks at the same time. Default 1.
    #[serde(default = "max_tasks")]
    pub max_tasks: Count,
    /// What this client can train with. Default `["builtin"]`.
    #[serde(default = "runtimes", deserialize_with = "checked::distinct")]
    pub runtimes: Vec<Runtime>,
    /// State and resources are reported this often. Default 5 s.
    #[serde(default = "heartbeat_ms")]
    pub heartbeat_ms: Millis,
    /// Longest time from the signal to stop until the process ends. Default 10 s.
    #[serde(default = "shutdown_ms")]
    pub shutdown_ms: Millis,
    /// Data set name to local path; in the file also the path of a JSON file that holds such a map. Default none.
    #[serde(default, deserialize_with = "datasets::anchored")]
    pub datasets: BTreeMap<String, PathBuf>,
    /// Task name (`task_entry` of a job) to the path of its task configuration. Default none.
    #[serde(default, deserialize_with = "datasets::anchored")]
    pub tasks: BTreeMap<String, PathBuf>,
    /// Tasks that run a script.
    #[serde(default, deserialize_with = "checked::section")]
    pub scripts: Scripts,
    /// What scripts see of the machine.
    #[serde(default)]
    pub sandbox: Sandbox,
    /// The site's policy, a file of its own; read again for each task. Default none: the server may ask for anything.
    #[serde(default, deserialize_with = "checked::optional_path", skip_serializing_if = "Option::is_none")]
    pub policy: Option<PathBuf>,
    /// Trainers that are programs of their own.
    #[serde(default)]
    pub runtime: Runtimes,
    /// What tasks may use together.
    #[serde(default)]
    pub resource: ResourceLimits,
    /// Certificates of the link.
    pub tls: Tls,
    /// The link to the server.
    #[serde(default, deserialize_with = "checked::section")]
    pub link: ClientLink,
    /// What bounds disk.
    #[serde(default)]
    pub limits: ClientLimits,
    /// How the stores write.
    #[serde(default)]
    pub store: Store,
    /// Logs, on standard error.
    #[serde(default)]
    pub log: LogConfig,
    /// Spans of rounds, to a collector.
    #[serde(default)]
    pub telemetry: Telemetry,
    /// What the server's operators may see.
    #[serde(default)]
    pub console: Console,
}

impl ClientConfig {
    /// Defaults, then `file`, then `NSFL_…` variables of this process, then `flags` (any serde map; null means not given).
    ///
    /// # Errors
    /// A file is unreadable, or the first value that cannot be accepted: where it stands, its key, what is allowed.
    pub fn load(file: Option<&Path>, flags: impl Serialize) -> Result<Self, ConfigError> {
        Self::load_with(file, load::process_environment(), flags)
    }

    /// As `load`, with these environment variables instead of the process's.
    ///
    /// # Errors
    /// As `load`.
    pub fn load_with(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: impl Serialize,
    ) -> Result<Self, ConfigError> {
        load::extract(&datasets::inlined(load::layers(file, environment, flags)?)?)
    }

    /// The effective configuration as TOML. It holds paths of keys, no keys.
    #[must_use]
    pub fn describe(&self) -> String {
        load::describe(self)
    }
}

/// `[resource]`: what this client offers to all its tasks together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ResourceLimits {
    /// CPU cores. Default 1.0.
    #[serde(deserialize_with = "checked::amount")]
    pub cpu: f64,
    /// GPUs. Default 0.0.
    #[serde(deserialize_with = "checked::amount")]
    pub gpu: f64,
    /// Memory in MB. Default 1000.0.
    #[serde(deserialize_with = "checked::amount")]
    pub memory_mb: f64,
    /// Workers of one task, each a process of its script. Default 64.
    pub worker_num: Count,
}

impl Default for ResourceLimits {
    fn default() -> Self {
        Self { cpu: 1.0, gpu: 0.0, memory_mb: 1000.0, worker_num: constant!(Count, 64) }
    }
}

/// `[link]`: the client's end of the link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientLink {
    /// Longest time one try to connect may take, TLS and greeting each. Default 10 s.
    pub connect_timeout_ms: Millis,
    /// Wait before the second try to connect; it doubles, with jitter. Default 200 ms.
    pub retry_base_ms: Millis,
    /// Longest wait between two tries. The client never gives up. Default 30 s.
    pub retry_max_ms: Millis,
}

impl Default for ClientLink {
    fn default() -> Self {
        Self {
            connect_timeout_ms: constant!(Millis, 10_000),
            retry_base_ms: constant!(Millis, 200),
            retry_max_ms: constant!(Millis, 30_000),
        }
    }
}

impl Check for ClientLink {
    fn check(&self) -> Result<(), String> {
        checked::rising(&[("retry_base_ms", self.retry_base_ms), ("retry_max_ms", self.retry_max_ms)])
    }
}

/// `[console]`: what the server's operators may see of this client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Console {
    /// Whether they may look at its actors: states, mailboxes, errors, names of tasks. Default false.
    pub observe: bool,
}

/// `[limits]`: what bounds disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientLimits {
    /// Largest model this client fetches. Default 16 GiB.
    pub max_blob_bytes: Bytes,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self { max_blob_bytes: constant!(Bytes, 16 << 30) }
    }
}

fn max_tasks() -> Count {
    constant!(Count, 1)
}

fn runtimes() -> Vec<Runtime> {
    vec![Runtime::Builtin]
}

fn heartbeat_ms() -> Millis {
    constant!(Millis, 5_000)
}

fn shutdown_ms() -> Millis {
    constant!(Millis, 10_000)
}
