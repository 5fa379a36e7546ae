//! Stores that fail when the test says so, before memory backends that do not.

use super::*;
use async_trait::async_trait;
use bytes::Bytes;
use nsfl_store::{
    BlobWriter, Certainty, CheckpointRecord, MemberRecord, RoundRecord, RunRecord, StoreError, SweepReport,
};
use nsfl_types::Digest;
use std::collections::BTreeMap;
use tokio::sync::watch;

type Check = dyn Fn(&str, Option<&RunRecord>) -> Option<StoreError> + Send + Sync;

/// What is to fail: asked with the name of the operation and, when a run's state is written, with that.
#[derive(Clone, Default)]
pub(super) struct Troubles(Arc<Mutex<Option<Arc<Check>>>>, Arc<Mutex<BTreeMap<String, u32>>>);

impl Troubles {
    pub(super) fn when(&self, check: impl Fn(&str, Option<&RunRecord>) -> Option<StoreError> + Send + Sync + 'static) {
        *self.0.lock().unwrap() = Some(Arc::new(check));
    }

    /// The next so many operations of this name fail like this.
    pub(super) fn next(&self, operation: &'static str, times: u32, error: fn() -> StoreError) {
        let left = Mutex::new(times);
        self.when(move |what, _| {
            let mut left = left.lock().unwrap();
            let fails = what == operation && *left > 0;
            *left -= u32::from(fails);
            fails.then(error)
        });
    }

    /// How often an operation was asked for.
    pub(super) fn asked(&self, operation: &str) -> u32 {
        self.1.lock().unwrap().get(operation).copied().unwrap_or(0)
    }

    fn strike(&self, operation: &str, run: Option<&RunRecord>) -> Result<(), StoreError> {
        *self.1.lock().unwrap().entry(operation.to_owned()).or_default() += 1;
        let check = self.0.lock().unwrap().clone();
        check.and_then(|check| check(operation, run)).map_or(Ok(()), Err)
    }
}

pub(super) fn broken() -> StoreError {
    let (what, certainty) = ("writing".to_owned(), Certainty::NotDone);
    StoreError::Backend { what, certainty, source: "input/output error".into() }
}

pub(super) fn full() -> StoreError {
    StoreError::DiskFull { what: "writing".into(), source: "no space left".into() }
}

pub(super) fn damaged() -> StoreError {
    StoreError::WrongDigest { expected: Digest::of(b"a"), found: Digest::of(b"b") }
}

pub(super) struct Shaky<S> {
    pub(super) inner: Arc<S>,
    pub(super) troubles: Troubles,
}

#[async_trait]
impl BlobStore for Shaky<MemoryBlobStore> {
    async fn begin(&self, writer: &str, blob: BlobRef) -> Result<Box<dyn BlobWriter>, StoreError> {
        self.inner.begin(writer, blob).await
    }
    async fn create(&self) -> Result<Box<dyn BlobWriter>, StoreError> {
        self.troubles.strike("create", None)?;
        self.inner.create().await
    }
    async fn held(&self, writer: &str, digest: Digest) -> Result<u64, StoreError> {
        self.inner.held(writer, digest).await
    }
    async fn stat(&self, digest: Digest) -> Result<Option<u64>, StoreError> {
        self.inner.stat(digest).await
    }
    async fn open(&self, digest: Digest) -> Result<Bytes, StoreError> {
        self.troubles.strike("open", None)?;
        self.inner.open(digest).await
    }
    async fn retain(&self, digest: Digest, owner: &Owner) -> Result<(), StoreError> {
        self.troubles.strike("retain", None)?;
        self.inner.retain(digest, owner).await
    }
    async fn release(&self, digest: Digest, owner: &Owner) -> Result<(), StoreError> {
        self.troubles.strike("release", None)?;
        self.inner.release(digest, owner).await
    }
    async fn release_all(&self, owner: &Owner) -> Result<(), StoreError> {
        self.inner.release_all(owner).await
    }
    async fn sweep(&self, idle: Duration) -> Result<SweepReport, StoreError> {
        self.inner.sweep(idle).await
    }
    async fn export(&self, digest: Digest, to: &Path) -> Result<(), StoreError> {
        self.inner.export(digest, to).await
    }
    async fn import(&self, from: &Path, owner: &Owner) -> Result<BlobRef, StoreError> {
        self.troubles.strike("import", None)?;
        self.inner.import(from, owner).await
    }
}

#[async_trait]
impl JobStore for Shaky<MemoryJobStore> {
    async fn commit(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        let run = changes.iter().find_map(|change| if let Change::PutRun(run) = change { Some(run) } else { None });
        self.troubles.strike("commit", run)?;
        self.inner.commit(changes).await
    }
    async fn jobs(&self) -> Result<Vec<JobRecord>, StoreError> {
        self.inner.jobs().await
    }
    async fn job(&self, key: &JobKey) -> Result<Option<JobRecord>, StoreError> {
        self.inner.job(key).await
    }
    async fn run(&self, key: &JobKey, run: u32) -> Result<Option<RunRecord>, StoreError> {
        self.inner.run(key, run).await
    }
    async fn rounds(&self, key: &JobKey, run: u32) -> Result<Vec<RoundRecord>, StoreError> {
        self.inner.rounds(key, run).await
    }
    async fn failures(&self, key: &JobKey, run: u32, limit: u32) -> Result<Vec<MemberRecord>, StoreError> {
        self.inner.failures(key, run, limit).await
    }
    async fn members(&self, key: &JobKey, run: u32, round: u32) -> Result<Vec<MemberRecord>, StoreError> {
        self.inner.members(key, run, round).await
    }
    async fn checkpoints(&self, key: &JobKey) -> Result<Vec<CheckpointRecord>, StoreError> {
        self.inner.checkpoints(key).await
    }
    async fn events(&self, job: Option<&JobKey>, after: u64, limit: u32) -> Result<Vec<EventRecord>, StoreError> {
        self.inner.events(job, after, limit).await
    }
    fn newest_event(&self) -> watch::Receiver<u64> {
        self.inner.newest_event()
    }
}
