//! The client's side of the workflow: a task manager, one executor for each task, and the uplink to the server.
//! Decisions on a task are its machine's (`nsfl_workflow`); this crate carries them out. It knows no other role.

mod admission;
mod compressed;
mod delta;
mod executor;
mod manager;
mod message;
mod model;
mod order;
mod processes;
mod residual;
mod roster;
mod site;
mod trainer;
mod transfer;
mod tree;
mod uplink;

pub use admission::Admission;
pub use order::Work;
pub use processes::{Confinement, ProcessConfig, Processes, SandboxRules, ScriptRules};
pub use site::SiteConfig;
pub use trainer::{Assignment, Progress, ProgressSink, Trainer};
pub use tree::client_tree;
