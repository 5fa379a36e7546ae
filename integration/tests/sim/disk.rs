//! A node's disk: the memory backends behind it last for ever, what is asked of them takes time, fails now and then
//! ("certainly not" or "maybe"), and goes unanswered once the node's life has ended.

use crate::dice::{Dice, NodeLife};
use crate::oracle::Oracle;
use crate::trace::Trace;
use crate::world::SERVER;
use async_trait::async_trait;
use bytes::Bytes;
use nsfl_store::memory::{MemoryBlobStore, MemoryJobStore, MemoryTaskStore};
use nsfl_store::{
    BlobStore, BlobWriter, Certainty, Change, CheckpointRecord, EventRecord, JobRecord, JobStore, MemberRecord, Owner,
    RoundRecord, RunRecord, StoreError, SweepReport, TaskRecord, TaskStore,
};
use nsfl_types::{BlobRef, Digest, JobKey, TaskKey};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// A disk, and how often it is to fail.
pub struct Disk {
    node: String,
    dice: Dice,
    trace: Trace,
    pub oracle: Oracle,
    faults: Mutex<Vec<Certainty>>,
    /// The next write of a run's state is held up for so long, and those behind it, whatever becomes of who asked for it.
    held_up: Mutex<Option<Duration>>,
    /// Writes are made one after the other, as they were asked for.
    turn: tokio::sync::Mutex<()>,
}

impl Disk {
    pub fn new(node: &str, dice: Dice, trace: Trace, oracle: Oracle) -> Arc<Self> {
        let turn = tokio::sync::Mutex::new(());
        Arc::new(Self {
            node: node.to_owned(),
            dice,
            trace,
            oracle,
            faults: Mutex::default(),
            held_up: Mutex::default(),
            turn,
        })
    }

    /// The next so many writes fail like this.
    pub fn fail(&self, times: u64, how: Certainty) {
        let mut faults = self.faults.lock().unwrap();
        faults.extend((0..times).map(|_| how));
    }

    pub fn hold_up(&self, time: Duration) {
        *self.held_up.lock().unwrap() = Some(time);
    }

    pub fn heal(&self) {
        self.held_up.lock().unwrap().take();
        self.faults.lock().unwrap().clear();
    }

    /// How a write ends: done or not, and what is said of it.
    fn fate(&self, what: &str) -> (bool, Result<(), StoreError>) {
        let Some(certainty) = self.faults.lock().unwrap().pop() else { return (true, Ok(())) };
        let done = certainty == Certainty::MaybeDone && self.dice.coin();
        self.trace.note(format_args!("{} disk: {what} fails, {certainty:?}, done: {done}", self.node));
        if self.node == SERVER {
            self.oracle.trouble();
        }
        let error =
            StoreError::Backend { what: what.to_owned(), certainty, source: "the simulated disk failed".into() };
        (done, Err(error))
    }

    async fn takes_time(&self) {
        let time = self.dice.between(0, 5);
        if time > 2 {
            tokio::time::sleep(Duration::from_millis(time - 2)).await;
        }
    }
}

/// One life's way to a disk.
pub struct Mounted<S> {
    pub inner: Arc<S>,
    pub disk: Arc<Disk>,
    pub life: NodeLife,
}

impl<S> Clone for Mounted<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), disk: self.disk.clone(), life: self.life.clone() }
    }
}

impl<S: Send + Sync + 'static> Mounted<S> {
    async fn read<T>(&self, answer: impl Future<Output = T>) -> T {
        self.life.lasting().await;
        self.disk.takes_time().await;
        let answer = answer.await;
        self.life.lasting().await;
        answer
    }

    /// A write goes on when nobody waits for it any more, but not when the node is gone.
    async fn write<F, T>(&self, what: &'static str, act: F) -> Result<T, StoreError>
    where
        F: AsyncFnOnceBox<S, T>,
        T: Send + 'static,
    {
        let this = self.clone();
        let held_up = if act.is_a_run() { self.disk.held_up.lock().unwrap().take() } else { None };
        let task = tokio::spawn(async move {
            let _turn = this.disk.turn.lock().await;
            if let Some(time) = held_up {
                this.disk.trace.note(format_args!("{} disk: {what} is held up", this.disk.node));
                tokio::time::sleep(time).await;
            }
            this.disk.takes_time().await;
            if !this.life.lasts() {
                return Err(node_gone());
            }
            let (done, said) = this.disk.fate(what);
            let result = if done { Some(act.call(&this.inner).await) } else { None };
            match (said, result) {
                (Ok(()), Some(result)) => result,
                (Err(error), _) => Err(error),
                (Ok(()), None) => unreachable!("what succeeds is done"),
            }
        });
        let result = task.await.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()));
        self.life.lasting().await;
        result
    }
}

/// A write to a store, boxed when it is called.
pub trait AsyncFnOnceBox<S, T>: Send + 'static {
    fn call(self, store: &S) -> impl Future<Output = Result<T, StoreError>> + Send;

    /// Whether a generation protects what it writes.
    fn is_a_run(&self) -> bool {
        false
    }
}

struct Commit(Vec<Change>, Oracle);
impl AsyncFnOnceBox<MemoryJobStore, ()> for Commit {
    async fn call(self, store: &MemoryJobStore) -> Result<(), StoreError> {
        let Self(changes, oracle) = self;
        let committed = store.commit(changes.clone()).await;
        oracle.committed(&changes, &committed);
        committed
    }

    fn is_a_run(&self) -> bool {
        self.0.iter().any(|change| matches!(change, Change::PutRun(_)))
    }
}

#[async_trait]
impl JobStore for Mounted<MemoryJobStore> {
    async fn commit(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        self.write("commit", Commit(changes, self.disk.oracle.clone())).await
    }
    async fn jobs(&self) -> Result<Vec<JobRecord>, StoreError> {
        self.read(self.inner.jobs()).await
    }
    async fn job(&self, key: &JobKey) -> Result<Option<JobRecord>, StoreError> {
        self.read(self.inner.job(key)).await
    }
    async fn run(&self, key: &JobKey, run: u32) -> Result<Option<RunRecord>, StoreError> {
        self.read(self.inner.run(key, run)).await
    }
    async fn rounds(&self, key: &JobKey, run: u32) -> Result<Vec<RoundRecord>, StoreError> {
        self.read(self.inner.rounds(key, run)).await
    }
    async fn failures(&self, key: &JobKey, run: u32, limit: u32) -> Result<Vec<MemberRecord>, StoreError> {
        self.read(self.inner.failures(key, run, limit)).await
    }
    async fn members(&self, key: &JobKey, run: u32, round: u32) -> Result<Vec<MemberRecord>, StoreError> {
        self.read(self.inner.members(key, run, round)).await
    }
    async fn checkpoints(&self, key: &JobKey) -> Result<Vec<CheckpointRecord>, StoreError> {
        self.read(self.inner.checkpoints(key)).await
    }
    async fn events(&self, job: Option<&JobKey>, after: u64, limit: u32) -> Result<Vec<EventRecord>, StoreError> {
        self.read(self.inner.events(job, after, limit)).await
    }
    fn newest_event(&self) -> watch::Receiver<u64> {
        self.inner.newest_event()
    }
}

struct Put(TaskRecord, Oracle, String);
impl AsyncFnOnceBox<MemoryTaskStore, ()> for Put {
    async fn call(self, store: &MemoryTaskStore) -> Result<(), StoreError> {
        let Self(record, oracle, node) = self;
        oracle.task_recorded(&node, &record);
        store.put(record).await
    }
}

struct Remove(TaskKey, Oracle, String);
impl AsyncFnOnceBox<MemoryTaskStore, ()> for Remove {
    async fn call(self, store: &MemoryTaskStore) -> Result<(), StoreError> {
        let Self(key, oracle, node) = self;
        oracle.task_forgotten(&node, &key);
        store.remove(&key).await
    }
}

#[async_trait]
impl TaskStore for Mounted<MemoryTaskStore> {
    async fn put(&self, record: TaskRecord) -> Result<(), StoreError> {
        self.write("task record", Put(record, self.disk.oracle.clone(), self.disk.node.clone())).await
    }
    async fn remove(&self, key: &TaskKey) -> Result<(), StoreError> {
        self.write("task removal", Remove(key.clone(), self.disk.oracle.clone(), self.disk.node.clone())).await
    }
    async fn all(&self) -> Result<Vec<TaskRecord>, StoreError> {
        self.read(self.inner.all()).await
    }
}

enum Owning {
    Retain(Digest, Owner),
    Release(Digest, Owner),
    ReleaseAll(Owner),
    Import(std::path::PathBuf, Owner),
}
impl AsyncFnOnceBox<MemoryBlobStore, Option<BlobRef>> for Owning {
    async fn call(self, store: &MemoryBlobStore) -> Result<Option<BlobRef>, StoreError> {
        match self {
            Self::Retain(digest, owner) => store.retain(digest, &owner).await?,
            Self::Release(digest, owner) => store.release(digest, &owner).await?,
            Self::ReleaseAll(owner) => store.release_all(&owner).await?,
            Self::Import(from, owner) => return store.import(&from, &owner).await.map(Some),
        }
        Ok(None)
    }
}

#[async_trait]
impl BlobStore for Mounted<MemoryBlobStore> {
    async fn begin(&self, writer: &str, blob: BlobRef) -> Result<Box<dyn BlobWriter>, StoreError> {
        let inner = self.read(self.inner.begin(writer, blob)).await?;
        Ok(Box::new(Writing { inner, disk: self.disk.clone(), life: self.life.clone() }))
    }
    async fn create(&self) -> Result<Box<dyn BlobWriter>, StoreError> {
        let inner = self.read(self.inner.create()).await?;
        Ok(Box::new(Writing { inner, disk: self.disk.clone(), life: self.life.clone() }))
    }
    async fn held(&self, writer: &str, digest: Digest) -> Result<u64, StoreError> {
        self.read(self.inner.held(writer, digest)).await
    }
    async fn stat(&self, digest: Digest) -> Result<Option<u64>, StoreError> {
        self.read(self.inner.stat(digest)).await
    }
    async fn open(&self, digest: Digest) -> Result<Bytes, StoreError> {
        self.read(self.inner.open(digest)).await
    }
    async fn retain(&self, digest: Digest, owner: &Owner) -> Result<(), StoreError> {
        self.write("retain", Owning::Retain(digest, owner.clone())).await.map(drop)
    }
    async fn release(&self, digest: Digest, owner: &Owner) -> Result<(), StoreError> {
        self.write("release", Owning::Release(digest, owner.clone())).await.map(drop)
    }
    async fn release_all(&self, owner: &Owner) -> Result<(), StoreError> {
        self.write("release all", Owning::ReleaseAll(owner.clone())).await.map(drop)
    }
    async fn sweep(&self, idle: Duration) -> Result<SweepReport, StoreError> {
        self.read(self.inner.sweep(idle)).await
    }
    async fn export(&self, digest: Digest, to: &Path) -> Result<(), StoreError> {
        self.read(self.inner.export(digest, to)).await
    }
    async fn import(&self, from: &Path, owner: &Owner) -> Result<BlobRef, StoreError> {
        let imported = self.write("import", Owning::Import(from.to_owned(), owner.clone())).await?;
        Ok(imported.expect("an import gives a blob"))
    }
}

/// Answers at once: blocking work waits for it.
struct Writing {
    inner: Box<dyn BlobWriter>,
    disk: Arc<Disk>,
    life: NodeLife,
}

#[async_trait]
impl BlobWriter for Writing {
    fn offset(&self) -> u64 {
        self.inner.offset()
    }

    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        if !self.life.lasts() {
            return Err(node_gone());
        }
        self.inner.write(bytes).await
    }

    async fn commit(self: Box<Self>, owner: &Owner) -> Result<BlobRef, StoreError> {
        if !self.life.lasts() {
            return Err(node_gone());
        }
        let (done, said) = self.disk.fate("blob commit");
        let result = if done { Some(self.inner.commit(owner).await?) } else { None };
        said.map(|()| result.expect("what succeeds is done"))
    }
}

fn node_gone() -> StoreError {
    let what = "writing".to_owned();
    StoreError::Backend { what, certainty: Certainty::NotDone, source: "the node is gone".into() }
}
