//! The words every crate shares: identities, digests, instants, the checked job document, error codes.
//! No behaviour beyond checking; no IO, no clock.

mod blob;
mod cause;
mod code;
mod id;
mod job;
mod metrics;
mod task;
mod time;
mod user;

pub use blob::{BlobRef, Digest, DigestError};
pub use cause::Cause;
pub use code::{Code, Refusal};
pub use id::{ClientId, IdError, JobId, JobKey, Namespace};
pub use job::{
    AggregatorDocument, AggregatorSpec, Bits, Bucket, Coding, CompressionSpec, ExtenderDocument, ExtenderSpec,
    HyperDocument, HyperParameters, JobDocument, JobError, JobSpec, JobState, JobStatus, Late, ModelSource, Norm,
    OneOrMany, OptimizerSpec, PrivateSpec, Quorum, Redundancy, Resource, ResourceDocument, Runtime, ScriptsDocument,
    ScriptsSpec, Share, UpdateCoding, Values,
};
pub use metrics::Metrics;
pub use task::{TaskKey, TaskKind, seed_for};
pub use time::Timestamp;
pub use user::{RoleError, UserRole};
