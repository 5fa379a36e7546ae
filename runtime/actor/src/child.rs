//! `Child`: one child in its supervisor's books: where it is between two lives, and its record of restarts.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ractor::{ActorCell, ActorId};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::context::Timer;
use crate::failure::Failure;
use crate::reply::Reply;
use crate::spec::{Backoff, ChildSpec, Intensity};
use crate::vitals::{ActorState, ActorView};

pub(crate) struct Child {
    pub(crate) spec: ChildSpec,
    /// Came by `start_child`: forgotten when it ends for good.
    pub(crate) dynamic: bool,
    pub(crate) phase: Phase,
    /// Names the start, halt or pause under way, so that the word of an earlier one is not taken for it.
    pub(crate) token: u64,
    /// To be ended because a sibling failed.
    pub(crate) doomed: bool,
    /// What made it end, until it is started again; none when that was asked for.
    pub(crate) cause: Option<String>,
    /// Whom to tell when the start or halt under way is done.
    pub(crate) callers: Vec<Reply<Result<(), Failure>>>,
    /// When it was restarted within the intensity's period.
    restarts: Vec<Instant>,
    in_a_row: u32,
    up_since: Option<Instant>,
}

pub(crate) enum Phase {
    Down,
    /// To be started, after the timer if there is one, and when its siblings allow.
    Waiting(Option<Timer>),
    Starting(AbortHandle),
    Up(ActorCell),
    Halting(ActorCell, After),
}

/// What follows a halt.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    Down,
    Start,
}

impl Child {
    pub(crate) fn new(spec: ChildSpec, dynamic: bool) -> Self {
        Self {
            spec,
            dynamic,
            phase: Phase::Down,
            token: 0,
            doomed: false,
            cause: None,
            callers: Vec::new(),
            restarts: Vec::new(),
            in_a_row: 0,
            up_since: None,
        }
    }

    pub(crate) fn path(&self) -> String {
        self.spec.member.vitals().path.clone()
    }

    pub(crate) fn came_up(&mut self, cell: ActorCell) {
        self.phase = Phase::Up(cell);
        self.has_started();
    }

    pub(crate) fn has_started(&mut self) {
        self.up_since = Some(Instant::now());
        self.answer(&Ok(()));
    }

    pub(crate) fn has_been_up(&self) -> bool {
        self.up_since.is_some()
    }

    pub(crate) fn answer(&mut self, done: &Result<(), Failure>) {
        for caller in mem::take(&mut self.callers) {
            caller.send(done.clone());
        }
    }

    /// Whether the life that ended is this child's, as far as its supervisor knows. Word of the end may overtake
    /// word of the start.
    pub(crate) fn lived(&self, life: ActorId) -> bool {
        match &self.phase {
            Phase::Up(cell) => cell.get_id() == life,
            Phase::Starting(_) => self.spec.member.vitals().is_life(life),
            Phase::Down | Phase::Waiting(_) | Phase::Halting(..) => false,
        }
    }

    pub(crate) fn record_restart(&mut self) {
        self.restarts.push(Instant::now());
    }

    pub(crate) fn restarts_within(&mut self, period: Duration) -> usize {
        self.restarts.retain(|at| at.elapsed() <= period);
        self.restarts.len()
    }

    /// The pause before its next start.
    pub(crate) fn pause(&mut self, backoff: &Backoff, intensity: &Intensity) -> Duration {
        if self.up_since.is_some_and(|since| since.elapsed() > intensity.period) && matches!(self.phase, Phase::Up(_)) {
            self.in_a_row = 0;
        }
        let pause = backoff.delay(self.in_a_row);
        self.in_a_row = self.in_a_row.saturating_add(1);
        pause
    }

    pub(crate) fn observe(&self, within: Duration) -> BoxFuture<'static, ActorView> {
        let member = Arc::clone(&self.spec.member);
        let state = match self.phase {
            Phase::Up(_) => {
                let answer = member.observe(within);
                let or_else = move || {
                    member.vitals().tally.unanswered.fetch_add(1, Ordering::Relaxed);
                    member.vitals().view(ActorState::Unresponsive)
                };
                return async move { answer.await.unwrap_or_else(or_else) }.boxed();
            }
            Phase::Waiting(_) | Phase::Halting(_, After::Start) => ActorState::Restarting,
            Phase::Starting(_) => ActorState::Starting,
            Phase::Down | Phase::Halting(_, After::Down) => ActorState::Stopped,
        };
        let view = member.vitals().view(state);
        async move { view }.boxed()
    }
}
