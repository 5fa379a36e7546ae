//! How the gateway and its sessions stand together, and what they are configured with.

use crate::gateway::Gateway;
use crate::hub::Hub;
use nsfl_actor::{Address, ChildSpec, Directory, GiveUp, Restart, Supervisor, SupervisorSpec};
use nsfl_messages::{CoordinatorMsg, GatewayMsg, SelectorMsg};
use nsfl_store::{AccessStore, BlobStore};
use nsfl_transport::{Carrier, ServerConfig};
use nsfl_types::JobKey;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// What the gateway is configured with.
#[derive(Clone)]
pub struct GatewayConfig {
    /// Where and how it listens. Clients of its certificate's federation are admitted.
    pub server: ServerConfig,
    /// Models for clients, results of clients.
    pub blobs: Arc<dyn BlobStore>,
    /// Which clients operators have removed, read at each start.
    pub access: Arc<dyn AccessStore>,
    /// Told which clients are there.
    pub selector: Address<SelectorMsg>,
    /// The coordinators of running jobs.
    pub coordinators: Directory<JobKey, CoordinatorMsg>,
    /// Largest update a client may send, in bytes.
    pub max_update_bytes: u64,
    /// Updates written at once.
    pub uploads: usize,
    /// How long a client waits for its turn before it is told to try again.
    pub upload_wait: Duration,
    /// What carries links and blobs; gRPC over TCP when `None`.
    pub carrier: Option<Arc<dyn Carrier>>,
    /// Carries the address listened on, for port 0; `None` while nothing listens.
    pub local: Arc<watch::Sender<Option<SocketAddr>>>,
}

/// The gateway's tree, to be started or placed under another: the gateway at `address`, and its sessions.
#[must_use]
pub fn gateway_tree(config: GatewayConfig, address: &Address<GatewayMsg>) -> SupervisorSpec {
    let handle = Supervisor::unbound("gateway/sessions");
    let hub = Arc::new(Hub::new(config, handle.clone()));
    // a session that fails is one client that dials again
    let sessions = SupervisorSpec::new("sessions").bind(&handle).give_up(GiveUp::Drop);
    SupervisorSpec::new("gateway").child(ChildSpec::supervisor(sessions, Restart::Permanent)).child(ChildSpec::role::<
        Gateway,
    >(
        "gateway",
        address,
        hub,
        Restart::Permanent,
    ))
}
