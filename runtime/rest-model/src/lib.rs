//! The REST bodies, one type a body, shared by the api-server and nsfl-ctl.
//! Types only: no HTTP, no decisions. Every instant is RFC 3339 text in UTC with milliseconds.

mod access;
mod actor;
mod answer;
mod client;
mod event;
mod job;
mod log;
mod round;
mod service;
mod time;

#[cfg(test)]
mod tests;

pub use access::{Audit, AuditEntry, Login, MadeToken, NewToken, Session, Token, Tokens};
pub use actor::{Actor, ActorFailure, ActorRestart, Handler, Mailbox, TracedMessage};
pub use answer::{Answer, Outcome};
pub use client::{Client, ClientLink, ClientTask, Clients, Mark};
pub use event::{Event, Events};
pub use job::{Checkpoint, Job, Jobs};
pub use log::{LogLine, Logs};
pub use round::{Awaited, CurrentRound, Failure, JobMetrics, Measured, Member, Model, Round, RoundDetail, Rounds};
pub use service::{Namespaces, StoredFile, Version};
pub use time::{Time, TimeError};
