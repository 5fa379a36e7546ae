//! A download into a store that holds the blob already, unowned, and sweeps it before it has an owner again.

use crate::support::*;
use async_trait::async_trait;
use bytes::Bytes;
use nsfl_store::memory::MemoryBlobStore;
use nsfl_store::{BlobStore, BlobWriter, Owner, StoreError, SweepReport};
use nsfl_transport::Liveness;
use nsfl_types::{BlobRef, Digest};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Sweeps right after the first beginning of a write.
struct Sweeping(MemoryBlobStore, AtomicBool);

#[async_trait]
impl BlobStore for Sweeping {
    async fn begin(&self, writer: &str, blob: BlobRef) -> Result<Box<dyn BlobWriter>, StoreError> {
        let begun = self.0.begin(writer, blob).await?;
        if !self.1.swap(true, Ordering::Relaxed) {
            self.0.sweep(Duration::MAX).await?;
        }
        Ok(begun)
    }
    async fn create(&self) -> Result<Box<dyn BlobWriter>, StoreError> {
        self.0.create().await
    }
    async fn held(&self, writer: &str, digest: Digest) -> Result<u64, StoreError> {
        self.0.held(writer, digest).await
    }
    async fn stat(&self, digest: Digest) -> Result<Option<u64>, StoreError> {
        self.0.stat(digest).await
    }
    async fn open(&self, digest: Digest) -> Result<Bytes, StoreError> {
        self.0.open(digest).await
    }
    async fn retain(&self, digest: Digest, owner: &Owner) -> Result<(), StoreError> {
        self.0.retain(digest, owner).await
    }
    async fn release(&self, digest: Digest, owner: &Owner) -> Result<(), StoreError> {
        self.0.release(digest, owner).await
    }
    async fn release_all(&self, owner: &Owner) -> Result<(), StoreError> {
        self.0.release_all(owner).await
    }
    async fn sweep(&self, idle: Duration) -> Result<SweepReport, StoreError> {
        self.0.sweep(idle).await
    }
    async fn export(&self, digest: Digest, to: &Path) -> Result<(), StoreError> {
        self.0.export(digest, to).await
    }
    async fn import(&self, from: &Path, owner: &Owner) -> Result<BlobRef, StoreError> {
        self.0.import(from, owner).await
    }
}

#[tokio::test]
async fn a_blob_swept_between_being_found_and_being_owned_is_fetched_anew() {
    let p = pair(Liveness::default()).await;
    let blob = nsfl_store::put_bytes(&p.gateway.store, Bytes::from_static(b"a model"), &owner()).await.unwrap();
    let store = Sweeping(MemoryBlobStore::default(), AtomicBool::new(false));
    nsfl_store::put_bytes(&store, Bytes::from_static(b"a model"), &owner()).await.unwrap();
    store.release(blob.digest, &owner()).await.unwrap();
    soon(p.blobs.get(blob, &store, "site-1", &owner())).await.unwrap();
    assert_eq!(store.open(blob.digest).await.unwrap(), "a model");
}

#[tokio::test]
async fn an_upload_from_a_store_arrives_whole() {
    let p = pair(Liveness::default()).await;
    let bytes: Bytes = (0..3_000_017_u32).map(|i| i.to_le_bytes()[0]).collect();
    let here: std::sync::Arc<dyn BlobStore> = std::sync::Arc::new(MemoryBlobStore::default());
    let blob = nsfl_store::put_bytes(here.as_ref(), bytes.clone(), &owner()).await.unwrap();
    soon(p.blobs.put_stored(blob, &here)).await.unwrap();
    assert_eq!(p.gateway.store.open(blob.digest).await.unwrap(), bytes);
}
