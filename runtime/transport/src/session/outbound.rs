//! The sending direction of a session: credit, the queue to the writer and the outbox of what is not acked.

use super::{Credit, Full, Violation, payload_len};
use crate::Limits;
use crate::proto::Frame;
use crate::proto::frame::Body;
use nsfl_types::Code;
use std::collections::VecDeque;

pub(super) struct Outbound {
    /// A peer that grants more than this is not believed: it bounds our own queue.
    cap: Credit,
    outbox_messages: usize,
    outbox_bytes: usize,
    reply_bytes: usize,
    replies: usize,

    credit: Credit,
    /// Paid for, in order, to be written.
    ready: VecDeque<Frame>,
    ready_bytes: usize,
    ready_replies: usize,
    ready_reply_bytes: usize,
    /// Sent at least once and not acked; the tail from `unsent` on waits for credit.
    outbox: VecDeque<Frame>,
    owed_bytes: usize,
    unsent: usize,
    last_sequence: u64,
    /// Of these, the last that was ever sent.
    last_sent: u64,
}

impl Outbound {
    pub(super) fn new(limits: &Limits) -> Self {
        let cap = Credit::window(limits);
        Self {
            cap,
            outbox_messages: limits.outbox_messages,
            outbox_bytes: limits.outbox_bytes.max(limits.payload_bytes),
            reply_bytes: cap.bytes as usize,
            replies: cap.messages as usize,
            credit: Credit::default(),
            ready: VecDeque::new(),
            ready_bytes: 0,
            ready_replies: 0,
            ready_reply_bytes: 0,
            outbox: VecDeque::new(),
            owed_bytes: 0,
            unsent: 0,
            last_sequence: 0,
            last_sent: 0,
        }
    }

    pub(super) fn can_resume(&self, peer_received: u64) -> bool {
        let first_kept = self.outbox.front().map_or(self.last_sequence + 1, |frame| frame.sequence);
        peer_received <= self.last_sequence && peer_received + 1 >= first_kept
    }

    pub(super) fn resume(&mut self, peer_received: u64, granted: Credit) {
        self.cut();
        self.unsent = self.outbox.partition_point(|frame| frame.sequence <= peer_received);
        self.credit = granted.min(self.cap);
        self.pump();
    }

    pub(super) fn restart(&mut self, granted: Credit) {
        self.cut();
        self.outbox.clear();
        (self.owed_bytes, self.unsent) = (0, 0);
        (self.last_sequence, self.last_sent) = (0, 0);
        self.credit = granted.min(self.cap);
    }

    pub(super) fn cut(&mut self) {
        self.ready.clear();
        (self.ready_bytes, self.ready_replies, self.ready_reply_bytes) = (0, 0, 0);
        self.credit = Credit::default();
    }

    pub(super) fn send_once(&mut self, frame: Frame) -> Result<(), Full> {
        let cost = Credit::of(payload_len(&frame));
        // What waits for credit goes first: order is kept between the two kinds as well.
        if self.unsent < self.outbox.len() || !self.credit.covers(cost) {
            return Err(Full);
        }
        self.write(frame, cost);
        Ok(())
    }

    pub(super) fn send_owed(&mut self, mut frame: Frame) -> Result<(), Full> {
        let len = payload_len(&frame);
        if self.outbox.len() >= self.outbox_messages || self.owed_bytes + len > self.outbox_bytes {
            return Err(Full);
        }
        self.last_sequence += 1;
        frame.sequence = self.last_sequence;
        self.owed_bytes += len;
        self.outbox.push_back(frame);
        self.pump();
        Ok(())
    }

    pub(super) fn reply(&mut self, frame: Frame) -> Result<(), Full> {
        let len = payload_len(&frame);
        let too_many = self.ready_replies >= self.replies;
        if too_many || (self.ready_replies > 0 && self.ready_reply_bytes + len > self.reply_bytes) {
            return Err(Full);
        }
        self.ready_replies += 1;
        self.ready_reply_bytes += len;
        self.ready_bytes += len;
        self.ready.push_back(frame);
        Ok(())
    }

    pub(super) fn acked(&mut self, ack: u64) -> Result<(), Violation> {
        if ack > self.last_sent {
            return Err(Violation(Code::BadFrame, "ack of a message that was not sent"));
        }
        while let Some(frame) = self.outbox.front().filter(|frame| frame.sequence <= ack) {
            self.owed_bytes -= payload_len(frame);
            self.outbox.pop_front();
            // Nothing to take back when it was to be sent again and was acked before.
            self.unsent = self.unsent.saturating_sub(1);
        }
        Ok(())
    }

    pub(super) fn credited(&mut self, back: Credit) {
        if back != Credit::default() {
            self.credit = self.credit.plus(back).min(self.cap);
            self.pump();
        }
    }

    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(super) fn take(&mut self, bytes: usize, into: &mut VecDeque<Frame>) {
        let mut left = bytes;
        while let Some(frame) = self.ready.pop_front() {
            let len = payload_len(&frame);
            self.ready_bytes -= len;
            if matches!(frame.body, Some(Body::Reply(_))) {
                self.ready_replies -= 1;
                self.ready_reply_bytes -= len;
            }
            into.push_back(frame);
            // A frame costs more than its payload.
            left = left.saturating_sub(len + 64);
            if left == 0 {
                break;
            }
        }
    }

    pub(super) fn credit(&self) -> Credit {
        self.credit
    }

    pub(super) fn outbox(&self) -> (usize, usize) {
        (self.outbox.len(), self.owed_bytes)
    }

    pub(super) fn queued(&self) -> (usize, usize) {
        (self.ready.len(), self.ready_bytes)
    }

    /// Moves what waits for credit on, in order.
    fn pump(&mut self) {
        while let Some(frame) = self.outbox.get(self.unsent) {
            let cost = Credit::of(payload_len(frame));
            if !self.credit.covers(cost) {
                break;
            }
            let frame = frame.clone();
            self.unsent += 1;
            self.last_sent = self.last_sent.max(frame.sequence);
            self.write(frame, cost);
        }
    }

    fn write(&mut self, frame: Frame, cost: Credit) {
        self.credit = self.credit.minus(cost);
        self.ready_bytes += cost.bytes as usize;
        self.ready.push_back(frame);
    }
}
