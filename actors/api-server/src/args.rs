//! What an api-server is given by the composition root.

use crate::AuditKept;
use bytes::Bytes;
use nsfl_actor::{Address, Directory, Supervisor};
use nsfl_messages::{CoordinatorMsg, GatewayMsg, LiveEvent, SchedulerMsg, SelectorMsg};
use nsfl_store::{AccessStore, JobStore};
use nsfl_telemetry::LogTail;
use nsfl_types::{JobKey, Namespace, Refusal};
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc};

/// Takes a backup of the server's state: what it is, is the composition root's business.
pub type Backup = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<BackupStream, Refusal>> + Send>> + Send + Sync>;

/// A backup's bytes as they are read. One that ends with an error is not whole.
#[derive(Debug)]
pub struct BackupStream(pub mpsc::Receiver<io::Result<Bytes>>);

/// Certificate and key of the REST interface, PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The server's certificate, then those of the authorities between it and the root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What one request may cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Largest job document, in bytes.
    pub document_bytes: usize,
    /// Largest uploaded file, in bytes.
    pub file_bytes: u64,
    /// How long an actor may take to answer.
    pub answer_within: Duration,
    /// Silence on an event stream after which a comment is sent, so that a dead connection is noticed.
    pub keep_alive: Duration,
}

impl Default for Limits {
    /// 1 MiB, 16 GiB, 10 s, 15 s.
    fn default() -> Self {
        Self {
            document_bytes: 1 << 20,
            file_bytes: 16 << 30,
            answer_within: Duration::from_secs(10),
            keep_alive: Duration::from_secs(15),
        }
    }
}

/// The arguments of an [`crate::ApiServer`].
#[derive(Clone)]
pub struct ApiServerArgs {
    /// Where to listen. Port 0 takes a free one; the view's `detail.address` names it.
    pub listen: SocketAddr,
    /// HTTPS with this certificate; plain HTTP without.
    pub tls: Option<Tls>,
    /// Who knows jobs.
    pub scheduler: Address<SchedulerMsg>,
    /// Who knows clients.
    pub selector: Address<SelectorMsg>,
    /// Who knows the run of a job.
    pub coordinators: Directory<JobKey, CoordinatorMsg>,
    /// Rounds, members, events; only read.
    pub store: Arc<dyn JobStore>,
    /// What is worth watching and not stored.
    pub live: broadcast::Sender<LiveEvent>,
    /// The links.
    pub gateway: Address<GatewayMsg>,
    /// The tree of actors.
    pub root: Supervisor,
    /// Tokens, the audit log, marks on clients.
    pub access: Arc<dyn AccessStore>,
    /// How much of the audit log is kept.
    pub audit: AuditKept,
    /// Whether requests from this machine need no token.
    pub loopback_without_token: bool,
    /// The last lines of this process's log.
    pub logs: LogTail,
    /// Takes a backup.
    pub backup: Backup,
    /// Folder with a folder a namespace.
    pub storage: PathBuf,
    /// The namespaces there are.
    pub namespaces: Vec<Namespace>,
    /// What one request may cost.
    pub limits: Limits,
}

impl fmt::Debug for ApiServerArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiServerArgs").field("listen", &self.listen).field("tls", &self.tls).finish_non_exhaustive()
    }
}
