//! The ractor actor around a role or a supervisor: opens the gate, reads the own lane first, turns panics into
//! failures, answers Observe, and lets go of everything before its supervisor hears of the end.

use std::fmt::Debug;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use serde_json::json;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::time::Instant;

use crate::address::{Address, Bound, Lane, Own, Wire};
use crate::clock::now_ms;
use crate::context::Context;
use crate::failure::{Failure, Raised, caught};
use crate::reply::Reply;
use crate::role::{Next, Role};
use crate::simulation;
use crate::supervisor::Supervisor;
use crate::tally::Tally;
use crate::tap::{Traced, variant};
use crate::vitals::{ActorState, ActorView};

/// What the shell runs: any role, or the supervisor.
pub(crate) trait Behaviour: Send + Sized + 'static {
    type Msg: Debug + Send + 'static;
    type Args: Clone + Send + Sync + 'static;
    const KIND: &'static str;

    fn start(args: Self::Args, ctx: &Context<Self::Msg>) -> impl Future<Output = Result<Self, Failure>> + Send;
    fn handle(
        &mut self,
        msg: Self::Msg,
        ctx: &Context<Self::Msg>,
    ) -> impl Future<Output = Result<Next, Failure>> + Send;
    fn stop(&mut self, ctx: &Context<Self::Msg>) -> impl Future<Output = ()> + Send;

    /// The handle of what is started with `args`, if it is a supervisor.
    fn supervisor(args: &Self::Args) -> Option<Supervisor> {
        let _ = args;
        None
    }

    /// Completes `view`, which already holds what is known from outside, and answers before `until`.
    fn observe(&self, view: ActorView, until: Instant, reply: Reply<ActorView>, ctx: &Context<Self::Msg>);

    /// A child's life `life` ended: normally, or not.
    fn child_ended(
        &mut self,
        life: ActorId,
        end: Result<(), Failure>,
        ctx: &Context<Self::Msg>,
    ) -> impl Future<Output = Result<Next, Failure>> + Send;
}

impl<R: Role> Behaviour for R {
    type Msg = R::Msg;
    type Args = R::Args;
    const KIND: &'static str = R::KIND;

    fn start(args: R::Args, ctx: &Context<R::Msg>) -> impl Future<Output = Result<Self, Failure>> + Send {
        <R as Role>::start(args, ctx)
    }

    fn handle(&mut self, msg: R::Msg, ctx: &Context<R::Msg>) -> impl Future<Output = Result<Next, Failure>> + Send {
        Role::handle(self, msg, ctx)
    }

    fn stop(&mut self, ctx: &Context<R::Msg>) -> impl Future<Output = ()> + Send {
        Role::stop(self, ctx)
    }

    fn observe(&self, mut view: ActorView, _until: Instant, reply: Reply<ActorView>, _ctx: &Context<R::Msg>) {
        // To look at an actor must not end it.
        view.detail = catch_unwind(AssertUnwindSafe(|| Role::observe(self)))
            .unwrap_or_else(|panic| json!({ "observe": Failure::from_panic(panic).message }));
        reply.send(view);
    }

    async fn child_ended(&mut self, _: ActorId, _: Result<(), Failure>, _: &Context<R::Msg>) -> Result<Next, Failure> {
        Ok(Next::Continue)
    }
}

pub(crate) struct Shell<B>(PhantomData<fn() -> B>);

impl<B> Shell<B> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

/// One life. Fields drop in this order: first the behaviour, then its tasks, the address last.
pub(crate) struct Life<B: Behaviour> {
    behaviour: B,
    ctx: Context<B::Msg>,
    own: UnboundedReceiver<Own<B::Msg>>,
    _bound: Bound<B::Msg>,
}

#[ractor::async_trait]
impl<B: Behaviour> Actor for Shell<B> {
    type Msg = Wire<B::Msg>;
    /// Lent to the handler while it runs, and not given back when the life is over: so nothing of a life is left
    /// when its supervisor hears of its end, not even if it is killed inside the handler.
    type State = Option<Box<Life<B>>>;
    type Arguments = (Address<B::Msg>, B::Args, Option<ActorId>);

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        (address, args, above): Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        simulation::born(address.path(), &myself.get_cell(), above);
        let (sender, own) = mpsc::unbounded_channel();
        let lane = Lane { actor: myself, own: sender };
        let bound = address.bind(B::KIND, lane.clone());
        let ctx = Context::new(address, lane);
        match caught(B::start(args, &ctx)).await.flatten() {
            Ok(behaviour) => Ok(Some(Box::new(Life { behaviour, ctx, own, _bound: bound }))),
            Err(failure) => Err(raise(failure, &ctx)),
        }
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        wire: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let Some(mut life) = state.take() else { return Ok(()) };
        let told = match wire {
            Wire::Wake => None,
            Wire::Told(ticket, msg) => Some((ticket.take(), msg)),
        };
        let mut next = life.read_own_lane().await;
        match (&next, told) {
            (Ok(Next::Continue), Some((since, msg))) => next = life.input(msg, Some(since)).await,
            // its life ends before its turn came
            (_, Some(_)) => _ = life.tally().dead_letters.fetch_add(1, Ordering::Relaxed),
            (_, None) => {}
        }
        go_on(next, life, &myself, state)
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Self::Msg>,
        event: SupervisionEvent,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let (life, end) = match event {
            SupervisionEvent::ActorFailed(cell, error) => (cell.get_id(), Err(Failure::from_ractor(error))),
            SupervisionEvent::ActorTerminated(cell, _, reason) => (cell.get_id(), end_of(reason)),
            _ => return Ok(()),
        };
        let Some(mut me) = state.take() else { return Ok(()) };
        let next = caught(B::child_ended(&mut me.behaviour, life, end, &me.ctx)).await.flatten();
        go_on(next, me, &myself, state)
    }

    async fn post_stop(&self, _: ActorRef<Self::Msg>, state: &mut Self::State) -> Result<(), ActorProcessingErr> {
        let Some(mut life) = state.take() else { return Ok(()) };
        caught(B::stop(&mut life.behaviour, &life.ctx)).await.map_err(|failure| raise(failure, &life.ctx))
    }
}

impl<B: Behaviour> Life<B> {
    /// What is in the own lane now; what arrives meanwhile waits for the next turn, so that the mailbox is not starved.
    async fn read_own_lane(&mut self) -> Result<Next, Failure> {
        for _ in 0..self.own.len() {
            let next = match self.own.try_recv() {
                Ok(Own::Input(msg)) => self.input(msg, None).await?,
                Ok(Own::Timed(fuse, msg)) if fuse.is_lit() => self.input(msg, None).await?,
                Ok(Own::Observe(until, reply)) if !reply.is_closed() => {
                    let view = self.ctx.address().vitals().view(ActorState::Running);
                    self.behaviour.observe(view, until, reply, &self.ctx);
                    Next::Continue
                }
                Ok(_) => Next::Continue,
                Err(_) => break,
            };
            if next == Next::Stop {
                return Ok(next);
            }
        }
        Ok(Next::Continue)
    }

    /// `since`: when a message came into the mailbox; none for what did not come through it.
    async fn input(&mut self, msg: B::Msg, since: Option<Instant>) -> Result<Next, Failure> {
        let vitals = self.ctx.address().vitals();
        let name = vitals.tap.is_open().then(|| variant(&msg));
        let begun = Instant::now();
        vitals.tally.begin(begun);
        let next = caught(B::handle(&mut self.behaviour, msg, &self.ctx)).await.flatten();
        let took = begun.elapsed();
        if vitals.tally.end(took) {
            tracing::warn!(actor = vitals.path, ms = took.as_millis() as u64, "slow handler");
        }
        if let Some(message) = name {
            let waited_us = since.map(|since| begun.saturating_duration_since(since).as_micros() as u64);
            let handled_us = took.as_micros() as u64;
            vitals.tap.send(Traced { at_ms: now_ms(), message, waited_us, handled_us, ok: next.is_ok() });
        }
        next
    }

    fn tally(&self) -> &Tally {
        &self.ctx.address().vitals().tally
    }
}

fn go_on<B: Behaviour>(
    next: Result<Next, Failure>,
    life: Box<Life<B>>,
    myself: &ActorRef<Wire<B::Msg>>,
    state: &mut Option<Box<Life<B>>>,
) -> Result<(), ActorProcessingErr> {
    if next == Ok(Next::Stop) {
        myself.stop(None);
    }
    match next {
        Ok(_) => {
            *state = Some(life);
            Ok(())
        }
        Err(failure) => Err(raise(failure, &life.ctx)),
    }
}

fn raise<M: Send + 'static>(failure: Failure, ctx: &Context<M>) -> ActorProcessingErr {
    ctx.address().vitals().record_error(&failure);
    Raised(failure).into()
}

/// ractor's reasons for an end: none, "Drained", or the text of a kill or a cancelled task.
fn end_of(reason: Option<String>) -> Result<(), Failure> {
    match reason.as_deref() {
        None | Some("Drained") => Ok(()),
        Some(reason) => Err(Failure::new(reason)),
    }
}
