//! The live sessions, one an identity: which connection resumes one, replaces one, or is turned away.

use crate::handshake::{agree, check_claim, credit_proto, exports_proto, milliseconds, terms};
use crate::limits::{Limits, Liveness};
use crate::link::{Connection, Export, LinkEvent, Observer, Shared, keep};
use crate::proto::{Hello, Welcome};
use crate::{PeerId, Refusal};
use nsfl_types::Code;
use rand::Rng;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

const TOKEN_BYTES: usize = 16;

pub(super) struct Sessions {
    limits: Limits,
    liveness: Liveness,
    live: Mutex<BTreeMap<PeerId, Entry>>,
}

struct Entry {
    shared: Arc<Shared>,
    session: u64,
    token: [u8; TOKEN_BYTES],
    /// Incarnation and dial of the newest connection.
    newest: (u64, u64),
}

/// A connection let in.
pub(super) struct Admitted {
    pub(super) shared: Arc<Shared>,
    pub(super) connection: Arc<Connection>,
    pub(super) welcome: Welcome,
    /// Of a new session: its events.
    pub(super) opened: Option<mpsc::UnboundedReceiver<LinkEvent>>,
}

impl Sessions {
    pub(super) fn new(limits: Limits, liveness: Liveness) -> Self {
        Self { limits, liveness, live: Mutex::default() }
    }

    /// Resumes, replaces or begins a session.
    pub(super) fn admit(
        self: &Arc<Self>,
        peer: &PeerId,
        hello: Hello,
        exports: Vec<Export>,
        observer: Observer,
    ) -> Result<Admitted, Refusal> {
        let version = agree(&hello)?;
        check_claim(&hello, peer)?;
        let newest = (hello.incarnation, hello.dial);
        let peer_terms = terms(peer.clone(), hello.exports, hello.credit, self.liveness)?;

        let mut live = self.lock();
        let mut resumed_at = None;
        if let Some(entry) = live.get_mut(peer).filter(|entry| !entry.shared.is_closed()) {
            // The token is looked up under the certificate's identity: another's token opens nothing.
            let same = entry.session == hello.session && entry.token[..] == hello.token[..];
            if newest <= entry.newest {
                return Err(Refusal::new(Code::Stale, "a newer connection of this identity is open"));
            }
            if same && entry.newest.0 == hello.incarnation && entry.shared.can_resume(hello.received) {
                resumed_at = Some(hello.received);
                entry.shared.export(exports.clone().into());
                entry.newest = newest;
            } else {
                entry.shared.lose(&Refusal::new(Code::Stale, "replaced by a newer connection"), true);
                live.remove(peer);
            }
        }
        let mut opened = None;
        if resumed_at.is_none() {
            let (shared, receiver) = Shared::new(self.limits, exports.clone().into(), true, observer);
            opened = Some(receiver);
            let (session, token) = fresh();
            live.insert(peer.clone(), Entry { shared, session, token, newest });
        }
        let entry = &live[peer];
        let shared = Arc::clone(&entry.shared);
        if opened.is_some() {
            self.forget_when_closed(peer.clone(), entry.session, Arc::clone(&shared));
        }
        let (connection, credit, received) = shared.open();
        let welcome = Welcome {
            version,
            session: entry.session,
            token: entry.token.to_vec().into(),
            resumed: resumed_at.is_some(),
            received,
            credit: Some(credit_proto(credit, &self.limits)),
            exports: exports_proto(&exports),
            heartbeat_ms: milliseconds(self.liveness.heartbeat),
            unreachable_ms: milliseconds(self.liveness.unreachable),
            ttl_ms: milliseconds(self.liveness.ttl),
        };
        shared.attach(&connection, resumed_at, peer_terms);
        Ok(Admitted { shared, connection, welcome, opened })
    }

    pub(super) fn close_all(&self, reason: &Refusal) {
        let all: Vec<_> = self.lock().values().map(|entry| Arc::clone(&entry.shared)).collect();
        all.iter().for_each(|shared| shared.lose(reason, true));
    }

    fn forget_when_closed(self: &Arc<Self>, peer: PeerId, session: u64, shared: Arc<Shared>) {
        let sessions = Arc::clone(self);
        tokio::spawn(async move {
            keep(shared).await;
            let mut live = sessions.lock();
            if live.get(&peer).is_some_and(|entry| entry.session == session) {
                live.remove(&peer);
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PeerId, Entry>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session id that is not 0, and a token.
fn fresh() -> (u64, [u8; TOKEN_BYTES]) {
    let mut rng = rand::rng();
    let mut token = [0; TOKEN_BYTES];
    rng.fill_bytes(&mut token);
    (rng.next_u64().max(1), token)
}
