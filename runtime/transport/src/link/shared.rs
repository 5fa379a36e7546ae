//! A link's shared half: takes the lock, lets the core decide, and does afterwards what must not happen under the lock.

use super::core::{After, Answer, Core, PeerTerms};
use super::wire::Connection;
use super::{Export, LinkError, LinkEvent, LinkStats};
use crate::limits::Limits;
use crate::proto::frame::Body;
use crate::proto::{Ask, Frame, Reply, Tell};
use crate::session::{Credit, Delivery};
use crate::{PeerId, Refusal};
use bytes::Bytes;
use nsfl_types::Code;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Longest trace context, bytes.
pub(super) const MAX_TRACE: usize = 128;

/// Told of each frame that was refused, outside the lock.
pub(crate) type Observer = Box<dyn Fn(&Refusal) + Send + Sync>;

pub(crate) struct Shared {
    core: Mutex<Core>,
    room: Notify,
    pub(super) attached: Notify,
    closed: CancellationToken,
    born: Instant,
    observer: Observer,
    /// On the server a link ends with its session.
    one_session: bool,
}

impl Shared {
    pub(crate) fn new(
        limits: Limits,
        own: Arc<[Export]>,
        one_session: bool,
        observer: Observer,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<LinkEvent>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let shared = Self {
            core: Mutex::new(Core::new(limits, own, sender)),
            room: Notify::new(),
            attached: Notify::new(),
            closed: CancellationToken::new(),
            born: Instant::now(),
            observer,
            one_session,
        };
        (Arc::new(shared), receiver)
    }

    /// A new connection begins and replaces the one before: what to say in its hello or welcome.
    pub(crate) fn open(&self) -> (Arc<Connection>, Credit, u64) {
        self.with(|core, after| {
            let (connection, credit) = core.open(after);
            (connection, credit, core.state.received())
        })
    }

    /// Whether a peer that last received this number can go on with the session.
    pub(crate) fn can_resume(&self, peer_received: u64) -> bool {
        let core = self.lock();
        core.live && core.state.can_resume(peer_received)
    }

    /// What the peer may address from now on.
    pub(crate) fn export(&self, own: Arc<[Export]>) {
        self.lock().own = own;
    }

    /// Whether there is a session to go on with.
    pub(crate) fn resumable(&self) -> bool {
        self.lock().live
    }

    /// The handshake on this connection is done. False when another has taken its place, or the session to resume has
    /// ended meanwhile.
    pub(crate) fn attach(&self, connection: &Connection, resumed_at: Option<u64>, terms: PeerTerms) -> bool {
        let done = self.with(|core, after| {
            let current = core.connection == connection.number && core.current.is_some();
            let fits = current && (core.live || resumed_at.is_none());
            if fits {
                core.attach(resumed_at, terms, after);
            }
            fits
        });
        self.attached.notify_one();
        done
    }

    /// This connection is gone; the session stays.
    pub(crate) fn disconnected(&self, connection: &Connection) {
        self.with(|core, after| {
            if core.connection == connection.number {
                core.end_connection(None, after);
            }
        });
    }

    /// The session is over.
    pub(crate) fn lose(&self, reason: &Refusal, tell_peer: bool) {
        self.with(|core, after| {
            core.lose(reason, tell_peer, after);
            if self.one_session {
                core.finish(after);
            }
        });
    }

    /// The link is over.
    pub(crate) fn close(&self, reason: &Refusal) {
        self.with(|core, after| {
            core.lose(reason, true, after);
            core.finish(after);
        });
    }

    /// The server refused this client.
    pub(crate) fn turned_away(&self, refusal: Refusal) {
        self.with(|core, after| {
            core.live = false;
            core.turned_away(refusal, after);
        });
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    pub(crate) fn closed(&self) -> &CancellationToken {
        &self.closed
    }

    pub(super) fn room(&self) -> Notified<'_> {
        self.room.notified()
    }

    pub(super) fn peer(&self) -> Option<PeerId> {
        self.lock().peer.clone()
    }

    pub(super) fn exports(&self) -> Arc<[Export]> {
        Arc::clone(&self.lock().exports)
    }

    pub(super) fn tell(
        &self,
        export: u16,
        payload: Bytes,
        delivery: Delivery,
        trace: Option<&str>,
    ) -> Result<(), LinkError> {
        let frame = framed(trace, Body::Tell(Tell { export: export.into(), payload }));
        self.with(|core, after| core.tell(frame, export, delivery, after))
    }

    pub(super) fn ask(
        self: &Arc<Self>,
        export: u16,
        payload: Bytes,
        timeout: Duration,
        trace: Option<&str>,
    ) -> Result<Asked, LinkError> {
        let timeout_ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
        let frame =
            |correlation| framed(trace, Body::Ask(Ask { export: export.into(), payload, correlation, timeout_ms }));
        let (id, receiver) = self.with(|core, after| core.ask(export, frame, after))?;
        Ok(Asked { shared: Arc::clone(self), id, receiver })
    }

    pub(super) fn reply(
        &self,
        connection: u64,
        correlation: u64,
        export: u16,
        payload: Bytes,
    ) -> Result<(), LinkError> {
        self.with(|core, after| {
            if core.connection != connection || !core.attached {
                return Err(LinkError::Down);
            }
            let len = payload.len();
            let frame = framed(None, Body::Reply(Reply { correlation, payload }));
            let queued = core.check_payload(len).and_then(|()| core.state.reply(frame).map_err(|_| LinkError::Full));
            match &queued {
                Ok(()) => core.wake(after),
                Err(e) => core.nack(correlation, export.into(), &Refusal::new(e.code(), e.to_string()), after),
            }
            queued
        })
    }

    pub(super) fn refuse(&self, connection: u64, correlation: u64, export: u16, refusal: &Refusal) {
        self.with(|core, after| {
            if core.connection == connection {
                core.nack(correlation, export.into(), refusal, after);
            }
        });
    }

    pub(super) fn commit(&self, session: u64, sequence: u64) {
        if sequence != 0 {
            self.with(|core, after| {
                if core.session == session {
                    core.state.commit(sequence);
                    core.wake(after);
                }
            });
        }
    }

    pub(super) fn release(&self, session: u64, sequence: u64, payload: usize) {
        self.with(|core, after| {
            if core.session != session {
                return;
            }
            core.state.release(payload);
            if sequence != 0 && core.live && !core.state.is_committed(sequence) {
                tracing::warn!(sequence, "at-least-once message dropped uncommitted, session ends");
                let reason = Refusal::new(Code::LinkLost, "a message was lost with its receiver");
                core.lose(&reason, true, after);
                if self.one_session {
                    core.finish(after);
                }
            } else {
                core.wake(after);
            }
        });
    }

    pub(super) fn stats(&self) -> LinkStats {
        let core = self.lock();
        let (outbox_messages, outbox_bytes) = core.state.outbox();
        let (queued_frames, queued_bytes) = core.state.queued();
        let (credit, held) = (core.state.credit(), core.state.held());
        LinkStats {
            connected: core.attached,
            outbox_messages: outbox_messages as u64,
            outbox_bytes: outbox_bytes as u64,
            queued_frames: (queued_frames + core.urgent.len()) as u64,
            queued_bytes: queued_bytes as u64,
            credit_messages: credit.messages,
            credit_bytes: credit.bytes,
            held_messages: held.messages,
            held_bytes: held.bytes,
            ..core.stats.clone()
        }
    }

    /// Microseconds of this link's own clock.
    pub(super) fn clock_us(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Runs under the lock, then wakes and tells whom it must.
    pub(super) fn with<T>(&self, change: impl FnOnce(&mut Core, &mut After) -> T) -> T {
        let mut after = After::default();
        let result = change(&mut self.lock(), &mut after);
        if let Some(waker) = after.waker.take() {
            waker.wake();
        }
        if after.closed {
            self.closed.cancel();
        }
        if after.room {
            self.room.notify_waiters();
        }
        for refusal in after.refused.drain(..) {
            (self.observer)(&refusal);
        }
        result
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question under way; dropped, it is forgotten.
pub(super) struct Asked {
    shared: Arc<Shared>,
    id: u64,
    receiver: oneshot::Receiver<Answer>,
}

impl Asked {
    pub(super) async fn answer(&mut self) -> Answer {
        (&mut self.receiver).await.unwrap_or(Err(LinkError::Down))
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        // Answered ones are gone already; only one given up has to be removed.
        if !self.receiver.is_terminated() {
            let forgotten = self.shared.lock().asks.remove(&self.id);
            drop(forgotten);
        }
    }
}

fn framed(trace: Option<&str>, body: Body) -> Frame {
    Frame { trace: trace.map(str::to_owned).unwrap_or_default(), body: Some(body), ..Frame::default() }
}
