//! Job, run, round and task state machines: inputs in, effects out. No IO, no clock, no weights.
//!
//! A driver (an actor around a machine) does, in this order: message → input → `handle` → persist the snapshot
//! and the effects it owes in one transaction → carry out the effects *in the order given* → arm one timer for
//! `deadline`. After a restart it calls `restore`, then `resume`. Effects may be repeated; whoever carries them out
//! drops what is stale or known.

mod job;
mod round;
mod run;
mod snapshot;
mod task;

pub use job::{JobEffect, JobInput, JobMachine, NotAllowed, Operation, allowed};
pub use round::{Begun, MemberState, RoundId, RoundInput, RoundMachine, RoundOutcome, RoundRules, UpdateRef};
pub use run::{
    Evaluated, LatePolicy, Member, Needs, Packages, RetryPolicy, RoundPolicy, RunEffect, RunInput, RunMachine,
    RunPhase, RunPlan, RunView,
};
pub use snapshot::SnapshotError;
pub use task::{Outcome, Report, TaskEffect, TaskInput, TaskMachine, TaskOrder, TaskPhase};
