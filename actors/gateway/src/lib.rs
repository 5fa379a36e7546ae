//! Server end of the links: one session for each connected client, admission of peers and blobs, routing by role.
//! The sender of a message is the certificate's name, put in here. It knows no other role's insides.

mod access;
mod admission;
mod blobs;
mod counters;
mod gateway;
mod hub;
mod look;
mod session;
mod tree;
mod uploads;

pub use tree::{GatewayConfig, gateway_tree};
