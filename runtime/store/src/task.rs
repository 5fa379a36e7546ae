//! The client's task records: small, and only what reconciliation could rebuild at a price.

use crate::StoreError;
use async_trait::async_trait;
use nsfl_types::TaskKey;
use serde::{Deserialize, Serialize};

/// Largest record a task store takes, in bytes. Anything larger belongs in a blob.
pub const MAX_TASK_RECORD: usize = 64 * 1024;

/// A task as the client keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRecord {
    /// The task.
    pub key: TaskKey,
    /// Snapshot of the task machine.
    pub snapshot: Vec<u8>,
}

impl TaskRecord {
    /// `TooLarge` when the snapshot is above `MAX_TASK_RECORD`: every backend asks this before it writes.
    ///
    /// # Errors
    /// `TooLarge`.
    pub fn check_len(&self) -> Result<(), StoreError> {
        let len = self.snapshot.len();
        if len <= MAX_TASK_RECORD {
            return Ok(());
        }
        Err(StoreError::TooLarge {
            what: format!("record of task {}", self.key),
            len: len as u64,
            max: MAX_TASK_RECORD as u64,
        })
    }
}

/// The client's task records. Each write is durable when it returns. All is done in the order it was asked for, also when
/// whoever asked is gone: what is read or written afterwards is not overtaken by it.
#[async_trait]
pub trait TaskStore: Send + Sync + 'static {
    /// Inserts or replaces; `TooLarge` above `MAX_TASK_RECORD`.
    async fn put(&self, record: TaskRecord) -> Result<(), StoreError>;
    /// Removes; nothing when absent.
    async fn remove(&self, key: &TaskKey) -> Result<(), StoreError>;
    /// Every record, by key.
    async fn all(&self) -> Result<Vec<TaskRecord>, StoreError>;
}
