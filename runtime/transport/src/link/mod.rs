//! A link: one session with a peer, seen by the actors on this side. It outlives connections; sending never waits for the
//! network and never queues without bound.

mod core;
mod incoming;
mod keeper;
mod shared;
mod wire;

pub(crate) use core::PeerTerms;
pub use incoming::{Incoming, Replier};
pub(crate) use keeper::keep;
pub(crate) use shared::{Observer, Shared};
pub(crate) use wire::{Connection, Outgoing, read};

use crate::session::Delivery;
use crate::{PeerId, Refusal};
use bytes::Bytes;
use nsfl_types::Code;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// An actor a peer may address on this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Export {
    /// How frames name it.
    pub index: u16,
    /// Its name, such as `coordinator`.
    pub name: String,
    /// Version of the message protocol it speaks.
    pub version: u16,
}

/// Why a message was not sent, or a question not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// No credit, or the outbox is full: try later.
    #[error("the link is full")]
    Full,
    /// There is no connection now (at most once, asks), no session yet, or the link is closed.
    #[error("the link is down")]
    Down,
    /// The payload is larger than the peer takes.
    #[error("a payload of {len} bytes is above the limit of {max}")]
    TooLarge {
        /// Its length, bytes.
        len: usize,
        /// The limit, bytes.
        max: usize,
    },
    /// The peer does not export an actor with this index to this node.
    #[error("the peer exports nothing with index {0}")]
    NotExported(u16),
    /// The answer did not come in time.
    #[error("no answer in time")]
    Timeout,
    /// The peer refused the question.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl LinkError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            LinkError::Full => Code::Busy,
            LinkError::Down => Code::LinkLost,
            LinkError::TooLarge { .. } => Code::TooLarge,
            LinkError::NotExported(_) => Code::NotAddressable,
            LinkError::Timeout => Code::Timeout,
            LinkError::Refused(refusal) => refusal.code,
        }
    }
}

/// What happens on a link, in order.
#[derive(Debug)]
pub enum LinkEvent {
    /// Connected. Resumed: the session goes on, nothing at-least-once was lost. Not resumed: a new session; what was not
    /// acked in the one before is gone and must be reconciled.
    Up {
        /// Whether the session before goes on.
        resumed: bool,
    },
    /// A message for an actor on this node.
    Message(Incoming),
    /// Nothing was heard for a while. The session may still be resumed.
    Unreachable,
    /// The session is over, or the server refuses this client. On the server the link ends with it; a client goes on dialling.
    Down {
        /// Why.
        reason: Refusal,
    },
}

/// How a link is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkStats {
    /// Whether there is a connection now.
    pub connected: bool,
    /// Last round trip, microseconds; 0 before the first.
    pub rtt_us: u64,
    /// Frames received.
    pub frames_in: u64,
    /// Frames sent.
    pub frames_out: u64,
    /// Payload bytes received.
    pub bytes_in: u64,
    /// Payload bytes sent.
    pub bytes_out: u64,
    /// Connections after the first.
    pub reconnects: u64,
    /// Sessions after the first.
    pub sessions_lost: u64,
    /// Messages received again and dropped.
    pub duplicates: u64,
    /// Messages of ours that the peer refused, and of the peer's that we refused.
    pub refused: u64,
    /// At-least-once messages not yet committed by the peer.
    pub outbox_messages: u64,
    /// Their payload bytes.
    pub outbox_bytes: u64,
    /// Frames waiting to be written.
    pub queued_frames: u64,
    /// Their payload bytes.
    pub queued_bytes: u64,
    /// Messages the peer would still take.
    pub credit_messages: u32,
    /// Their payload bytes.
    pub credit_bytes: u32,
    /// Messages received that their actors have not let go of.
    pub held_messages: u32,
    /// Their payload bytes.
    pub held_bytes: u32,
}

/// The sending end. Clones share the session.
#[derive(Clone)]
pub struct Link {
    shared: Arc<Shared>,
    trace: Option<Arc<str>>,
}

impl Link {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, trace: None }
    }

    /// The same link, with this W3C traceparent on what is sent through it. One longer than 128 bytes is left out.
    #[must_use]
    pub fn traced(&self, traceparent: &str) -> Self {
        let trace = (traceparent.len() <= shared::MAX_TRACE).then(|| traceparent.into());
        Self { shared: Arc::clone(&self.shared), trace }
    }

    /// Sends without waiting.
    ///
    /// # Errors
    /// `Full`, `Down`, `TooLarge`, `NotExported`. Before the first connection everything is `Down`; later, without a
    /// connection, only what is at most once.
    pub fn try_send(&self, export: u16, payload: Bytes, delivery: Delivery) -> Result<(), LinkError> {
        self.shared.tell(export, payload, delivery, self.trace.as_deref())
    }

    /// Sends, waiting up to `timeout` while the link is full or down.
    ///
    /// # Errors
    /// Those of [`Link::try_send`]; at the end of the time the last one.
    pub async fn send(
        &self,
        export: u16,
        payload: Bytes,
        delivery: Delivery,
        timeout: Duration,
    ) -> Result<(), LinkError> {
        let deadline = Instant::now() + timeout;
        self.when_room(deadline, || self.try_send(export, payload.clone(), delivery)).await
    }

    /// Asks and waits up to `timeout` for the answer. At most once: a cut answers `Down`.
    ///
    /// # Errors
    /// Those of [`Link::send`], `Timeout`, and `Refused` with the peer's reason.
    pub async fn ask(&self, export: u16, payload: Bytes, timeout: Duration) -> Result<Bytes, LinkError> {
        let deadline = Instant::now() + timeout;
        let begin = || self.shared.ask(export, payload.clone(), timeout, self.trace.as_deref());
        let mut asked = self.when_room(deadline, begin).await?;
        match tokio::time::timeout_at(deadline, asked.answer()).await {
            Ok(answer) => answer,
            Err(_) => Err(LinkError::Timeout),
        }
    }

    /// Ends the session; the peer is told. Nothing can be sent afterwards.
    pub fn close(&self, reason: &Refusal) {
        self.shared.close(reason);
    }

    /// Who is at the other end; a client knows after its first connection.
    #[must_use]
    pub fn peer(&self) -> Option<PeerId> {
        self.shared.peer()
    }

    /// What the peer exports to this node in the current session.
    #[must_use]
    pub fn exports(&self) -> Arc<[Export]> {
        self.shared.exports()
    }

    /// How the link is doing.
    #[must_use]
    pub fn stats(&self) -> LinkStats {
        self.shared.stats()
    }

    async fn when_room<T>(
        &self,
        deadline: Instant,
        attempt: impl Fn() -> Result<T, LinkError>,
    ) -> Result<T, LinkError> {
        loop {
            let error = match attempt() {
                Err(error @ (LinkError::Full | LinkError::Down)) if !self.shared.is_closed() => error,
                done => return done,
            };
            // Registered before the second try: room made in between is not missed.
            let room = self.shared.room();
            tokio::pin!(room);
            room.as_mut().enable();
            match attempt() {
                Err(LinkError::Full | LinkError::Down) if !self.shared.is_closed() => {}
                done => return done,
            }
            if tokio::time::timeout_at(deadline, room).await.is_err() {
                return Err(error);
            }
        }
    }
}

/// The receiving end. Dropping it closes the link.
pub struct LinkEvents {
    receiver: mpsc::UnboundedReceiver<LinkEvent>,
    shared: Arc<Shared>,
}

impl LinkEvents {
    pub(crate) fn new(receiver: mpsc::UnboundedReceiver<LinkEvent>, shared: Arc<Shared>) -> Self {
        Self { receiver, shared }
    }

    /// The next event; `None` when the link is closed for good. Messages waiting here are bounded by the credit given.
    pub async fn recv(&mut self) -> Option<LinkEvent> {
        self.receiver.recv().await
    }
}

impl Drop for LinkEvents {
    fn drop(&mut self) {
        self.shared.close(&Refusal::new(Code::LinkLost, "nobody receives"));
    }
}
