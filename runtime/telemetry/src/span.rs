//! The two spans every log line of training belongs to: a round on the server, a task on its client.
//! Both carry the trace id, so the lines of one round can be found on every node.

use crate::TraceContext;
use nsfl_types::{JobKey, TaskKey};
use tracing::{Span, info_span};

/// One attempt of one round. Fields: `job`, `run`, `round`, `attempt`, `trace`.
#[must_use]
pub fn round(job: &JobKey, run: u32, round: u32, attempt: u32, context: &TraceContext) -> Span {
    info_span!("round", %job, run, round, attempt, trace = %context.trace_id())
}

/// One client's part of a round. Fields as a round's, and `client`, `kind`.
#[must_use]
pub fn task(key: &TaskKey, context: &TraceContext) -> Span {
    info_span!(
        "task",
        job = %key.job,
        run = key.run,
        round = key.round,
        attempt = key.attempt,
        kind = ?key.kind,
        client = %key.client,
        trace = %context.trace_id()
    )
}
