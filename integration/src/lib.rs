//! Harness for tests on real processes: provisions, starts and ends nodes, talks REST, waits on events, never on a
//! clock. Holds no tests.

mod federation;
mod node;
mod rest;

pub use federation::{Federation, Options, digits_job, echo_job};
pub use node::{Node, Signal, binary};
pub use rest::{Answer, Event, Rest};
