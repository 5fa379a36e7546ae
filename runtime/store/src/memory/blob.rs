//! Blobs in memory. Partial writes are kept by writer and digest, as a backend on disk keeps them.

use super::lock;
use crate::{BlobStore, BlobWriter, Certainty, Owner, StoreError, SweepReport};
use async_trait::async_trait;
use bytes::Bytes;
use nsfl_types::{BlobRef, Digest};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// Blobs in memory.
#[derive(Debug)]
pub struct MemoryBlobStore {
    max_blob_bytes: u64,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    blobs: BTreeMap<Digest, Blob>,
    partials: BTreeMap<PartialKey, Partial>,
    begun: u64,
}

#[derive(Debug)]
struct Blob {
    bytes: Bytes,
    owners: BTreeSet<Owner>,
}

type PartialKey = (String, Digest);

#[derive(Debug)]
struct Partial {
    bytes: Vec<u8>,
    touched: Instant,
    /// Which `begin` may write: the latest.
    turn: u64,
    /// Whether its writer is alive.
    held: bool,
}

impl MemoryBlobStore {
    /// An empty store that takes blobs of at most `max_blob_bytes`.
    #[must_use]
    pub fn new(max_blob_bytes: u64) -> Self {
        Self { max_blob_bytes, state: Arc::default() }
    }
}

impl Default for MemoryBlobStore {
    fn default() -> Self {
        Self::new(u64::MAX)
    }
}

#[async_trait]
impl BlobStore for MemoryBlobStore {
    async fn begin(&self, writer: &str, blob: BlobRef) -> Result<Box<dyn BlobWriter>, StoreError> {
        check_len(blob.digest, blob.len, self.max_blob_bytes)?;
        let key = (writer.to_owned(), blob.digest);
        let mut state = lock(&self.state);
        state.begun += 1;
        let turn = state.begun;
        let offset = match state.blobs.get(&blob.digest).map(|whole| whole.bytes.len()) {
            Some(len) if len as u64 != blob.len => return Err(wrong_digest(blob.digest, blob.digest)),
            Some(len) => {
                state.partials.remove(&key);
                len
            }
            None => {
                let new = || Partial { bytes: Vec::new(), touched: Instant::now(), turn, held: true };
                let partial = state.partials.entry(key.clone()).or_insert_with(new);
                (partial.turn, partial.held) = (turn, true);
                partial.bytes.len()
            }
        };
        let state = self.state.clone();
        Ok(Box::new(NamedWriter { state, key, turn, announced: blob, offset: offset as u64 }))
    }

    async fn create(&self) -> Result<Box<dyn BlobWriter>, StoreError> {
        Ok(Box::new(NewWriter { state: self.state.clone(), bytes: Vec::new(), max: self.max_blob_bytes }))
    }

    async fn held(&self, writer: &str, digest: Digest) -> Result<u64, StoreError> {
        let state = lock(&self.state);
        let whole = state.blobs.get(&digest).map(|blob| blob.bytes.len());
        let partial = || state.partials.get(&(writer.to_owned(), digest)).map(|partial| partial.bytes.len());
        Ok(whole.or_else(partial).unwrap_or(0) as u64)
    }

    async fn stat(&self, digest: Digest) -> Result<Option<u64>, StoreError> {
        Ok(lock(&self.state).blobs.get(&digest).map(|blob| blob.bytes.len() as u64))
    }

    async fn open(&self, digest: Digest) -> Result<Bytes, StoreError> {
        lock(&self.state).blobs.get(&digest).map(|blob| blob.bytes.clone()).ok_or_else(|| not_found(digest))
    }

    async fn retain(&self, digest: Digest, owner: &Owner) -> Result<(), StoreError> {
        let mut state = lock(&self.state);
        state.blobs.get_mut(&digest).ok_or_else(|| not_found(digest))?.owners.insert(owner.clone());
        Ok(())
    }

    async fn release(&self, digest: Digest, owner: &Owner) -> Result<(), StoreError> {
        if let Some(blob) = lock(&self.state).blobs.get_mut(&digest) {
            blob.owners.remove(owner);
        }
        Ok(())
    }

    async fn release_all(&self, owner: &Owner) -> Result<(), StoreError> {
        let under = format!("{owner}/");
        for blob in lock(&self.state).blobs.values_mut() {
            blob.owners.retain(|held| held != owner && !held.as_str().starts_with(&under));
        }
        Ok(())
    }

    async fn sweep(&self, idle: Duration) -> Result<SweepReport, StoreError> {
        let mut report = SweepReport::default();
        let mut state = lock(&self.state);
        state.partials.retain(|_, partial| {
            let keep = partial.held || partial.touched.elapsed() < idle;
            report.partials += u64::from(!keep);
            report.bytes += if keep { 0 } else { partial.bytes.len() as u64 };
            keep
        });
        state.blobs.retain(|_, blob| {
            let keep = !blob.owners.is_empty();
            report.blobs += u64::from(!keep);
            report.bytes += if keep { 0 } else { blob.bytes.len() as u64 };
            keep
        });
        Ok(report)
    }

    async fn export(&self, digest: Digest, to: &Path) -> Result<(), StoreError> {
        let bytes = self.open(digest).await?;
        let failed = |e| io_error(format!("exporting {digest} to {}", to.display()), e);
        let folder = to.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(failed)?;
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
        file.write_all(&bytes).map_err(failed)?;
        file.persist(to).map_err(|e| failed(e.error))?;
        Ok(())
    }

    async fn import(&self, from: &Path, owner: &Owner) -> Result<BlobRef, StoreError> {
        let bytes = std::fs::read(from).map_err(|e| io_error(format!("importing {}", from.display()), e))?;
        crate::put_bytes(self, bytes.into(), owner).await
    }
}

struct NamedWriter {
    state: Arc<Mutex<State>>,
    key: PartialKey,
    turn: u64,
    announced: BlobRef,
    offset: u64,
}

#[async_trait]
impl BlobWriter for NamedWriter {
    fn offset(&self) -> u64 {
        self.offset
    }

    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        let offset = self.offset + bytes.len() as u64;
        check_len(self.announced.digest, offset, self.announced.len)?;
        let mut state = lock(&self.state);
        if state.blobs.contains_key(&self.announced.digest) && bytes.is_empty() {
            return Ok(());
        }
        let partial = state.partials.get_mut(&self.key).filter(|partial| partial.turn == self.turn);
        let partial = partial.ok_or_else(|| replaced(&self.key))?;
        partial.bytes.extend_from_slice(&bytes);
        partial.touched = Instant::now();
        self.offset = offset;
        Ok(())
    }

    async fn commit(self: Box<Self>, owner: &Owner) -> Result<BlobRef, StoreError> {
        let expected = self.announced.digest;
        let mut state = lock(&self.state);
        // Whole already, perhaps through another writer meanwhile: the digest says it is the same content.
        if let Some(blob) = state.blobs.get_mut(&expected) {
            blob.owners.insert(owner.clone());
            state.partials.remove(&self.key);
            return Ok(self.announced);
        }
        match state.partials.get(&self.key) {
            None if self.offset == self.announced.len => return Err(not_found(expected)),
            Some(partial) if partial.turn == self.turn => {}
            _ => return Err(replaced(&self.key)),
        }
        let bytes = state.partials.remove(&self.key).map(|partial| partial.bytes).unwrap_or_default();
        let found = Digest::of(&bytes);
        if found != expected || bytes.len() as u64 != self.announced.len {
            return Err(wrong_digest(expected, found));
        }
        state.keep(found, bytes.into(), owner);
        Ok(self.announced)
    }
}

impl Drop for NamedWriter {
    fn drop(&mut self) {
        if let Some(partial) = lock(&self.state).partials.get_mut(&self.key).filter(|partial| partial.turn == self.turn)
        {
            partial.held = false;
        }
    }
}

struct NewWriter {
    state: Arc<Mutex<State>>,
    bytes: Vec<u8>,
    max: u64,
}

#[async_trait]
impl BlobWriter for NewWriter {
    fn offset(&self) -> u64 {
        self.bytes.len() as u64
    }

    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        let len = self.offset() + bytes.len() as u64;
        if len > self.max {
            return Err(StoreError::TooLarge { what: "new blob".into(), len, max: self.max });
        }
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    async fn commit(self: Box<Self>, owner: &Owner) -> Result<BlobRef, StoreError> {
        let blob = BlobRef::of(&self.bytes);
        lock(&self.state).keep(blob.digest, self.bytes.into(), owner);
        Ok(blob)
    }
}

impl State {
    fn keep(&mut self, digest: Digest, bytes: Bytes, owner: &Owner) {
        let blob = self.blobs.entry(digest).or_insert(Blob { bytes, owners: BTreeSet::new() });
        blob.owners.insert(owner.clone());
    }
}

fn check_len(digest: Digest, len: u64, max: u64) -> Result<(), StoreError> {
    if len <= max { Ok(()) } else { Err(StoreError::TooLarge { what: format!("blob {digest}"), len, max }) }
}

fn not_found(digest: Digest) -> StoreError {
    StoreError::NotFound(format!("blob {digest}"))
}

fn wrong_digest(expected: Digest, found: Digest) -> StoreError {
    StoreError::WrongDigest { expected, found }
}

fn replaced((writer, digest): &PartialKey) -> StoreError {
    StoreError::Backend {
        what: format!("writing blob {digest}"),
        certainty: Certainty::NotDone,
        source: format!("{writer} has begun this blob again since").into(),
    }
}

fn io_error(what: String, source: std::io::Error) -> StoreError {
    match source.kind() {
        std::io::ErrorKind::NotFound => StoreError::NotFound(what),
        _ => StoreError::Backend { what, certainty: Certainty::NotDone, source: source.into() },
    }
}
