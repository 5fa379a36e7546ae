//! What gateway, sessions, admission and blob service share. It outlives each of them.

use crate::access::Access;
use crate::counters::Counters;
use crate::session::SessionMsg;
use crate::tree::GatewayConfig;
use crate::uploads::Uploads;
use nsfl_actor::{Directory, Supervisor};
use nsfl_messages::wire::TaskCommand;
use nsfl_store::Owner;
use nsfl_transport::Link;
use nsfl_types::{ClientId, Code, Digest, TaskKey};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

pub(crate) struct Hub {
    pub(crate) config: GatewayConfig,
    /// Supervises the sessions.
    pub(crate) supervisor: Supervisor,
    /// The session of each client that has a link.
    pub(crate) sessions: Directory<ClientId, SessionMsg>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) uploads: Uploads,
    /// The link of each client that has a session, with the session's number.
    links: Mutex<BTreeMap<ClientId, (u64, Link)>>,
    /// Clients that are turned away.
    barred: Mutex<BTreeSet<ClientId>>,
    access: Mutex<Access>,
    last_session: AtomicU64,
}

impl Hub {
    pub(crate) fn new(config: GatewayConfig, supervisor: Supervisor) -> Self {
        Self {
            uploads: Uploads::new(config.uploads, config.upload_wait),
            config,
            supervisor,
            sessions: Directory::new(),
            counters: Arc::default(),
            links: Mutex::default(),
            barred: Mutex::default(),
            access: Mutex::default(),
            last_session: AtomicU64::new(0),
        }
    }

    /// Numbers sessions in the order they open.
    pub(crate) fn next_session(&self) -> u64 {
        self.last_session.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn access(&self) -> MutexGuard<'_, Access> {
        self.access.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session has opened.
    pub(crate) fn linked(&self, client: &ClientId, session: u64, link: &Link) {
        lock(&self.links).insert(client.clone(), (session, link.clone()));
    }

    /// It has ended; a newer one of its client has not.
    pub(crate) fn unlinked(&self, client: &ClientId, session: u64) {
        let mut links = lock(&self.links);
        if links.get(client).is_some_and(|(of, _)| *of == session) {
            links.remove(client);
        }
    }

    pub(crate) fn link(&self, client: &ClientId) -> Option<Link> {
        lock(&self.links).get(client).map(|(_, link)| link.clone())
    }

    /// Every link, by client.
    pub(crate) fn links(&self) -> Vec<(ClientId, u64, Link)> {
        let links = lock(&self.links);
        links.iter().map(|(client, (session, link))| (client.clone(), *session, link.clone())).collect()
    }

    pub(crate) fn bar(&self, client: ClientId, barred: bool) {
        let mut all = lock(&self.barred);
        _ = if barred { all.insert(client) } else { all.remove(&client) };
    }

    pub(crate) fn is_barred(&self, client: &ClientId) -> bool {
        lock(&self.barred).contains(client)
    }

    /// Before a command goes out: opens or closes what its client may do. Holds with and without a link.
    pub(crate) async fn settle(&self, command: &TaskCommand) {
        let released = match command {
            TaskCommand::Run(order) => {
                let timeout = Duration::from_millis(order.timeout_ms);
                self.access().open(Instant::now(), order.key.clone(), order.blobs(), timeout)
            }
            TaskCommand::Cancel { key } | TaskCommand::Ack { key } | TaskCommand::Refuse { key, .. } => {
                self.access().close(key)
            }
        };
        self.release(command.key(), released).await;
    }

    /// What a client has written and nobody needs on its account any more. A failure costs disk space, not the job.
    async fn release(&self, key: &TaskKey, digests: Vec<Digest>) {
        let owner = uploads_of(&key.client);
        for digest in digests {
            if let Err(error) = self.config.blobs.release(digest, &owner).await {
                tracing::warn!(client = %key.client, %digest, %error, "upload not released");
            }
        }
    }

    /// Counts what a client may not do, and logs it as often as is bearable.
    pub(crate) fn refuse(&self, client: &ClientId, code: Code, detail: &str) {
        if let Some(count) = self.counters.refused(code) {
            tracing::warn!(%client, %code, detail, count, "message refused");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Who owns what a client has written.
pub(crate) fn uploads_of(client: &ClientId) -> Owner {
    Owner::new(format!("uploads/{client}")).expect("a client's id is a valid part of an owner")
}
