//! Between a link and one stream of a carrier: the frames to write, pulled when there is room, and the frames read.

use super::core::{After, Core};
use super::incoming::{Guard, Replier};
use super::shared::MAX_TRACE;
use super::{Incoming, LinkError, LinkEvent, Shared};
use crate::Refusal;
use crate::proto::Frame;
use crate::proto::frame::Body;
use crate::refusal::code_from_text;
use crate::session::{Verdict, Violation, payload_len};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use nsfl_types::Code;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Frames taken from the link at once.
const TAKE_BYTES: usize = 64 << 10;
/// Frames handed to the link at once.
const READ_FRAMES: usize = 64;
/// A payload up to this size is copied out of the receive buffer, which it would otherwise keep alive.
const COPY_BELOW: usize = 64 << 10;
/// Frames for actors the peer may not address, before it is sent away.
const MAX_STRIKES: u32 = 8;
/// How long the peer is listened to after our farewell, so that the farewell leaves.
const LINGER: Duration = Duration::from_secs(2);

/// One connection of a link.
pub(crate) struct Connection {
    pub(crate) number: u64,
    ended: CancellationToken,
    farewell: OnceLock<Option<Frame>>,
}

impl Connection {
    pub(super) fn new(number: u64) -> Self {
        Self { number, ended: CancellationToken::new(), farewell: OnceLock::new() }
    }

    pub(super) fn end(&self, farewell: Option<Frame>) {
        // A second end changes nothing.
        let _ = self.farewell.set(farewell);
        self.ended.cancel();
    }

    fn has_farewell(&self) -> bool {
        matches!(self.farewell.get(), Some(Some(_)))
    }
}

/// What is to be written, as a stream that ends with the connection.
pub(crate) struct Outgoing {
    shared: Arc<Shared>,
    connection: Arc<Connection>,
    taken: VecDeque<Frame>,
    over: bool,
}

impl Outgoing {
    /// `first` goes before anything else: the hello or the welcome.
    pub(crate) fn new(shared: Arc<Shared>, connection: Arc<Connection>, first: Body) -> Self {
        let first = Frame { body: Some(first), ..Frame::default() };
        Self { shared, connection, taken: [first].into(), over: false }
    }

    fn refill(&mut self, cx: &mut Context<'_>) {
        let mut core = self.shared.lock();
        if core.connection == self.connection.number && core.current.is_some() {
            if core.attached {
                self.taken.append(&mut core.urgent);
                core.state.take(TAKE_BYTES, &mut self.taken);
                core.stats.frames_out += self.taken.len() as u64;
                core.stats.bytes_out += self.taken.iter().map(payload_len).sum::<usize>() as u64;
            }
            if self.taken.is_empty() {
                core.writer = Some(cx.waker().clone());
            }
        } else {
            self.over = true;
            self.taken.extend(self.connection.farewell.get().cloned().flatten());
        }
    }
}

impl Stream for Outgoing {
    type Item = Frame;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Frame>> {
        if self.taken.is_empty() && !self.over {
            self.refill(cx);
        }
        match self.taken.pop_front() {
            Some(frame) => Poll::Ready(Some(frame)),
            None if self.over => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.shared.disconnected(&self.connection);
    }
}

/// Reads until the connection ends, and says why: the peer's farewell, or what broke.
pub(crate) async fn read(
    shared: &Arc<Shared>,
    connection: &Arc<Connection>,
    inbound: impl Stream<Item = Result<Frame, Refusal>> + Unpin,
) -> Refusal {
    let mut inbound = inbound.ready_chunks(READ_FRAMES);
    let mut lingers_until = None;
    let reason = loop {
        tokio::select! {
            biased;
            () = connection.ended.cancelled(), if lingers_until.is_none() => {
                if !connection.has_farewell() {
                    break Refusal::new(Code::LinkLost, "connection ended");
                }
                lingers_until = Some(Instant::now() + LINGER);
            }
            () = sleep_until(lingers_until), if lingers_until.is_some() => {
                break Refusal::new(Code::LinkLost, "connection ended");
            }
            chunk = inbound.next() => match chunk {
                None => break Refusal::new(Code::LinkLost, "the peer ended the stream"),
                Some(_) if lingers_until.is_some() => {}
                Some(frames) => if let Err(reason) = receive(shared, connection, frames) {
                    break reason;
                },
            }
        }
    };
    shared.disconnected(connection);
    reason
}

async fn sleep_until(instant: Option<Instant>) {
    if let Some(instant) = instant {
        tokio::time::sleep_until(instant).await;
    }
}

/// Takes frames in under one lock. An error ends the connection.
fn receive(
    shared: &Arc<Shared>,
    connection: &Arc<Connection>,
    frames: Vec<Result<Frame, Refusal>>,
) -> Result<(), Refusal> {
    let now_us = shared.clock_us();
    let outcome = shared.with(|core, after| {
        if core.connection != connection.number {
            return Ok(());
        }
        core.heard = Instant::now();
        for frame in frames {
            Taking { shared, core, after, now_us }.take(frame.map_err(Stop::Broken)?)?;
        }
        core.wake(after);
        Ok(())
    });
    match outcome {
        Ok(()) => Ok(()),
        Err(Stop::Broken(refusal)) => {
            if refusal.code == Code::TooLarge {
                // Refused by the decoder: the peer breaks the limit it was told.
                shared.with(|_, after| after.refused.push(refusal.clone()));
                shared.lose(&refusal, true);
            }
            Err(refusal)
        }
        Err(Stop::FarewellOf(reason)) => {
            shared.lose(&reason, false);
            Err(reason)
        }
        Err(Stop::Violated(Violation(code, reason))) => {
            let refusal = Refusal::new(code, reason);
            shared.with(|_, after| after.refused.push(refusal.clone()));
            shared.lose(&refusal, true);
            // Not an error here: the connection has its farewell and lingers.
            Ok(())
        }
    }
}

enum Stop {
    Broken(Refusal),
    FarewellOf(Refusal),
    Violated(Violation),
}

impl From<Violation> for Stop {
    fn from(violation: Violation) -> Self {
        Stop::Violated(violation)
    }
}

struct Taking<'a> {
    shared: &'a Arc<Shared>,
    core: &'a mut Core,
    after: &'a mut After,
    now_us: u64,
}

impl Taking<'_> {
    fn take(mut self, frame: Frame) -> Result<(), Stop> {
        self.core.stats.frames_in += 1;
        self.core.stats.bytes_in += payload_len(&frame) as u64;
        if frame.ack != 0 || frame.credit_messages != 0 || frame.credit_bytes != 0 {
            self.core.state.heard(&frame)?;
            self.after.room = true;
        }
        if frame.trace.len() > MAX_TRACE {
            return Err(Violation(Code::BadFrame, "trace context too long").into());
        }
        let trace = (!frame.trace.is_empty()).then_some(frame.trace);
        match frame.body {
            None => Ok(()),
            Some(Body::Tell(tell)) => self.message(frame.sequence, trace, tell.export, tell.payload, None),
            Some(Body::Ask(ask)) => {
                let question = (ask.correlation, Duration::from_millis(ask.timeout_ms.into()));
                self.message(0, trace, ask.export, ask.payload, Some(question))
            }
            Some(Body::Reply(reply)) => {
                self.answer(reply.correlation, Ok(compact(reply.payload)));
                Ok(())
            }
            Some(Body::Nack(nack)) => {
                let refusal = Refusal::new(code_from_text(&nack.code).unwrap_or(Code::Internal), nack.reason);
                if nack.correlation == 0 {
                    self.core.stats.refused += 1;
                    tracing::warn!(export = nack.export, code = %refusal.code, "peer refused a message");
                }
                self.answer(nack.correlation, Err(LinkError::Refused(refusal)));
                Ok(())
            }
            Some(Body::Ping(ping)) => {
                self.core.pong(ping.stamp_us, self.after);
                Ok(())
            }
            Some(Body::Pong(pong)) => {
                self.core.stats.rtt_us = self.now_us.saturating_sub(pong.stamp_us);
                Ok(())
            }
            Some(Body::GoAway(go)) => {
                let code = code_from_text(&go.code).unwrap_or(Code::LinkLost);
                Err(Stop::FarewellOf(Refusal::new(code, go.reason)))
            }
            Some(Body::Hello(_) | Body::Welcome(_)) => {
                Err(Violation(Code::BadFrame, "a handshake in the middle of a session").into())
            }
        }
    }

    fn message(
        &mut self,
        sequence: u64,
        trace: Option<String>,
        export: u32,
        payload: Bytes,
        question: Option<(u64, Duration)>,
    ) -> Result<(), Stop> {
        let len = payload.len();
        if len > self.core.limits.payload_bytes {
            return Err(Violation(Code::TooLarge, "payload above the limit").into());
        }
        if self.core.state.receive(sequence, len)? == Verdict::Duplicate {
            self.core.stats.duplicates += 1;
            return Ok(());
        }
        let exported = self.core.own.iter().find(|own| u32::from(own.index) == export).map(|own| own.index);
        let Some(export) = exported else {
            return self.not_addressable(sequence, export, len, question.map_or(0, |(id, _)| id));
        };
        let connection = self.core.connection;
        let replier = |correlation| Replier { shared: Some(Arc::clone(self.shared)), connection, correlation, export };
        let session = self.core.session;
        let incoming = Incoming {
            export,
            payload: compact(payload),
            trace,
            timeout: question.map(|(_, timeout)| timeout).filter(|timeout| !timeout.is_zero()),
            reply: question.map(|(correlation, _)| replier(correlation)),
            guard: Guard { shared: Arc::clone(self.shared), session, sequence, payload: len },
        };
        self.core.event(LinkEvent::Message(incoming), self.after);
        Ok(())
    }

    fn not_addressable(&mut self, sequence: u64, export: u32, len: usize, correlation: u64) -> Result<(), Stop> {
        self.core.state.release(len);
        if sequence != 0 {
            self.core.state.commit(sequence);
        }
        self.core.stats.refused += 1;
        self.core.strikes += 1;
        if self.core.strikes > MAX_STRIKES {
            return Err(Violation(Code::NotAddressable, "too many frames for actors that are not exported").into());
        }
        let refusal = Refusal::new(Code::NotAddressable, format!("nothing is exported with index {export}"));
        self.core.nack(correlation, export, &refusal, self.after);
        self.after.refused.push(refusal);
        Ok(())
    }

    fn answer(&mut self, correlation: u64, answer: Result<Bytes, LinkError>) {
        if let Some(asked) = self.core.asks.remove(&correlation) {
            // The asker may have given up.
            let _ = asked.send(answer);
            self.after.room |= self.core.asks.len() + 1 == self.core.limits.asks;
        }
    }
}

fn compact(payload: Bytes) -> Bytes {
    if payload.len() <= COPY_BELOW { Bytes::copy_from_slice(&payload) } else { payload }
}
