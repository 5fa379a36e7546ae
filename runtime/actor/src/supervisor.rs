//! `Supervisor`: the handle of a supervisor, stable across its restarts. What it does is in `tree`.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::address::Address;
use crate::failure::Failure;
use crate::member::{Member, Seat, halt};
use crate::reply::Reply;
use crate::spec::{ChildSpec, SupervisorSpec};
use crate::tree::{Command, Done, Tree};
use crate::vitals::{ActorState, ActorView};

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

const COMMANDS: usize = 1024;
const CALL_DEADLINE: Duration = Duration::from_secs(30);
