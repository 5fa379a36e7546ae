//! Harness for tests on real processes: provisions, starts and ends nodes, talks REST, waits on events, never on a
//! clock. Holds no tests.

mod commands;
pub mod faults;
mod federation;
pub mod hosts;
pub mod learn;
pub mod marks;
mod node;
mod port;
mod proxy;
mod rest;
mod small_disk;
mod until;

pub use commands::{ctl, fsck, node, said};
pub use federation::{Env, Federation, Options, Place, digits_job, echo_job, model_of};
pub use node::{FREEZE, Fate, Launch, Node, Signal, binary};
pub use rest::{Answer, Event, Rest};
pub use small_disk::SmallDisk;
pub use until::{SOON, children, is_there, trainer, until};
