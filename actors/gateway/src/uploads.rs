//! How many results are written at once: so many permits, the others wait in the order they came, and not for ever.

use crate::counters::Counters;
use async_trait::async_trait;
use bytes::Bytes;
use nsfl_store::{BlobWriter, Owner, StoreError};
use nsfl_types::{BlobRef, Code, Refusal};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The permits.
#[derive(Debug)]
pub(crate) struct Uploads {
    permits: Arc<Semaphore>,
    total: usize,
    wait: Duration,
    waiting: AtomicUsize,
}

impl Uploads {
    pub(crate) fn new(total: usize, wait: Duration) -> Self {
        Self { permits: Arc::new(Semaphore::new(total)), total, wait, waiting: AtomicUsize::new(0) }
    }

    /// A permit, or `Busy` when none came free in time.
    pub(crate) async fn admit(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let _waiting = Waiting::enter(&self.waiting);
        let permit = tokio::time::timeout(self.wait, Arc::clone(&self.permits).acquire_owned()).await;
        let busy = || Refusal::new(Code::Busy, format!("{} uploads are under way; try again", self.total));
        permit.map_err(|_| busy())?.map_err(|_| busy())
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.total - self.permits.available_permits()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// Counts one who waits, also when it gives up waiting.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A store's writer that holds its permit until it is done or dropped, and counts what it writes.
pub(crate) struct Admitted {
    pub(crate) inner: Box<dyn BlobWriter>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) _permit: OwnedSemaphorePermit,
}

#[async_trait]
impl BlobWriter for Admitted {
    fn offset(&self) -> u64 {
        self.inner.offset()
    }

    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        self.counters.written(bytes.len() as u64);
        self.inner.write(bytes).await
    }

    async fn commit(self: Box<Self>, owner: &Owner) -> Result<BlobRef, StoreError> {
        self.inner.commit(owner).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_finds_no_permit_in_time_is_told_to_try_again() {
        let uploads = Uploads::new(1, Duration::ZERO);
        let first = uploads.admit().await.unwrap();
        assert_eq!(uploads.admit().await.unwrap_err().code, Code::Busy);
        assert_eq!((uploads.in_flight(), uploads.waiting()), (1, 0));
        drop(first);
        assert!(uploads.admit().await.is_ok());
    }

    #[tokio::test]
    async fn who_waits_gets_the_permit_that_comes_free() {
        let uploads = Arc::new(Uploads::new(1, Duration::from_secs(60)));
        let first = uploads.admit().await.unwrap();
        let waits = tokio::spawn({
            let uploads = Arc::clone(&uploads);
            async move { uploads.admit().await }
        });
        while uploads.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        drop(first);
        let second = waits.await.unwrap().unwrap();
        assert_eq!((uploads.in_flight(), uploads.waiting()), (1, 0));
        drop(second);
        assert_eq!(uploads.in_flight(), 0);
    }
}
