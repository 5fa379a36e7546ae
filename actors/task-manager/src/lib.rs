//! The client's side of the workflow: a task manager, one executor for each task, and the uplink to the server.
//! Decisions on a task are its machine's (`nsfl_workflow`); this crate carries them out. It knows no other role.

mod delta;
mod executor;
mod manager;
mod message;
mod order;
mod roster;
mod site;
mod train;
mod transfer;
mod tree;
mod uplink;

pub use site::{InProcess, SiteConfig};
pub use tree::client_tree;
