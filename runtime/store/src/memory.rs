//! Backends in memory: for tests and simulation, and the reference the others are held against. Nothing outlives the value.

mod access;
mod blob;
mod job;
mod task;

pub use access::MemoryAccessStore;
pub use blob::MemoryBlobStore;
pub use job::MemoryJobStore;
pub use task::MemoryTaskStore;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The lock's content. A panic elsewhere cannot leave it half changed: every change is checked before the first is made.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance;

    #[tokio::test]
    async fn the_job_store_conforms() {
        conformance::job_store(async |_| MemoryJobStore::default()).await;
    }

    #[tokio::test]
    async fn the_access_store_conforms() {
        conformance::access_store(async |_| MemoryAccessStore::default()).await;
    }

    #[tokio::test]
    async fn the_blob_store_conforms() {
        conformance::blob_store(async |_, max| MemoryBlobStore::new(max)).await;
    }

    #[tokio::test]
    async fn the_task_store_conforms() {
        conformance::task_store(async |_| MemoryTaskStore::default()).await;
    }
}
