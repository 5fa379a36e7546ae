//! Which blobs a stored run cannot go on without, and under whose names it keeps them. For checks and backups.

use crate::owners::Owners;
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
    let needs = RunMachine::restore(&record.snapshot)?.needs();
    let owners = Owners::new(&record.job, record.run)?;
    let of = |owner: &Owner, blobs: Vec<BlobRef>| {
        let owner = owner.clone();
        blobs.into_iter().map(move |blob| (owner.clone(), blob))
    };
    let updates = needs.updates.into_iter().map(|(task, blob)| Ok((owners.of_update(&task)?, blob)));
    let updates = updates.collect::<Result<Vec<_>, OwnerError>>()?;
    Ok(of(&owners.models, needs.model.into_iter().chain(needs.bases).collect())
        .chain(of(&owners.states, needs.state.into_iter().collect()))
        .chain(updates)
        .chain(of(&owners.packages, needs.packages))
        .chain(of(&owners.inputs, needs.inputs.into_iter().collect()))
        .collect())
}
