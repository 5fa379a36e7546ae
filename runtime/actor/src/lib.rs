//! What we add to ractor: bounded mailboxes with a visible depth, stable addresses, supervision trees, Observe.
//!
//! ractor runs the actors; this crate decides how many messages may wait for one, who starts it again when it
//! fails, and how to see what it does. It knows no role, stores nothing and talks to no network: what an actor
//! must not lose across a restart it reloads in [`Role::start`].

mod address;
mod blocking;
mod child;
mod clock;
mod context;
mod directory;
mod failure;
mod gate;
mod member;
mod reply;
mod role;
mod shell;
mod simulation;
mod spec;
mod supervisor;
mod tally;
mod tap;
mod tree;
mod vitals;

pub use address::{Address, AskError, DEFAULT_TELL_DEADLINE, SendError};
pub use blocking::{Waiter, blocking};
pub use clock::now_ms;
pub use context::{Context, Timer};
pub use directory::Directory;
pub use failure::Failure;
pub use gate::MailboxView;
pub use reply::Reply;
pub use role::{Next, Role};
pub use simulation::{Life, Simulation};
pub use spec::{Backoff, ChildEvent, ChildSpec, GiveUp, Intensity, Restart, Strategy, SupervisorSpec};
pub use supervisor::{Exit, Found, Supervisor};
pub use tally::{HandlerView, SLOW_HANDLER, Totals, census};
pub use tap::Traced;
pub use vitals::{ActorState, ActorView, RestartView};
