//! To the client selector: who is there, and who shall take part in a round.

use crate::wire::{ClientInfo, ClientLoad};
use nsfl_actor::Reply;
use nsfl_types::{ClientId, JobSpec, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The clients a round asks for.
#[derive(Debug, Clone)]
pub struct SelectRequest {
    /// The job with its conditions.
    pub spec: Arc<JobSpec>,
    /// How many at most.
    pub count: u32,
    /// Not these: they have other work for the job.
    pub except: BTreeSet<ClientId>,
    /// Clients this job has used.
    pub used: BTreeSet<ClientId>,
    /// Decides ties and random selection.
    pub seed: u64,
}

/// Who was selected, and why the others were not.
#[derive(Debug, Clone, Default)]
pub struct Cohort {
    /// The selected clients, best first.
    pub clients: Vec<ClientId>,
    /// Clients that do not fit, each with the reason.
    pub left_out: Vec<(ClientId, String)>,
}

/// A client as people see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClientView {
    /// What it reported when it registered.
    pub info: ClientInfo,
    /// Its last heartbeat's load.
    pub load: ClientLoad,
    /// `online`, or `lost` while its link is down within the grace period.
    pub state: String,
    /// Since when it has been registered.
    pub registered: Timestamp,
    /// Its last sign of life.
    pub last_seen: Timestamp,
    /// Whether an operator keeps new tasks away from it.
    pub cordoned: bool,
}

/// To the client selector.
#[derive(Debug)]
pub enum SelectorMsg {
    /// A client is there, over the link session `session`.
    Register {
        /// What it offers.
        info: ClientInfo,
        /// Its session; news of an older one is ignored.
        session: u64,
    },
    /// A sign of life.
    Heartbeat {
        /// Who.
        client: ClientId,
        /// Its session.
        session: u64,
        /// What it is doing.
        load: ClientLoad,
    },
    /// Its link ended.
    Lost {
        /// Who.
        client: ClientId,
        /// Its session.
        session: u64,
    },
    /// Select a cohort. Asking reserves nothing.
    Select {
        /// What is asked for.
        request: SelectRequest,
        /// The cohort.
        reply: Reply<Cohort>,
    },
    /// Every known client, by id.
    List {
        /// The clients.
        reply: Reply<Vec<ClientView>>,
    },
    /// Give a client no new tasks from now on, or again.
    Cordon {
        /// Whom.
        client: ClientId,
        /// None.
        cordoned: bool,
    },
    /// A client was removed: forget it now.
    Forget {
        /// Whom.
        client: ClientId,
    },
    /// Look for expired clients.
    Tick,
}
