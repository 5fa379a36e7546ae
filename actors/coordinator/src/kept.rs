//! Which blobs a stored run cannot go on without, and under whose names it keeps them. For checks and backups.

use crate::driver::Owners;
use nsfl_store::{Owner, OwnerError, RunRecord};
use nsfl_types::BlobRef;
use nsfl_workflow::{RunMachine, SnapshotError};

/// Why it cannot be said what a run needs.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    /// Its snapshot is damaged or newer.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// Its job's name cannot own blobs.
    #[error(transparent)]
    Owner(#[from] OwnerError),
}

/// The blobs this run needs, each with the owner that keeps it. None once the run is over.
///
/// # Errors
/// The snapshot is not readable.
pub fn kept_blobs(record: &RunRecord) -> Result<Vec<(Owner, BlobRef)>, KeptError> {
    let (model, updates) = RunMachine::restore(&record.snapshot)?.needs();
    let owners = Owners::new(&record.job, record.run)?;
    let models = model.into_iter().map(|blob| (owners.models.clone(), blob));
    Ok(models.chain(updates.into_iter().map(|blob| (owners.updates.clone(), blob))).collect())
}
