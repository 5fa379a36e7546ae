//! What a session owes and is owed: sequences, acks, the outbox and credit. No IO, no clock, no threads: the link drives it
//! and the property tests cut it at any point.
//!
//! At-least-once messages are numbered from 1 within a session. The sender keeps them until the receiver has committed
//! every message up to that number; after a cut it sends again what lies beyond the receiver's last received number, so
//! the receiver sees each number once and in order. Credit bounds what is under way either way.

mod inbound;
mod outbound;
#[cfg(test)]
mod tests;

use crate::Limits;
use crate::proto::frame::Body;
use crate::proto::{self, Frame};
use inbound::Inbound;
pub(crate) use inbound::Verdict;
use outbound::Outbound;

/// Room for messages: how many, and how many payload bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Credit {
    pub(crate) messages: u32,
    pub(crate) bytes: u32,
}

impl Credit {
    pub(crate) fn of(payload: usize) -> Self {
        Self { messages: 1, bytes: u32::try_from(payload).unwrap_or(u32::MAX) }
    }

    fn covers(self, cost: Self) -> bool {
        self.messages >= cost.messages && self.bytes >= cost.bytes
    }

    fn plus(self, other: Self) -> Self {
        Self { messages: self.messages.saturating_add(other.messages), bytes: self.bytes.saturating_add(other.bytes) }
    }

    fn minus(self, other: Self) -> Self {
        Self { messages: self.messages.saturating_sub(other.messages), bytes: self.bytes.saturating_sub(other.bytes) }
    }

    fn min(self, other: Self) -> Self {
        Self { messages: self.messages.min(other.messages), bytes: self.bytes.min(other.bytes) }
    }

    /// What this side grants by its limits: enough for two of the largest messages, so that a window that is only
    /// partly given back never blocks one.
    pub(crate) fn window(limits: &Limits) -> Self {
        let two = u32::try_from(limits.payload_bytes.saturating_mul(2)).unwrap_or(u32::MAX);
        Self { messages: limits.credit_messages.max(4), bytes: limits.credit_bytes.max(two) }
    }
}

/// How hard a message is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Sent once; lost when the connection is cut. For what is soon out of date.
    AtMostOnce,
    /// Kept until the peer has committed it, sent again after a cut. Holds within a session: a new session starts empty.
    AtLeastOnce,
}

/// No room now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

/// The peer broke the protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation(pub(crate) nsfl_types::Code, pub(crate) &'static str);

/// Both directions of one session.
pub(crate) struct State {
    out: Outbound,
    inn: Inbound,
}

impl State {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { out: Outbound::new(limits), inn: Inbound::new(Credit::window(limits)) }
    }

    /// A connection begins: what the peer may send us on it, before anything is given back.
    pub(crate) fn grant(&mut self) -> Credit {
        self.inn.grant()
    }

    /// Last at-least-once number received.
    pub(crate) fn received(&self) -> u64 {
        self.inn.received()
    }

    /// Whether a peer that last received this number can go on with this session.
    pub(crate) fn can_resume(&self, peer_received: u64) -> bool {
        self.out.can_resume(peer_received)
    }

    /// The peer answered: go on beyond what it has received, within what it grants.
    pub(crate) fn resume(&mut self, peer_received: u64, granted: Credit) {
        self.out.resume(peer_received, granted);
    }

    /// The peer answered with a new session: nothing is owed, nothing was received.
    pub(crate) fn restart(&mut self, granted: Credit) {
        self.out.restart(granted);
        self.inn.restart();
    }

    /// The connection is gone: what was to be sent at most once is dropped.
    pub(crate) fn cut(&mut self) {
        self.out.cut();
    }

    /// Queues a tell or an ask.
    pub(crate) fn send(&mut self, frame: Frame, delivery: Delivery) -> Result<(), Full> {
        match delivery {
            Delivery::AtMostOnce => self.out.send_once(frame),
            Delivery::AtLeastOnce => self.out.send_owed(frame),
        }
    }

    /// Queues a reply. Replies need no credit (the asker waits for them) but are bounded here.
    pub(crate) fn reply(&mut self, frame: Frame) -> Result<(), Full> {
        self.out.reply(frame)
    }

    /// The ack and credit a frame carries.
    pub(crate) fn heard(&mut self, frame: &Frame) -> Result<(), Violation> {
        self.out.acked(frame.ack)?;
        self.out.credited(Credit { messages: frame.credit_messages, bytes: frame.credit_bytes });
        Ok(())
    }

    /// A tell or ask came in.
    pub(crate) fn receive(&mut self, sequence: u64, payload: usize) -> Result<Verdict, Violation> {
        self.inn.receive(sequence, Credit::of(payload))
    }

    /// The receiver has let go of a message.
    pub(crate) fn release(&mut self, payload: usize) {
        self.inn.release(Credit::of(payload));
    }

    /// The receiver has committed a message.
    pub(crate) fn commit(&mut self, sequence: u64) {
        self.inn.commit(sequence);
    }

    /// Whether the receiver has committed it.
    pub(crate) fn is_committed(&self, sequence: u64) -> bool {
        self.inn.is_committed(sequence)
    }

    /// Whether there is anything to write now.
    pub(crate) fn due(&self) -> bool {
        self.out.has_ready() || self.inn.due()
    }

    /// Moves up to `bytes` of payload into `into`; the first frame carries ack and credit.
    pub(crate) fn take(&mut self, bytes: usize, into: &mut std::collections::VecDeque<Frame>) {
        let start = into.len();
        self.out.take(bytes, into);
        if let Some((ack, credit)) = self.inn.report() {
            if into.len() == start {
                into.push_back(Frame::default());
            }
            let first = &mut into[start];
            (first.ack, first.credit_messages, first.credit_bytes) = (ack, credit.messages, credit.bytes);
        }
    }

    /// Room left: what the peer would take now.
    pub(crate) fn credit(&self) -> Credit {
        self.out.credit()
    }

    /// At-least-once messages not acked, and their payload bytes.
    pub(crate) fn outbox(&self) -> (usize, usize) {
        self.out.outbox()
    }

    /// Frames waiting to be written, and their payload bytes.
    pub(crate) fn queued(&self) -> (usize, usize) {
        self.out.queued()
    }

    /// Messages received and not let go of, and their payload bytes.
    pub(crate) fn held(&self) -> Credit {
        self.inn.held()
    }
}

/// The payload bytes of a frame's body.
pub(crate) fn payload_len(frame: &Frame) -> usize {
    match &frame.body {
        Some(Body::Tell(proto::Tell { payload, .. }))
        | Some(Body::Ask(proto::Ask { payload, .. }))
        | Some(Body::Reply(proto::Reply { payload, .. })) => payload.len(),
        _ => 0,
    }
}
