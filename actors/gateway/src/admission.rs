//! Who gets a link, and what may be addressed over it: a client of our federation, the registry and its own tasks.

use crate::hub::Hub;
use crate::session::{Session, SessionArgs};
use async_trait::async_trait;
use nsfl_actor::{Address, ChildSpec, Restart};
use nsfl_messages::wire::{EXPORT_REGISTRY, EXPORT_TASKS, VERSION};
use nsfl_transport::{Export, Link, LinkAcceptor, LinkEvents, PeerId, PeerRole, Refusal};
use nsfl_types::Code;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::Mutex;

/// Messages that may wait for a session.
const SESSION_MAILBOX: usize = 1024;

pub(crate) struct Admission {
    pub(crate) hub: Arc<Hub>,
}

#[async_trait]
impl LinkAcceptor for Admission {
    fn exports(&self, peer: &PeerId) -> Result<Vec<Export>, Refusal> {
        let ours = self.hub.config.server.credentials.identity();
        if peer.role != PeerRole::Client || peer.federation != ours.federation {
            let reason = format!("{peer} is not a client of federation {}", ours.federation);
            return Err(Refusal::new(Code::WrongIdentity, reason));
        }
        if self.hub.is_barred(&peer.name) {
            let reason = format!("an operator has removed {}; `nsfl-ctl uncordon client` lets it in again", peer.name);
            return Err(Refusal::new(Code::NotAllowed, reason));
        }
        let export = |index, name: &str| Export { index, name: name.to_owned(), version: VERSION };
        Ok(vec![export(EXPORT_REGISTRY, "registry"), export(EXPORT_TASKS, "tasks")])
    }

    /// A newer session of a client replaces the older one.
    async fn opened(&self, peer: PeerId, link: Link, events: LinkEvents) {
        let (client, name) = (peer.name.clone(), peer.name.to_string());
        let address = Address::new(format!("gateway/sessions/{client}"), SESSION_MAILBOX);
        let args = SessionArgs {
            hub: Arc::clone(&self.hub),
            client: client.clone(),
            session: self.hub.next_session(),
            link,
            events: Arc::new(Mutex::new(events)),
        };
        // fails when there is none, as is usual
        let _ = self.hub.supervisor.stop_child(&name).await;
        let child = ChildSpec::role::<Session>(name, &address, args, Restart::Temporary);
        if let Err(failure) = self.hub.supervisor.start_child(child).await {
            // the link closes with its events; the client dials again
            tracing::warn!(%client, %failure, "session not started");
        }
    }

    fn refused(&self, peer: Option<&PeerId>, remote: SocketAddr, code: Code, detail: &str) {
        if let Some(count) = self.hub.counters.refused(code) {
            let peer = peer.map_or_else(|| "unknown".to_owned(), ToString::to_string);
            tracing::warn!(peer, %remote, %code, detail, count, "peer refused");
        }
    }
}
