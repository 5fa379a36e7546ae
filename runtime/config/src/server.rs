//! What a server's configuration holds, with every default. How it is found and layered: `load`.

use crate::checked::{self, Check, constant};
use crate::{Bytes, ConfigError, Count, Millis, Store, Telemetry, Tls, load};
use nsfl_telemetry::LogConfig;
use nsfl_types::Namespace;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A server. Required: `data_dir`, `tls`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// Name of the federation; the server's certificate must be of this one. Default `default`.
    #[serde(default = "federation", deserialize_with = "checked::name")]
    pub federation: String,
    /// Folder of everything this server keeps. Made when missing.
    #[serde(deserialize_with = "checked::path")]
    pub data_dir: PathBuf,
    /// Owners of jobs, each with a folder in storage. Default `["default"]`.
    #[serde(default = "namespaces", deserialize_with = "checked::distinct")]
    pub namespaces: Vec<Namespace>,
    /// Longest time from the signal to stop until the process ends. Default 10 s.
    #[serde(default = "shutdown_ms")]
    pub shutdown_ms: Millis,
    /// Links to the clients.
    #[serde(default, deserialize_with = "checked::section")]
    pub link: Link,
    /// The REST interface.
    #[serde(default, deserialize_with = "checked::section")]
    pub rest: Rest,
    /// Certificates of the links.
    pub tls: Tls,
    /// What bounds memory, disk and work.
    #[serde(default)]
    pub limits: Limits,
    /// How the stores write.
    #[serde(default)]
    pub store: Store,
    /// Logs, on standard error.
    #[serde(default)]
    pub log: LogConfig,
    /// Spans of rounds, to a collector.
    #[serde(default)]
    pub telemetry: Telemetry,
    /// Failed rounds.
    #[serde(default, deserialize_with = "checked::section")]
    pub rounds: Rounds,
    /// The record of who changed what.
    #[serde(default)]
    pub audit: Audit,
    /// Making the next model of updates.
    #[serde(default)]
    pub aggregation: Aggregation,
    /// Functions of jobs that run on the server.
    #[serde(default)]
    pub extender: Extender,
}

impl ServerConfig {
    /// Defaults, then `file`, then `NSFL_…` variables of this process, then `flags` (any serde map; null means not given).
    ///
    /// # Errors
    /// The file is unreadable, or the first value that cannot be accepted: where it stands, its key, what is allowed.
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
        load::extract(&load::layers(file, environment, flags)?)
    }

    /// The effective configuration as TOML. It holds paths of keys, no keys.
    #[must_use]
    pub fn describe(&self) -> String {
        load::describe(self)
    }
}

/// `[link]`: the server's end of the links.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Link {
    /// Address to listen on. Default `0.0.0.0:8443`.
    #[serde(deserialize_with = "checked::listen")]
    pub listen: SocketAddr,
    /// A silent link is pinged this often. Default 5 s.
    pub heartbeat_ms: Millis,
    /// Without a frame for this long a client gets no new tasks. Default 15 s.
    pub unreachable_ms: Millis,
    /// Without a frame for this long a session is over. Default 60 s.
    pub expiry_ms: Millis,
    /// Links at the same time; more are turned away. Default 1024.
    pub max_connections: Count,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 8443)),
            heartbeat_ms: constant!(Millis, 5_000),
            unreachable_ms: constant!(Millis, 15_000),
            expiry_ms: constant!(Millis, 60_000),
            max_connections: constant!(Count, 1_024),
        }
    }
}

impl Check for Link {
    fn check(&self) -> Result<(), String> {
        checked::rising(&[
            ("heartbeat_ms", self.heartbeat_ms),
            ("unreachable_ms", self.unreachable_ms),
            ("expiry_ms", self.expiry_ms),
        ])
    }
}

/// `[rest]`: the REST interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rest {
    /// Address to listen on. Default `127.0.0.1:8080`: this machine only.
    #[serde(deserialize_with = "checked::listen")]
    pub listen: SocketAddr,
    /// Whether requests from this machine need no token and may do everything; only with `listen` on loopback. Default false.
    pub loopback_without_token: bool,
    /// HTTPS instead of HTTP. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<RestTls>,
}

impl Default for Rest {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 8080)), loopback_without_token: false, tls: None }
    }
}

impl Check for Rest {
    fn check(&self) -> Result<(), String> {
        if self.loopback_without_token && !self.listen.ip().is_loopback() {
            let how = "loopback_without_token is for a server that only this machine can reach";
            return Err(format!(
                "{how}: set listen to 127.0.0.1:8080, or leave it out and use tokens (nsfl-ctl token)"
            ));
        }
        Ok(())
    }
}

/// `[rest.tls]`: PEM files, both required.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestTls {
    /// Certificate chain.
    #[serde(deserialize_with = "checked::path")]
    pub certificate: PathBuf,
    /// Private key.
    #[serde(deserialize_with = "checked::path")]
    pub key: PathBuf,
}

/// `[limits]`: what bounds memory, disk and work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Largest blob a client may send. Default 16 GiB.
    pub max_blob_bytes: Bytes,
    /// Uploads at the same time; others wait. Default 8.
    pub max_uploads: Count,
    /// Jobs that run at the same time; others stay queued. Default 4.
    pub max_running_jobs: Count,
    /// Longest wait for a place to upload; then the client is told to try again. Default 30 s.
    pub max_upload_wait_ms: Millis,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_blob_bytes: constant!(Bytes, 16 << 30),
            max_uploads: constant!(Count, 8),
            max_running_jobs: constant!(Count, 4),
            max_upload_wait_ms: constant!(Millis, 30_000),
        }
    }
}

/// `[rounds]`: how often and how soon a failed round is tried again. The wait doubles from base to max.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rounds {
    /// Tries of one round before the job fails. Default 5.
    pub retry_attempts: Count,
    /// Wait before the second try. Default 1 s.
    pub retry_base_ms: Millis,
    /// Longest wait between two tries. Default 60 s.
    pub retry_max_ms: Millis,
}

impl Default for Rounds {
    fn default() -> Self {
        Self {
            retry_attempts: constant!(Count, 5),
            retry_base_ms: constant!(Millis, 1_000),
            retry_max_ms: constant!(Millis, 60_000),
        }
    }
}

impl Check for Rounds {
    fn check(&self) -> Result<(), String> {
        checked::rising(&[("retry_base_ms", self.retry_base_ms), ("retry_max_ms", self.retry_max_ms)])
    }
}

/// `[audit]`: how long it is kept who changed what. What is beyond either goes within the hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Audit {
    /// Days a record is kept. Default 400.
    pub keep_days: Count,
    /// Records that are kept, the newest. Default 100,000.
    pub keep_records: Count,
}

impl Default for Audit {
    fn default() -> Self {
        Self { keep_days: constant!(Count, 400), keep_records: constant!(Count, 100_000) }
    }
}

/// `[aggregation]`: making the next model of a round's updates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Aggregation {
    /// Memory that one job may take for it beside the updates, which are read from their files. A round of more updates than
    /// fit fails with the bytes it needs. Default 256 MiB.
    pub memory_bytes: Bytes,
    /// The last rounds of each run whose updates are held after their sum, so that `nsfl-node replay` can make them again.
    /// They take disk until the job is removed. Default 0.
    pub keep_rounds: u32,
}

impl Default for Aggregation {
    fn default() -> Self {
        Self { memory_bytes: constant!(Bytes, 256 << 20), keep_rounds: 0 }
    }
}

/// `[extender]`: how the functions of a job's extender are run. They are code of whoever submits the job, run as the
/// server's own user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Extender {
    /// Whether jobs may have one. Default true.
    pub enabled: bool,
    /// The interpreter, 3.8 or later: a path, or a name looked up in `PATH`. Default `python3`.
    pub python: String,
    /// Time for a broadcast, or for all updates of a round together. Default 10 min.
    pub timeout_ms: Millis,
    /// Address space of its process. Default 8 GiB.
    pub memory_bytes: Bytes,
}

impl Default for Extender {
    fn default() -> Self {
        Self {
            enabled: true,
            python: "python3".to_owned(),
            timeout_ms: constant!(Millis, 600_000),
            memory_bytes: constant!(Bytes, 8 << 30),
        }
    }
}

fn federation() -> String {
    "default".to_owned()
}

fn namespaces() -> Vec<Namespace> {
    vec![Namespace::new("default").expect("letters only")]
}

fn shutdown_ms() -> Millis {
    constant!(Millis, 10_000)
}
