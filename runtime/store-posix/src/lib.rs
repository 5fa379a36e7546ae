//! Blob store on a POSIX file system: atomic rename, fsync, references as hard links.
//!
//! ```text
//! objects/<2 hex>/<digest>      whole blobs, never changed
//! partial/<writer>/<digest>     being written by a named writer; resumed after a crash
//! partial/.new/<n>              being written, digest not known yet
//! refs/<owner…>/@<digest>       a hard link to the object: its link count is 1 + the number of its owners,
//!                               and of the paths at which it is lent
//! ```
//!
//! One process at a time works in a root. The store does not hash on reading: what is damaged on disk is found by length
//! only where the length is known; `verify` finds the rest.

mod fail;
mod lane;
mod map;
mod part;
mod tree;
mod verify;
mod writer;

use async_trait::async_trait;
use bytes::Bytes;
use fail::blocking;
use lane::Lane;
use map::Maps;
use nsfl_store::{BlobStore, BlobWriter, Owner, StoreError, SweepReport};
use nsfl_types::{BlobRef, Digest};
use part::Part;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tree::Tree;
use writer::{LaneWriter, WholeWriter};

pub use map::MappedFile;
pub use verify::{Verified, hash, verify};

/// Where blobs are kept, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PosixConfig {
    /// The folder; made when absent.
    pub root: PathBuf,
    /// Largest blob taken, in bytes.
    pub max_blob_bytes: u64,
    /// Whether what is acknowledged must survive a power cut. `false` is for tests.
    pub fsync: bool,
}

/// Blobs in a folder.
pub struct PosixBlobStore {
    inner: Arc<Inner>,
}

struct Inner {
    tree: Arc<Tree>,
    max_blob_bytes: u64,
    /// The partial files that have a living writer.
    lanes: Mutex<HashMap<PathBuf, Weak<Lane>>>,
    maps: Maps,
}

impl PosixBlobStore {
    /// Opens the folder, and tries that it can be written and knows hard links.
    ///
    /// # Errors
    /// `Backend` or `DiskFull`, naming the path that could not be used.
    pub fn open(config: PosixConfig) -> Result<Self, StoreError> {
        let tree = Arc::new(Tree::open(config.root, config.fsync)?);
        let (lanes, maps) = Default::default();
        Ok(Self { inner: Arc::new(Inner { tree, max_blob_bytes: config.max_blob_bytes, lanes, maps }) })
    }

    /// Runs `work` on the blocking pool.
    async fn run<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Inner) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let inner = self.inner.clone();
        blocking(doing, move || work(&inner)).await
    }
}

#[async_trait]
impl BlobStore for PosixBlobStore {
    async fn begin(&self, writer: &str, blob: BlobRef) -> Result<Box<dyn BlobWriter>, StoreError> {
        check_len(blob, self.inner.max_blob_bytes)?;
        let path = self.inner.tree.partial(writer, blob.digest)?;
        let lane = self.inner.lane(&path);
        let turn = lane.take_turn();
        let begun = lane.clone();
        let offset = self
            .run("beginning a blob", move |inner| {
                if !inner.tree.is_whole(blob)? {
                    return begun.begin(&path, blob.len).map(Some);
                }
                begun.abandon();
                part::remove(&path).map(|()| None)
            })
            .await?;
        let tree = self.inner.tree.clone();
        Ok(match offset {
            Some(offset) => Box::new(LaneWriter::new(tree, lane, turn, Some(blob), blob.len, offset)),
            None => Box::new(WholeWriter::new(tree, blob)),
        })
    }

    async fn create(&self) -> Result<Box<dyn BlobWriter>, StoreError> {
        let path = self.inner.tree.new_partial();
        let lane = self.inner.lane(&path);
        let turn = lane.take_turn();
        let begun = lane.clone();
        self.run("creating a blob", move |_| begun.create(&path)).await?;
        let max = self.inner.max_blob_bytes;
        Ok(Box::new(LaneWriter::new(self.inner.tree.clone(), lane, turn, None, max, 0)))
    }

    async fn held(&self, writer: &str, digest: Digest) -> Result<u64, StoreError> {
        let path = self.inner.tree.partial(writer, digest)?;
        self.run("looking for a blob", move |inner| {
            if let Some(len) = inner.tree.len(digest)? {
                return Ok(len);
            }
            let lane = lock(&inner.lanes).get(&path).and_then(Weak::upgrade);
            if let Some(lane) = lane {
                lane.settle();
            }
            tree::len_of(&path).map(Option::unwrap_or_default)
        })
        .await
    }

    async fn stat(&self, digest: Digest) -> Result<Option<u64>, StoreError> {
        self.run("looking for a blob", move |inner| inner.tree.len(digest)).await
    }

    async fn open(&self, digest: Digest) -> Result<Bytes, StoreError> {
        self.run("opening a blob", move |inner| {
            let object = inner.tree.existing(digest)?;
            let bytes = inner.maps.open(digest, &object)?;
            inner.tree.check(digest, &bytes).inspect_err(|_| inner.maps.forget(digest))?;
            Ok(bytes)
        })
        .await
    }

    fn forget(&self, bytes: &[u8]) {
        self.inner.maps.let_go(bytes);
    }

    async fn retain(&self, digest: Digest, owner: &Owner) -> Result<(), StoreError> {
        let owner = owner.clone();
        self.run("retaining a blob", move |inner| inner.tree.retain(digest, &owner)).await
    }

    async fn release(&self, digest: Digest, owner: &Owner) -> Result<(), StoreError> {
        let owner = owner.clone();
        self.run("releasing a blob", move |inner| inner.tree.release(digest, &owner)).await
    }

    async fn release_all(&self, owner: &Owner) -> Result<(), StoreError> {
        let owner = owner.clone();
        self.run("releasing an owner's blobs", move |inner| inner.tree.release_all(&owner)).await
    }

    async fn sweep(&self, idle: Duration) -> Result<SweepReport, StoreError> {
        self.run("sweeping", move |inner| {
            let mut report = SweepReport::default();
            inner.tree.sweep_partials(idle, &mut report, |path, remove| {
                // Under this lock nobody can begin to write the file between the look and its end.
                let lanes = lock(&inner.lanes);
                let alive = lanes.get(path).is_some_and(|lane| lane.strong_count() > 0);
                if alive { Ok(()) } else { remove() }
            })?;
            inner.tree.sweep_objects(&mut report, |digest| inner.maps.forget(digest))?;
            Ok(report)
        })
        .await
    }

    async fn export(&self, digest: Digest, to: &Path) -> Result<(), StoreError> {
        let to = to.to_owned();
        self.run("exporting a blob", move |inner| inner.tree.export(digest, &to)).await
    }

    async fn lend(&self, digest: Digest, path: &Path) -> Result<(), StoreError> {
        let path = path.to_owned();
        self.run("lending a blob", move |inner| inner.tree.lend(digest, &path)).await
    }

    async fn import(&self, from: &Path, owner: &Owner) -> Result<BlobRef, StoreError> {
        let (from, owner) = (from.to_owned(), owner.clone());
        self.run("importing a blob", move |inner| {
            let path = inner.tree.new_partial();
            let _lane = inner.lane(&path);
            Part::copy(&from, &path, inner.max_blob_bytes)?.finish(&inner.tree, None, &owner)
        })
        .await
    }
}

impl Inner {
    /// The lane of a partial file, shared by all who write it.
    fn lane(&self, path: &Path) -> Arc<Lane> {
        let mut lanes = lock(&self.lanes);
        if let Some(lane) = lanes.get(path).and_then(Weak::upgrade) {
            return lane;
        }
        lanes.retain(|_, lane| lane.strong_count() > 0);
        let lane = Arc::new(Lane::default());
        lanes.insert(path.to_owned(), Arc::downgrade(&lane));
        lane
    }
}

fn check_len(blob: BlobRef, max: u64) -> Result<(), StoreError> {
    if blob.len <= max {
        return Ok(());
    }
    Err(StoreError::TooLarge { what: format!("blob {}", blob.digest), len: blob.len, max })
}

/// The lock's content: nothing kept under one of these locks is left half changed by a panic.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
