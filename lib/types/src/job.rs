//! The job: its document as users write it, the checked form the system works with, its states.

mod compression;
mod document;
mod late;
mod optimizer;
mod scripts;
mod spec;
mod state;

pub use compression::{Bits, Bucket, Coding, CompressionSpec, Norm, Share, UpdateCoding, Values};
pub use document::{AggregatorDocument, HyperDocument, JobDocument, OneOrMany, ResourceDocument};
pub use late::Late;
pub use optimizer::{OptimizerSpec, PrivateSpec};
pub use scripts::{ExtenderDocument, ExtenderSpec, ScriptsDocument, ScriptsSpec};
pub use spec::{
    AggregatorSpec, HyperParameters, JobError, JobSpec, ModelSource, Quorum, Redundancy, Resource, Runtime,
};
pub use state::{JobState, JobStatus};
