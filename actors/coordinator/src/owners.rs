//! Under whose names a run keeps its blobs, so that each goes when nobody needs it any more.

use nsfl_store::{Owner, OwnerError};
use nsfl_types::{JobKey, TaskKey};

/// Of one run.
#[derive(Clone)]
pub(crate) struct Owners {
    pub(crate) run: Owner,
    pub(crate) models: Owner,
    pub(crate) states: Owner,
    pub(crate) updates: Owner,
    pub(crate) packages: Owner,
    pub(crate) inputs: Owner,
}

impl Owners {
    /// Each task's update has an owner of its own: of two that are equal, one may go before the other is summed.
    pub(crate) fn of_update(&self, task: &TaskKey) -> Result<Owner, OwnerError> {
        Owner::new(format!("{}/{}.{}.{}", self.updates, task.round, task.attempt, task.client))
    }

    pub(crate) fn new(key: &JobKey, run: u32) -> Result<Self, OwnerError> {
        let base = format!("{}/{}/run-{run}", key.namespace, key.id);
        let owner = |part: &str| Owner::new(format!("{base}{part}"));
        Ok(Self {
            run: owner("")?,
            models: owner("/models")?,
            states: owner("/states")?,
            updates: owner("/updates")?,
            packages: owner("/packages")?,
            inputs: owner("/inputs")?,
        })
    }
}
