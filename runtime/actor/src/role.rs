//! `Role`: what one writes to make an actor. It decides nothing about restarts; its supervisor does.

use std::fmt::Debug;
use std::future::Future;

use serde_json::Value;

use crate::context::Context;
use crate::failure::Failure;

pub trait Role: Send + Sized + 'static {
    /// Debugged as its variant's name first, by which a trace calls it.
    type Msg: Debug + Send + 'static;
    /// Used again at each restart.
    type Args: Clone + Send + Sync + 'static;
    /// What it is, in one word for logs and views, such as `"scheduler"`.
    const KIND: &'static str;

    /// Begins a life: reload here what must survive a restart. Messages already queue while it runs.
    fn start(args: Self::Args, ctx: &Context<Self::Msg>) -> impl Future<Output = Result<Self, Failure>> + Send;

    /// Handles one input. A failure or a panic ends this life; what is queued is lost.
    fn handle(
        &mut self,
        msg: Self::Msg,
        ctx: &Context<Self::Msg>,
    ) -> impl Future<Output = Result<Next, Failure>> + Send;

    /// What it wants to show of itself. Must be quick; runs between two inputs.
    fn observe(&self) -> Value;

    /// An orderly end, by shutdown or [`Next::Stop`]. Not called after a failure or when its time is over.
    fn stop(&mut self, ctx: &Context<Self::Msg>) -> impl Future<Output = ()> + Send {
        let _ = ctx;
        async {}
    }
}

/// After an input: go on, or end normally.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Continue,
    Stop,
}
