//! The two spans every log line of training belongs to: a round on the server, a task on its client.
//! Both carry the trace id, so the lines of one round can be found on every node.

use crate::TraceContext;
use nsfl_types::{JobKey, TaskKey};
use tracing::{Span, info_span};

/// One attempt of one round. Fields: `job`, `run`, `round`, `attempt`, `trace`.
#[must_use]
pub fn round(job: &JobKey, run: u32, round: u32, attempt: u32) -> Span {
    let trace = TraceContext::of_round(job, run, round).trace_id();
    info_span!("round", %job, run, round, attempt, trace)
}

/// One client's part of a round. Fields as a round's, and `client`, `kind`.
#[must_use]
pub fn task(key: &TaskKey) -> Span {
    let trace = TraceContext::of_task(key).trace_id();
    let TaskKey { job, run, round, attempt, kind, client } = key;
    info_span!("task", %job, run, round, attempt, ?kind, %client, trace)
}
