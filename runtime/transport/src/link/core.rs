//! What a link's lock protects, and every change of it. Events, wakers and senders whose drop could come back here are
//! handed out in [`After`] and dropped once the lock is free.

use super::wire::Connection;
use super::{Export, LinkError, LinkEvent, LinkStats};
use crate::limits::{Limits, Liveness};
use crate::proto::frame::Body;
use crate::proto::{Frame, GoAway, Nack, Ping, Pong};
use crate::session::{Credit, Delivery, State, payload_len};
use crate::{PeerId, Refusal};
use bytes::Bytes;
use nsfl_types::Code;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// Small frames of our own (pings, pongs, nacks) kept for a peer that does not read.
const MAX_URGENT: usize = 64;

pub(super) type Answer = Result<Bytes, LinkError>;

/// What is done once the lock is free.
#[derive(Default)]
pub(super) struct After {
    pub(super) waker: Option<Waker>,
    pub(super) room: bool,
    pub(super) closed: bool,
    pub(super) refused: Vec<Refusal>,
    rejected: Vec<LinkEvent>,
    sender: Option<mpsc::UnboundedSender<LinkEvent>>,
}

/// What the peer said in its hello or welcome.
pub(crate) struct PeerTerms {
    pub(crate) peer: PeerId,
    pub(crate) exports: Arc<[Export]>,
    pub(crate) credit: Credit,
    pub(crate) payload_bytes: usize,
    pub(crate) liveness: Liveness,
}

pub(super) struct Core {
    pub(super) state: State,
    pub(super) limits: Limits,
    pub(super) own: Arc<[Export]>,
    pub(super) events: Option<mpsc::UnboundedSender<LinkEvent>>,
    pub(super) peer: Option<PeerId>,
    pub(super) exports: Arc<[Export]>,
    pub(super) liveness: Liveness,
    payload_bytes: usize,
    /// Counts sessions: what belongs to an older one is ignored.
    pub(super) session: u64,
    pub(super) live: bool,
    pub(super) connection: u64,
    pub(super) current: Option<Arc<Connection>>,
    pub(super) attached: bool,
    attached_before: bool,
    pub(super) asks: HashMap<u64, oneshot::Sender<Answer>>,
    next_ask: u64,
    pub(super) urgent: VecDeque<Frame>,
    pub(super) writer: Option<Waker>,
    pub(super) heard: Instant,
    pub(super) pinged: Instant,
    pub(super) unreachable: bool,
    pub(super) strikes: u32,
    last_refusal: Option<Refusal>,
    pub(super) stats: LinkStats,
}

impl Core {
    pub(super) fn new(limits: Limits, own: Arc<[Export]>, events: mpsc::UnboundedSender<LinkEvent>) -> Self {
        let now = Instant::now();
        Self {
            state: State::new(&limits),
            payload_bytes: limits.payload_bytes,
            limits,
            own,
            events: Some(events),
            peer: None,
            exports: Arc::new([]),
            liveness: Liveness::default(),
            session: 0,
            live: false,
            connection: 0,
            current: None,
            attached: false,
            attached_before: false,
            asks: HashMap::new(),
            next_ask: 0,
            urgent: VecDeque::new(),
            writer: None,
            heard: now,
            pinged: now,
            unreachable: false,
            strikes: 0,
            last_refusal: None,
            stats: LinkStats::default(),
        }
    }

    /// A new connection takes the place of the current one, which is told.
    pub(super) fn open(&mut self, after: &mut After) -> (Arc<Connection>, Credit) {
        let replaced = Refusal::new(Code::Stale, "replaced by a newer connection");
        self.end_connection(Some(&replaced), after);
        self.connection += 1;
        let connection = Arc::new(Connection::new(self.connection));
        self.current = Some(Arc::clone(&connection));
        (connection, self.state.grant())
    }

    /// The handshake on the current connection is done.
    pub(super) fn attach(&mut self, resumed_at: Option<u64>, terms: PeerTerms, after: &mut After) {
        if self.attached_before {
            self.stats.reconnects += 1;
        }
        match resumed_at {
            Some(received) => self.state.resume(received, terms.credit),
            None => {
                self.state.restart(terms.credit);
                self.stats.sessions_lost += u64::from(self.session > 0);
                self.session += 1;
            }
        }
        let now = Instant::now();
        (self.heard, self.pinged, self.unreachable, self.strikes) = (now, now, false, 0);
        (self.live, self.attached, self.attached_before) = (true, true, true);
        self.last_refusal = None;
        self.payload_bytes = terms.payload_bytes.min(self.limits.payload_bytes);
        (self.peer, self.exports, self.liveness) = (Some(terms.peer), terms.exports, terms.liveness);
        self.event(LinkEvent::Up { resumed: resumed_at.is_some() }, after);
        self.wake(after);
        after.room = true;
    }

    /// The current connection is over; with a farewell the peer is told why.
    pub(super) fn end_connection(&mut self, farewell: Option<&Refusal>, after: &mut After) {
        if let Some(connection) = self.current.take() {
            connection.end(farewell.map(|r| {
                let go_away = GoAway { code: r.code.as_str().to_owned(), reason: r.reason.clone() };
                Frame { body: Some(Body::GoAway(go_away)), ..Frame::default() }
            }));
        }
        self.attached = false;
        self.state.cut();
        self.urgent.clear();
        for (_, asked) in self.asks.drain() {
            // The asker may be gone.
            let _ = asked.send(Err(LinkError::Down));
        }
        after.waker = self.writer.take();
    }

    /// The session is over.
    pub(super) fn lose(&mut self, reason: &Refusal, tell_peer: bool, after: &mut After) {
        self.end_connection(tell_peer.then_some(reason), after);
        if std::mem::take(&mut self.live) {
            self.event(LinkEvent::Down { reason: reason.clone() }, after);
            self.last_refusal = Some(reason.clone());
        }
    }

    /// The server refused this client; said once per reason.
    pub(super) fn turned_away(&mut self, refusal: Refusal, after: &mut After) {
        if self.last_refusal.as_ref() != Some(&refusal) {
            self.event(LinkEvent::Down { reason: refusal.clone() }, after);
            self.last_refusal = Some(refusal);
        }
    }

    /// No more events, ever.
    pub(super) fn finish(&mut self, after: &mut After) {
        after.sender = self.events.take();
        after.closed = true;
        after.room = true;
    }

    pub(super) fn tell(
        &mut self,
        frame: Frame,
        export: u16,
        delivery: Delivery,
        after: &mut After,
    ) -> Result<(), LinkError> {
        self.check(export, payload_len(&frame))?;
        if !self.attached && (delivery == Delivery::AtMostOnce || !self.live) {
            return Err(LinkError::Down);
        }
        self.state.send(frame, delivery).map_err(|_| LinkError::Full)?;
        self.wake(after);
        Ok(())
    }

    pub(super) fn ask(
        &mut self,
        export: u16,
        frame: impl FnOnce(u64) -> Frame,
        after: &mut After,
    ) -> Result<(u64, oneshot::Receiver<Answer>), LinkError> {
        if !self.attached {
            return Err(LinkError::Down);
        }
        if self.asks.len() >= self.limits.asks {
            return Err(LinkError::Full);
        }
        let id = self.next_ask + 1;
        let frame = frame(id);
        self.check(export, payload_len(&frame))?;
        self.state.send(frame, Delivery::AtMostOnce).map_err(|_| LinkError::Full)?;
        self.next_ask = id;
        let (sender, receiver) = oneshot::channel();
        self.asks.insert(id, sender);
        self.wake(after);
        Ok((id, receiver))
    }

    pub(super) fn check_payload(&self, len: usize) -> Result<(), LinkError> {
        let max = self.payload_bytes;
        if len > max { Err(LinkError::TooLarge { len, max }) } else { Ok(()) }
    }

    pub(super) fn nack(&mut self, correlation: u64, export: u32, refusal: &Refusal, after: &mut After) {
        let code = refusal.code.as_str().to_owned();
        self.urge(Body::Nack(Nack { correlation, export, code, reason: refusal.reason.clone() }), after);
    }

    pub(super) fn pong(&mut self, stamp_us: u64, after: &mut After) {
        self.urge(Body::Pong(Pong { stamp_us }), after);
    }

    pub(super) fn ping(&mut self, stamp_us: u64, after: &mut After) {
        self.pinged = Instant::now();
        self.urge(Body::Ping(Ping { stamp_us }), after);
    }

    /// Writes soon if anything is due.
    pub(super) fn wake(&mut self, after: &mut After) {
        if self.attached && (self.state.due() || !self.urgent.is_empty()) && self.writer.is_some() {
            after.waker = self.writer.take();
        }
    }

    pub(super) fn event(&mut self, event: LinkEvent, after: &mut After) {
        // never dropped here: a message gives its credit back when dropped, and takes the lock for it
        let sent = match &self.events {
            Some(events) => events.send(event),
            None => Err(mpsc::error::SendError(event)),
        };
        if let Err(mpsc::error::SendError(event)) = sent {
            after.rejected.push(event);
        }
    }

    fn urge(&mut self, body: Body, after: &mut After) {
        if self.attached && self.urgent.len() < MAX_URGENT {
            self.urgent.push_back(Frame { body: Some(body), ..Frame::default() });
            self.wake(after);
        }
    }

    fn check(&self, export: u16, len: usize) -> Result<(), LinkError> {
        if !self.live {
            return Err(LinkError::Down);
        }
        if !self.exports.iter().any(|known| known.index == export) {
            return Err(LinkError::NotExported(export));
        }
        self.check_payload(len)
    }
}
