//! The receiving direction of a session: what was received, what is held, what is committed, what is given back.

use super::{Credit, Violation};
use nsfl_types::Code;
use std::collections::BTreeSet;

/// What to do with a message that came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// New: hand it on.
    Deliver,
    /// Seen before: drop it.
    Duplicate,
}

pub(super) struct Inbound {
    window: Credit,
    /// What the peer may still send, as far as it knows.
    granted: Credit,
    /// Handed on and not let go of.
    held: Credit,
    /// Let go of and not told yet.
    freed: Credit,
    received: u64,
    committed: u64,
    told: u64,
    /// Committed out of order, beyond `committed`.
    ahead: BTreeSet<u64>,
}

impl Inbound {
    pub(super) fn new(window: Credit) -> Self {
        Self {
            window,
            granted: Credit::default(),
            held: Credit::default(),
            freed: Credit::default(),
            received: 0,
            committed: 0,
            told: 0,
            ahead: BTreeSet::new(),
        }
    }

    pub(super) fn grant(&mut self) -> Credit {
        self.granted = self.window.minus(self.held);
        self.freed = Credit::default();
        // The last ack may have been lost with the connection.
        self.told = 0;
        self.granted
    }

    pub(super) fn restart(&mut self) {
        // What the old session still holds was kept back in this connection's hello; it no longer counts.
        self.freed = self.freed.plus(std::mem::take(&mut self.held));
        (self.received, self.committed, self.told) = (0, 0, 0);
        self.ahead.clear();
    }

    pub(super) fn received(&self) -> u64 {
        self.received
    }

    pub(super) fn receive(&mut self, sequence: u64, cost: Credit) -> Result<Verdict, Violation> {
        if !self.granted.covers(cost) {
            return Err(Violation(Code::CreditExceeded, "more was sent than credit was given for"));
        }
        self.granted = self.granted.minus(cost);
        if sequence != 0 && sequence <= self.received {
            self.freed = self.freed.plus(cost);
            return Ok(Verdict::Duplicate);
        }
        if sequence > self.received + 1 {
            return Err(Violation(Code::BadFrame, "a sequence number was left out"));
        }
        if sequence != 0 {
            self.received = sequence;
        }
        self.held = self.held.plus(cost);
        Ok(Verdict::Deliver)
    }

    pub(super) fn release(&mut self, cost: Credit) {
        self.held = self.held.minus(cost);
        self.freed = self.freed.plus(cost);
    }

    pub(super) fn commit(&mut self, sequence: u64) {
        if sequence <= self.committed {
            return;
        }
        self.ahead.insert(sequence);
        while self.ahead.remove(&(self.committed + 1)) {
            self.committed += 1;
        }
    }

    pub(super) fn is_committed(&self, sequence: u64) -> bool {
        sequence <= self.committed || self.ahead.contains(&sequence)
    }

    /// Acks are due at once, credit when a quarter of the window is free again (any other frame takes it along).
    pub(super) fn due(&self) -> bool {
        self.committed > self.told
            || self.freed.messages >= self.window.messages.div_ceil(4)
            || self.freed.bytes >= self.window.bytes.div_ceil(4)
    }

    /// The ack (0: unchanged) and credit to tell the peer, which from now on count as told.
    pub(super) fn report(&mut self) -> Option<(u64, Credit)> {
        let ack = if self.committed > self.told { self.committed } else { 0 };
        if ack == 0 && self.freed == Credit::default() {
            return None;
        }
        self.told = self.committed;
        self.granted = self.granted.plus(self.freed);
        Some((ack, std::mem::take(&mut self.freed)))
    }

    pub(super) fn held(&self) -> Credit {
        self.held
    }
}
