//! REST over actix-web: says who may ask, decodes, asks the actor that knows, encodes; and the console's files. It decides
//! nothing and keeps nothing but files that users upload into a namespace's storage, and who changed what.

mod access;
mod actors;
mod args;
mod author;
mod backup;
mod clients;
mod console;
mod error;
mod events;
mod files;
mod filter;
mod first_token;
mod guard;
mod health;
mod history;
mod jobs;
mod live;
mod metrics;
mod openapi;
mod operations;
mod retention;
mod rounds;
mod routes;
mod served;
mod server;
mod session;
mod shared;
mod storage;
mod stream;
mod tls;
mod tokens;

pub use args::{ApiServerArgs, Backup, BackupStream, Limits, Tls};
pub use first_token::first_token;
pub use retention::AuditKept;
pub use server::{ApiServer, ApiServerMsg};
