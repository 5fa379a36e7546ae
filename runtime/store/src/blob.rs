//! Content-addressed blobs: weights, updates, models. Written once, then immutable; kept while somebody owns them.

use crate::StoreError;
use async_trait::async_trait;
use bytes::Bytes;
use nsfl_types::{BlobRef, Digest};
use std::fmt;
use std::time::Duration;

/// Who keeps a blob: a path of names such as `default/digits/run-1/round-3`. Releasing an owner releases what is under it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(String);

/// A path that cannot own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' cannot own a blob: non-empty parts of a-z A-Z 0-9 . _ - + joined by '/', none starting with '.'")]
pub struct OwnerError(String);

impl Owner {
    /// Checks the path: each part is safe as a folder name.
    pub fn new(path: impl Into<String>) -> Result<Self, OwnerError> {
        let path = path.into();
        let part_ok = |p: &str| {
            !p.is_empty()
                && !p.starts_with('.')
                && p.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+'))
        };
        if path.len() <= 512 && path.split('/').all(part_ok) { Ok(Self(path)) } else { Err(OwnerError(path)) }
    }

    /// The path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a sweep removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Blobs without an owner.
    pub blobs: u64,
    /// Abandoned partial writes.
    pub partials: u64,
    /// Bytes set free.
    pub bytes: u64,
}

/// A blob being written. Dropping it keeps what a named writer has written so far, so that it can be resumed.
#[async_trait]
pub trait BlobWriter: Send {
    /// Bytes held so far: where to go on.
    fn offset(&self) -> u64;
    /// Appends. `TooLarge` when it would exceed the announced length, or the store's limit.
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError>;
    /// Checks length and digest against what was announced, makes the blob durable and visible, owned by `owner`.
    /// On `WrongDigest` (also for the wrong length) the partial is removed.
    async fn commit(self: Box<Self>, owner: &Owner) -> Result<BlobRef, StoreError>;
}

/// The blob store.
#[async_trait]
pub trait BlobStore: Send + Sync + 'static {
    /// Starts or resumes the write of a blob announced by digest and length. `writer` names who writes (a client's id):
    /// two writers of the same blob do not meet; the same writer beginning again takes over, and its elder is refused.
    /// A blob already whole: the writer's offset is its length and commit only adds the owner.
    async fn begin(&self, writer: &str, blob: BlobRef) -> Result<Box<dyn BlobWriter>, StoreError>;
    /// Starts the write of a blob whose digest is not known yet. Not resumable; dropped: removed.
    async fn create(&self) -> Result<Box<dyn BlobWriter>, StoreError>;
    /// Bytes held of a blob: its length when whole, else this writer's partial, else 0.
    async fn held(&self, writer: &str, digest: Digest) -> Result<u64, StoreError>;
    /// A whole blob's length.
    async fn stat(&self, digest: Digest) -> Result<Option<u64>, StoreError>;
    /// A whole blob's bytes, memory-mapped where there is a file: any number of readers share one mapping, slices are free.
    async fn open(&self, digest: Digest) -> Result<Bytes, StoreError>;
    /// The caller is done with this part of what `open` gave it: its pages need not stay resident. The bytes stay readable.
    fn forget(&self, bytes: &[u8]) {
        let _ = bytes;
    }
    /// Adds an owner to a whole blob; nothing when it has it.
    async fn retain(&self, digest: Digest, owner: &Owner) -> Result<(), StoreError>;
    /// Takes an owner away; nothing when absent. A blob without owners goes at a later sweep.
    async fn release(&self, digest: Digest, owner: &Owner) -> Result<(), StoreError>;
    /// Takes away an owner and every owner under it (`a/b` and `a/b/c`), from all blobs.
    async fn release_all(&self, owner: &Owner) -> Result<(), StoreError>;
    /// Removes blobs without an owner and partial writes untouched for at least `idle`.
    async fn sweep(&self, idle: Duration) -> Result<SweepReport, StoreError>;
    /// Copies or links a whole blob to a file of its own, atomically (for checkpoints in a namespace's storage).
    async fn export(&self, digest: Digest, to: &std::path::Path) -> Result<(), StoreError>;
    /// Lets another process read a whole blob at `path`, which must not exist: a link where the store can make one. For
    /// readers that are trusted not to write, and not durable: the path is gone or to be made again after a crash.
    async fn lend(&self, digest: Digest, path: &std::path::Path) -> Result<(), StoreError> {
        self.export(digest, path).await
    }
    /// Reads a file into the store, owned by `owner`.
    async fn import(&self, from: &std::path::Path, owner: &Owner) -> Result<BlobRef, StoreError>;
}

/// Stores bytes that are in memory.
///
/// # Errors
/// Those of the store.
pub async fn put_bytes(store: &dyn BlobStore, bytes: Bytes, owner: &Owner) -> Result<BlobRef, StoreError> {
    let mut writer = store.create().await?;
    writer.write(bytes).await?;
    writer.commit(owner).await
}
