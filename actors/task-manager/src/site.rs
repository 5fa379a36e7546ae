//! What the client's actors share: stores, paths, the trainer, each other's addresses. Holds no task state.

use crate::admission::Admission;
use crate::message::{ExecutorMsg, TaskManagerMsg, UplinkMsg};
use crate::trainer::Trainer;
use nsfl_actor::{Address, Directory, SendError, Supervisor, blocking};
use nsfl_messages::wire::{ClientInfo, TaskReport};
use nsfl_store::{BlobStore, Owner, StoreError, TaskStore};
use nsfl_transport::BlobClient;
use nsfl_types::{Digest, TaskKey};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// What a client is configured with.
#[derive(Clone)]
pub struct SiteConfig {
    /// What it offers; its id, runtimes and number of parallel tasks are read from here.
    pub info: ClientInfo,
    /// Between two signs of life to the registry.
    pub heartbeat: Duration,
    /// Folder of the tasks' working files.
    pub workspace: PathBuf,
    /// Folder of what compression has lost and the next updates give back.
    pub residuals: PathBuf,
    /// Which tasks it takes.
    pub admission: Admission,
    /// Does the tasks.
    pub trainer: Arc<dyn Trainer>,
    /// Data set name to its folder or file.
    pub datasets: BTreeMap<String, PathBuf>,
    /// Models and results.
    pub blobs: Arc<dyn BlobStore>,
    /// Task records.
    pub tasks: Arc<dyn TaskStore>,
    /// Between two removals of blobs that nobody owns.
    pub sweep: Duration,
}

/// The configuration with what the actors need of each other.
pub(crate) struct Site {
    pub(crate) config: SiteConfig,
    pub(crate) transfer: BlobClient,
    pub(crate) uplink: Address<UplinkMsg>,
    pub(crate) manager: Address<TaskManagerMsg>,
    pub(crate) executors: Supervisor,
    /// Executors that were started and have not forgotten their task.
    pub(crate) running: Directory<TaskKey, ExecutorMsg>,
}

impl Site {
    /// Sends a report to the server. Without room it is dropped: whoever made it makes it again.
    pub(crate) fn report(&self, report: TaskReport) {
        match self.uplink.try_tell(UplinkMsg::Report(report)) {
            Ok(()) => {}
            Err(SendError::Down) => tracing::debug!("report before the uplink is there"),
            Err(SendError::Full) => tracing::warn!("report dropped, the uplink is busy"),
        }
    }

    /// The task's folder of working files.
    pub(crate) fn folder(&self, key: &TaskKey) -> PathBuf {
        self.config.workspace.join(short_name(key))
    }

    /// Removes a task: its blobs, its files, and last its record.
    pub(crate) async fn forget(&self, key: &TaskKey) -> Result<(), StoreError> {
        self.config.blobs.release_all(&owner(key)).await?;
        remove_folder(&self.folder(key)).await;
        self.config.tasks.remove(key).await
    }
}

/// Who owns a task's blobs on the client.
pub(crate) fn owner(key: &TaskKey) -> Owner {
    Owner::new(format!("tasks/{}", short_name(key))).expect("a task's folder name is made of checked names")
}

/// A folder name of at most 200 bytes: the task's own, or its beginning and a digest.
pub(crate) fn short_name(key: &TaskKey) -> String {
    const MAX: usize = 200;
    let name = key.folder();
    if name.len() <= MAX {
        return name;
    }
    format!("{}+{}", &name[..MAX - 65], Digest::of(name.as_bytes()))
}

/// What is left of a folder that cannot be removed is logged, and no reason to keep the task.
pub(crate) async fn remove_folder(folder: &Path) {
    let gone = folder.to_owned();
    match blocking(move || std::fs::remove_dir_all(gone)).await {
        Ok(Err(error)) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(folder = %folder.display(), %error, "task folder not removed");
        }
        Ok(_) => {}
        Err(failure) => tracing::warn!(folder = %folder.display(), %failure, "task folder not removed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nsfl_types::{JobKey, TaskKind};

    #[test]
    fn a_task_with_the_longest_names_still_has_a_folder_and_an_owner_of_its_own() {
        let key = |round| TaskKey {
            job: JobKey::new("n".repeat(128).parse().unwrap(), "j".repeat(128).parse().unwrap()),
            run: u32::MAX,
            round,
            attempt: u32::MAX,
            kind: TaskKind::Evaluate,
            client: "c".repeat(128).parse().unwrap(),
        };
        assert_eq!(short_name(&key(1)).len(), 200);
        assert_ne!(owner(&key(1)), owner(&key(2)));
    }
}
