//! `Address`: where to send to an actor, the same before its start, across its restarts and after its end.
//!
//! Delivery is at most once: what is queued when an actor fails is lost, and askers learn it ([`AskError::Dropped`]).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use ractor::{ActorId, ActorRef};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Instant, timeout, timeout_at};

use crate::gate::{MailboxView, Ticket};
use crate::reply::Reply;
use crate::vitals::{ActorView, Vitals};

/// How long [`Address::tell`] waits for room.
pub const DEFAULT_TELL_DEADLINE: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    #[error("the mailbox is full")]
    Full,
    #[error("the actor is not running")]
    Down,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    #[error("the mailbox is full")]
    Full,
    #[error("the actor is not running")]
    Down,
    #[error("no answer before the deadline")]
    Timeout,
    #[error("the actor ended or dropped the question")]
    Dropped,
}

impl From<SendError> for AskError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Full => Self::Full,
            SendError::Down => Self::Down,
        }
    }
}

pub struct Address<M> {
    inner: Arc<Inner<M>>,
}

struct Inner<M> {
    vitals: Arc<Vitals>,
    slot: ArcSwapOption<Lane<M>>,
}

impl<M: Send + 'static> Address<M> {
    /// An address nobody lives at yet; a supervisor starts an actor on it. `capacity` is in messages, at least 1.
    pub fn new(path: impl Into<String>, capacity: usize) -> Self {
        let vitals = Arc::new(Vitals::new(path.into(), capacity));
        Self { inner: Arc::new(Inner { vitals, slot: ArcSwapOption::empty() }) }
    }

    pub fn path(&self) -> &str {
        &self.inner.vitals.path
    }

    /// Sends, waiting for room at most [`DEFAULT_TELL_DEADLINE`].
    pub async fn tell(&self, msg: M) -> Result<(), SendError> {
        self.tell_within(DEFAULT_TELL_DEADLINE, msg).await
    }

    /// Sends, waiting for room at most `deadline`; then [`SendError::Full`]. An actor that is down, or between two
    /// lives, gives [`SendError::Down`] at once.
    pub async fn tell_within(&self, deadline: Duration, msg: M) -> Result<(), SendError> {
        self.look()?;
        let ticket = self.inner.vitals.gate.enter(deadline).await.ok_or_else(|| self.full())?;
        self.push(ticket, msg)
    }

    /// Sends without waiting.
    pub fn try_tell(&self, msg: M) -> Result<(), SendError> {
        self.look()?;
        let ticket = self.inner.vitals.gate.try_enter().ok_or_else(|| self.full())?;
        self.push(ticket, msg)
    }

    /// Sends a question and waits for its answer; `deadline` covers both.
    pub async fn ask<T>(&self, deadline: Duration, question: impl FnOnce(Reply<T>) -> M) -> Result<T, AskError> {
        let until = Instant::now() + deadline;
        let (reply, answer) = Reply::channel();
        self.tell_within(deadline, question(reply)).await?;
        match timeout_at(until, answer).await {
            Ok(answer) => answer.map_err(|_| AskError::Dropped),
            Err(_) => Err(AskError::Timeout),
        }
    }

    /// What the actor tells of itself, ahead of what waits in its mailbox; `None` if it is down or does not answer
    /// in time.
    pub async fn observe(&self, deadline: Duration) -> Option<ActorView> {
        let lane = self.inner.slot.load_full()?;
        let (reply, answer) = Reply::channel();
        lane.push(Own::Observe(Instant::now() + deadline, reply));
        drop(lane);
        timeout(deadline, answer).await.ok()?.ok()
    }

    pub fn mailbox(&self) -> MailboxView {
        self.inner.vitals.gate.view()
    }

    pub(crate) fn vitals(&self) -> &Arc<Vitals> {
        &self.inner.vitals
    }

    pub(crate) fn lane(&self) -> Option<Arc<Lane<M>>> {
        self.inner.slot.load_full()
    }

    /// A new life takes the address. Whoever still lives there is killed: one address, one actor.
    pub(crate) fn bind(&self, kind: &'static str, lane: Lane<M>) -> Bound<M> {
        let life = lane.actor.get_id();
        self.inner.vitals.begin(kind, life);
        if let Some(previous) = self.inner.slot.swap(Some(Arc::new(lane))) {
            previous.actor.kill();
        }
        Bound { address: self.clone(), life }
    }

    /// Frees the address if `life` still holds it.
    pub(crate) fn release(&self, life: ActorId) {
        let held = self.inner.slot.load();
        if held.as_ref().is_some_and(|lane| lane.actor.get_id() == life) {
            self.inner.slot.compare_and_swap(&held, None);
        }
    }

    /// Whether somebody lives here; a message that finds nobody is a dead letter.
    fn look(&self) -> Result<(), SendError> {
        if self.inner.slot.load().is_some() {
            return Ok(());
        }
        self.inner.vitals.tally.dead_letters.fetch_add(1, Ordering::Relaxed);
        Err(SendError::Down)
    }

    fn full(&self) -> SendError {
        self.inner.vitals.tally.rejected.fetch_add(1, Ordering::Relaxed);
        SendError::Full
    }

    fn push(&self, ticket: Ticket, msg: M) -> Result<(), SendError> {
        let lane = self.inner.slot.load_full().ok_or(SendError::Down)?;
        lane.actor.send_message(Wire::Told(ticket, msg)).map_err(|_| SendError::Down)
    }
}

impl<M> Clone for Address<M> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<M> fmt::Debug for Address<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({})", self.inner.vitals.path)
    }
}

/// What goes through ractor's queue: a gated message, or the call to look at the own lane.
pub(crate) enum Wire<M> {
    Told(Ticket, M),
    Wake,
}

/// What bypasses the gate: inputs the actor caused itself, and Observe.
pub(crate) enum Own<M> {
    Input(M),
    Timed(crate::context::Fuse, M),
    Observe(Instant, Reply<ActorView>),
}

/// The way into one life of an actor.
pub(crate) struct Lane<M> {
    pub(crate) actor: ActorRef<Wire<M>>,
    pub(crate) own: UnboundedSender<Own<M>>,
}

impl<M: Send + 'static> Lane<M> {
    /// To the own lane, which is read before the mailbox. What comes too late for this life is dropped.
    pub(crate) fn push(&self, own: Own<M>) {
        if self.own.send(own).is_ok() {
            let _ = self.actor.send_message(Wire::Wake);
        }
    }
}

impl<M> Clone for Lane<M> {
    fn clone(&self) -> Self {
        Self { actor: self.actor.clone(), own: self.own.clone() }
    }
}

/// Holds an address for one life; dropping it frees the address.
pub(crate) struct Bound<M: Send + 'static> {
    address: Address<M>,
    life: ActorId,
}

impl<M: Send + 'static> Drop for Bound<M> {
    fn drop(&mut self) {
        self.address.vitals().tally.abandon();
        self.address.release(self.life);
    }
}
