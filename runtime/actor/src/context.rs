//! `Context`: what a role can do while it lives: know its address, set timers, spawn work.
//!
//! Everything started here ends with the actor's life, and its results come back as inputs that need no permit. Work
//! goes on in the log span it was started in.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ractor::ActorCell;
use tokio::task::{AbortHandle, JoinSet};
use tracing::Instrument as _;

use crate::address::{Address, Lane, Own};
use crate::blocking::blocking;
use crate::failure::{Failure, caught};

pub struct Context<M> {
    address: Address<M>,
    lane: Lane<M>,
    tasks: Mutex<JoinSet<()>>,
}

impl<M: Send + 'static> Context<M> {
    pub(crate) fn new(address: Address<M>, lane: Lane<M>) -> Self {
        Self { address, lane, tasks: Mutex::default() }
    }

    pub fn address(&self) -> &Address<M> {
        &self.address
    }

    pub fn path(&self) -> &str {
        self.address.path()
    }

    /// Gives the actor `msg` after `delay`, unless the timer is dropped before the actor takes the message.
    pub fn send_after(&self, delay: Duration, msg: M) -> Timer {
        let fuse = Fuse(Arc::new(AtomicBool::new(true)));
        let lane = self.lane.clone();
        let lit = fuse.clone();
        let task = self.track(async move {
            tokio::time::sleep(delay).await;
            lane.push(Own::Timed(lit, msg));
        });
        Timer { fuse, task }
    }

    /// Runs `work` beside the actor and gives it the result as an input. A panic arrives as `Err`. The work is
    /// aborted when the actor's life ends, or by the returned handle; then nothing arrives.
    pub fn spawn<F>(
        &self,
        work: F,
        to_msg: impl FnOnce(Result<F::Output, Failure>) -> M + Send + 'static,
    ) -> AbortHandle
    where
        F: Future + Send + 'static,
        F::Output: Send,
    {
        let lane = self.lane.clone();
        self.track(async move {
            let result = caught(work).await;
            lane.push(Own::Input(to_msg(result)));
        })
    }

    /// The same for work that blocks its thread. Once begun it runs to its end, but after the actor's life its
    /// result is dropped.
    pub fn spawn_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
        to_msg: impl FnOnce(Result<T, Failure>) -> M + Send + 'static,
    ) -> AbortHandle {
        let lane = self.lane.clone();
        self.track(async move {
            let result = blocking(work).await;
            lane.push(Own::Input(to_msg(result)));
        })
    }

    /// Runs `work` beside the actor, without a result. It is aborted when the actor's life ends.
    pub fn run(&self, work: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.track(work)
    }

    /// Runs a task that ends with the actor.
    pub(crate) fn track(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let mut tasks = self.tasks.lock().expect("nothing panics while it holds the tasks' lock");
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task.in_current_span())
    }

    pub(crate) fn cell(&self) -> ActorCell {
        self.lane.actor.get_cell()
    }
}

impl<M> std::fmt::Debug for Context<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Context({:?})", self.address)
    }
}

/// A message to come. Dropping it takes the message back.
#[must_use = "dropping a timer takes its message back"]
#[derive(Debug)]
pub struct Timer {
    fuse: Fuse,
    task: AbortHandle,
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.fuse.0.store(false, Ordering::Release);
        self.task.abort();
    }
}

/// Whether a timer's message is still wanted when the actor takes it.
#[derive(Clone, Debug)]
pub(crate) struct Fuse(Arc<AtomicBool>);

impl Fuse {
    pub(crate) fn is_lit(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
