//! REST over actix-web: decodes, asks the actor that knows, encodes. It decides nothing and keeps nothing but files
//! that users upload into a namespace's storage.

mod actors;
mod args;
mod author;
mod backup;
mod clients;
mod error;
mod events;
mod files;
mod health;
mod jobs;
mod openapi;
mod rounds;
mod routes;
mod served;
mod server;
mod shared;
mod storage;
mod tls;

pub use args::{ApiServerArgs, Backup, BackupStream, Limits, Observe, Tls};
pub use server::{ApiServer, ApiServerMsg};
