//! The REST bodies, one type a body, shared by the api-server and nsfl-ctl.
//! Types only: no HTTP, no decisions. Every instant is RFC 3339 text in UTC with milliseconds.

mod actor;
mod answer;
mod client;
mod event;
mod job;
mod round;
mod service;
mod time;

#[cfg(test)]
mod tests;

pub use actor::{Actor, Mailbox};
pub use answer::{Answer, Outcome};
pub use client::{Client, Clients};
pub use event::{Event, Events};
pub use job::{Checkpoint, Job, Jobs};
pub use round::{Awaited, CurrentRound, Failure, JobMetrics, Measured, Member, Model, Round, RoundDetail, Rounds};
pub use service::{Namespaces, StoredFile, Version};
pub use time::{Time, TimeError};
