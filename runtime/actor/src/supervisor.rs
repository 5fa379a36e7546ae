//! `Supervisor`: the handle of a supervisor, stable across its restarts. What it does is in `tree`.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{broadcast, watch};

use crate::address::Address;
use crate::failure::Failure;
use crate::member::{Member, Seat, halt};
use crate::reply::Reply;
use crate::spec::{ChildSpec, SupervisorSpec};
use crate::tap::Traced;
use crate::tree::{Command, Done, Tree};
use crate::vitals::{ActorState, ActorView, Vitals};

/// How a supervisor ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    Stopped,
    Escalated(Failure),
}

/// A handle to a supervisor. Cloning it makes a second handle to the same one; dropping it ends nothing.
#[derive(Clone, Debug)]
pub struct Supervisor {
    address: Address<Command>,
    exit: Arc<watch::Sender<Option<Exit>>>,
}

impl Supervisor {
    /// A handle to a supervisor that will be started on it, by [`SupervisorSpec::bind`]. So an actor can have the
    /// handle of a supervisor in its arguments before either runs.
    pub fn unbound(path: impl Into<String>) -> Self {
        Self { address: Address::new(path, COMMANDS), exit: Arc::new(watch::Sender::new(None)) }
    }

    /// Starts a tree and its children in order. If one fails to start, those before it are stopped in reverse and
    /// its failure is returned.
    pub async fn start(spec: SupervisorSpec) -> Result<Self, Failure> {
        let handle = spec.handle();
        Seat::<Tree>::new(handle.address.clone(), spec).spawn(None).await?;
        Ok(handle)
    }

    /// Starts one more child, after all others; done when it has started. It is not kept if this fails. Once it ends
    /// for good it is forgotten and its name is free again. When this supervisor is itself restarted, children
    /// started here are gone: whoever started them starts them again. Fails if the name is taken.
    ///
    /// A child must not wait for this on its own supervisor in its start, nor a supervisor's listener anywhere.
    pub async fn start_child(&self, child: ChildSpec) -> Result<(), Failure> {
        self.call(|reply| Command::Start(child, reply)).await
    }

    /// The same, unless there is a child of that name, running or about to be: then nothing is done.
    pub async fn ensure_child(&self, child: ChildSpec) -> Result<(), Failure> {
        self.call(|reply| Command::Ensure(child, reply)).await
    }

    /// Ends a child orderly and does not start it again; done when it has ended. It fails if there is no such child.
    pub async fn stop_child(&self, name: &str) -> Result<(), Failure> {
        self.call(|reply| Command::Stop(name.to_owned(), reply)).await
    }

    /// Ends a child orderly, if it runs, and starts it, without pause; done when it has started.
    pub async fn restart_child(&self, name: &str) -> Result<(), Failure> {
        self.call(|reply| Command::Restart(name.to_owned(), reply)).await
    }

    /// Whoever lives, or has lived, at `path` somewhere below. None too when a supervisor on the way does not answer.
    pub async fn find(&self, path: &str) -> Option<Found> {
        let find = |reply| Command::Find(path.to_owned(), reply);
        // boxed: supervisors below are asked the same
        let answer: BoxFuture<'_, _> = self.address.ask(FIND_DEADLINE, find).boxed();
        answer.await.ok().flatten()
    }

    /// The tree from here down. Those that do not answer in time are shown unresponsive.
    pub async fn observe(&self, deadline: Duration) -> ActorView {
        match self.address.observe(deadline).await {
            Some(view) => view,
            None if self.address.lane().is_some() => self.address.vitals().view(ActorState::Unresponsive),
            None => self.address.vitals().view(ActorState::Stopped),
        }
    }

    /// Ends a root: its children one by one, in reverse order of their start; each drains its mailbox, runs its
    /// `stop` and ends, or is killed when its own time is over. What is left after `deadline` is killed.
    pub async fn shutdown(&self, deadline: Duration) {
        if let Some(lane) = self.address.lane() {
            halt(&self.address, lane.actor.get_cell(), deadline).await;
        }
    }

    /// How the supervisor's current life ends, or its last one ended.
    pub async fn wait(&self) -> Exit {
        let mut exit = self.exit.subscribe();
        let ended = exit.wait_for(Option::is_some).await.expect("this handle keeps the sender alive");
        ended.clone().expect("waited for it to be some")
    }

    pub fn path(&self) -> &str {
        self.address.path()
    }

    pub(crate) fn address(&self) -> &Address<Command> {
        &self.address
    }

    pub(crate) fn record_exit(&self, exit: Option<Exit>) {
        self.exit.send_replace(exit);
    }

    async fn call(&self, command: impl FnOnce(Reply<Done>) -> Command) -> Done {
        let answer = self.address.ask(CALL_DEADLINE, command).await;
        answer.map_err(|error| Failure::from(error).context(format!("no answer from supervisor {}", self.path())))?
    }
}

/// An actor found in the tree by its path, with what may be done to it.
#[derive(Clone)]
pub struct Found {
    parent: Supervisor,
    name: String,
    vitals: Arc<Vitals>,
}

impl Found {
    pub(crate) fn new(parent: Supervisor, name: String, vitals: &Arc<Vitals>) -> Self {
        Self { parent, name, vitals: Arc::clone(vitals) }
    }

    /// As [`Supervisor::restart_child`].
    pub async fn restart(&self) -> Result<(), Failure> {
        self.parent.restart_child(&self.name).await
    }

    /// As [`Supervisor::stop_child`].
    pub async fn stop(&self) -> Result<(), Failure> {
        self.parent.stop_child(&self.name).await
    }

    /// What it handles from now on, as long as the receiver is there.
    pub fn trace(&self) -> broadcast::Receiver<Traced> {
        self.vitals.tap.listen()
    }
}

impl std::fmt::Debug for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Found({})", self.vitals.path)
    }
}

const COMMANDS: usize = 1024;
const CALL_DEADLINE: Duration = Duration::from_secs(30);
const FIND_DEADLINE: Duration = Duration::from_secs(5);
