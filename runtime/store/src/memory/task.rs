//! Task records in a map.

use super::lock;
use crate::{StoreError, TaskRecord, TaskStore};
use async_trait::async_trait;
use nsfl_types::TaskKey;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// Task records in memory.
#[derive(Debug, Default)]
pub struct MemoryTaskStore {
    records: Mutex<BTreeMap<TaskKey, TaskRecord>>,
}

#[async_trait]
impl TaskStore for MemoryTaskStore {
    async fn put(&self, record: TaskRecord) -> Result<(), StoreError> {
        record.check_len()?;
        lock(&self.records).insert(record.key.clone(), record);
        Ok(())
    }

    async fn remove(&self, key: &TaskKey) -> Result<(), StoreError> {
        lock(&self.records).remove(key);
        Ok(())
    }

    async fn all(&self) -> Result<Vec<TaskRecord>, StoreError> {
        Ok(lock(&self.records).values().cloned().collect())
    }
}
