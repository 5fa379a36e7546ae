//! What actors say to each other, inside a node and across links.
//! No behaviour, and by rule no tensors: weights travel as `BlobRef`s and cannot sit in a mailbox.

mod coordinator;
mod gateway;
mod scheduler;
mod selector;
pub mod wire;

pub use coordinator::{CoordinatorMsg, CoordinatorView, JobRun, Live, LiveEvent, Starter, TaskProgress};
pub use gateway::{GatewayMsg, LinkView, LinksView};
pub use scheduler::{JobOperation, JobView, RunEvent, SchedulerMsg};
pub use selector::{ClientView, Cohort, SelectRequest, SelectorMsg};
