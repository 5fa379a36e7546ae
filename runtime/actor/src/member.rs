//! `Member`: a child as its supervisor sees it, whatever it is: something to start, to look at and to end.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ractor::{Actor, ActorCell, SpawnErr};

use crate::address::Address;
use crate::failure::Failure;
use crate::shell::{Behaviour, Shell};
use crate::supervisor::Supervisor;
use crate::vitals::{ActorView, Vitals};

pub(crate) trait Member: Send + Sync {
    fn vitals(&self) -> &Arc<Vitals>;
    /// Its handle, if it is a supervisor.
    fn supervisor(&self) -> Option<Supervisor>;
    /// Begins a life, linked to `parent` if there is one; done when its start is.
    fn spawn(&self, parent: Option<ActorCell>) -> BoxFuture<'static, Result<ActorCell, Failure>>;
    fn observe(&self, deadline: Duration) -> BoxFuture<'static, Option<ActorView>>;
    /// Ends a life: it drains its mailbox and stops; after `within` it is killed.
    fn halt(&self, cell: ActorCell, within: Duration) -> BoxFuture<'static, ()>;
}

/// Where a behaviour lives, and what it is started with each time.
pub(crate) struct Seat<B: Behaviour> {
    address: Address<B::Msg>,
    args: B::Args,
}

impl<B: Behaviour> Seat<B> {
    pub(crate) fn new(address: Address<B::Msg>, args: B::Args) -> Self {
        Self { address, args }
    }
}

impl<B: Behaviour> Member for Seat<B> {
    fn vitals(&self) -> &Arc<Vitals> {
        self.address.vitals()
    }

    fn supervisor(&self) -> Option<Supervisor> {
        B::supervisor(&self.args)
    }

    fn spawn(&self, parent: Option<ActorCell>) -> BoxFuture<'static, Result<ActorCell, Failure>> {
        let above = parent.as_ref().map(ActorCell::get_id);
        let arguments = (self.address.clone(), self.args.clone(), above);
        async move {
            let started = match parent {
                Some(parent) => Shell::<B>::spawn_linked(None, Shell::new(), arguments, parent).await,
                None => Shell::<B>::spawn(None, Shell::new(), arguments).await,
            };
            match started {
                Ok((actor, _)) => Ok(actor.get_cell()),
                Err(SpawnErr::StartupFailed(error)) => Err(Failure::from_ractor(error)),
                Err(other) => Err(Failure::from(other)),
            }
        }
        .boxed()
    }

    fn observe(&self, deadline: Duration) -> BoxFuture<'static, Option<ActorView>> {
        let address = self.address.clone();
        async move { address.observe(deadline).await }.boxed()
    }

    fn halt(&self, cell: ActorCell, within: Duration) -> BoxFuture<'static, ()> {
        let address = self.address.clone();
        async move { halt(&address, cell, within).await }.boxed()
    }
}

/// Ends the life `cell` at `address` orderly, or after `within` by force.
pub(crate) async fn halt<M: Send + 'static>(address: &Address<M>, cell: ActorCell, within: Duration) {
    let _ = cell.drain();
    if cell.wait(Some(within)).await.is_ok() {
        return;
    }
    tracing::warn!(actor = address.path(), "actor killed");
    cell.kill();
    // A kill takes effect at the actor's next await. One that has none is left behind without its address.
    if cell.wait(Some(KILL_GRACE)).await.is_err() {
        tracing::error!(actor = address.path(), "actor abandoned");
        address.release(cell.get_id());
    }
}

const KILL_GRACE: Duration = Duration::from_secs(1);
