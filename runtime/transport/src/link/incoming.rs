//! A message that came in: whoever holds it holds the peer's credit for it.

use super::shared::Shared;
use crate::{LinkError, Refusal};
use bytes::Bytes;
use nsfl_types::Code;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A message from the peer. Dropping it gives its credit back.
///
/// An at-least-once message must be ended with [`Incoming::done`] once its effect is committed. Dropped without, it counts
/// as lost with its receiver: the session ends, and both sides reconcile in a new one.
pub struct Incoming {
    /// The addressed actor.
    pub export: u16,
    /// What was sent.
    pub payload: Bytes,
    /// W3C traceparent of the sender.
    pub trace: Option<String>,
    /// Of a question: how long the asker waits.
    pub timeout: Option<Duration>,
    /// Of a question: where the answer goes.
    pub reply: Option<Replier>,
    pub(super) guard: Guard,
}

impl Incoming {
    /// The effect is committed (or the message is known and needs none): the peer may forget it.
    pub fn done(self) {
        self.guard.shared.commit(self.guard.session, self.guard.sequence);
    }

    /// Whether the peer keeps it until [`Incoming::done`].
    #[must_use]
    pub fn is_owed(&self) -> bool {
        self.guard.sequence != 0
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("export", &self.export)
            .field("payload_bytes", &self.payload.len())
            .field("sequence", &self.guard.sequence)
            .field("asks", &self.reply.is_some())
            .finish()
    }
}

/// Gives a message's credit back when dropped.
pub(super) struct Guard {
    pub(super) shared: Arc<Shared>,
    pub(super) session: u64,
    pub(super) sequence: u64,
    pub(super) payload: usize,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.shared.release(self.session, self.sequence, self.payload);
    }
}

/// Answers one question. Dropped without an answer, the asker is told so.
pub struct Replier {
    pub(super) shared: Option<Arc<Shared>>,
    pub(super) connection: u64,
    pub(super) correlation: u64,
    pub(super) export: u16,
}

impl Replier {
    /// Answers.
    ///
    /// # Errors
    /// `Down` when the connection the question came over is gone, `TooLarge`, or `Full` when the peer does not read its answers.
    pub fn reply(mut self, payload: Bytes) -> Result<(), LinkError> {
        let shared = self.shared.take().expect("a replier answers once");
        shared.reply(self.connection, self.correlation, self.export, payload)
    }

    /// Refuses to answer.
    pub fn refuse(mut self, refusal: &Refusal) {
        let shared = self.shared.take().expect("a replier answers once");
        shared.refuse(self.connection, self.correlation, self.export, refusal);
    }
}

impl Drop for Replier {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            let refusal = Refusal::new(Code::LinkLost, "the receiver dropped the question");
            shared.refuse(self.connection, self.correlation, self.export, &refusal);
        }
    }
}

impl fmt::Debug for Replier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replier").field("correlation", &self.correlation).finish_non_exhaustive()
    }
}
