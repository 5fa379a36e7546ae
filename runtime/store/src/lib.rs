//! Store traits, their records, the memory backend and the conformance suite every backend passes.
//! Which backend stands behind a trait is known to `bin/nsfl-node` only.

mod access;
mod blob;
mod error;
mod finding;
mod job;
mod task;

pub mod conformance;
pub mod memory;

pub use access::{AccessStore, AuditRecord, ClientMark, MarkKind, TokenRecord};
pub use blob::{BlobStore, BlobWriter, Owner, OwnerError, SweepReport, put_bytes};
pub use error::{Certainty, StoreError};
pub use finding::Finding;
pub use job::{
    Change, CheckpointRecord, EventRecord, JobRecord, JobStore, MemberRecord, MemberState, RoundRecord, RoundState,
    RunRecord, Steps,
};
pub use task::{MAX_TASK_RECORD, TaskRecord, TaskStore};
