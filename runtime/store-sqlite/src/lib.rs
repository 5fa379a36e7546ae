//! Job database on embedded SQLite: WAL, full sync, migrations.
//!
//! One thread writes, another reads, each with a connection of its own, so that reads do not wait for syncs. Commits that
//! wait while one is being synced go into the next transaction together, each in a savepoint of its own.

mod access;
mod copy;
mod fail;
mod format;
mod open;
mod read;
mod seal;
mod verify;
mod worker;
mod write;

use async_trait::async_trait;
use nsfl_store::{
    Change, CheckpointRecord, EventRecord, Finding, JobRecord, JobStore, MemberRecord, RoundRecord, RunRecord,
    StoreError,
};
use nsfl_types::JobKey;
use std::path::{Path, PathBuf};
use tokio::sync::watch;
use worker::{Reader, Writer};

/// The server's database in a SQLite file.
pub struct SqliteJobStore {
    path: PathBuf,
    writer: Writer,
    reader: Reader,
    newest_event: watch::Sender<u64>,
}

impl SqliteJobStore {
    /// Opens or makes the file, checks it and brings its schema up to date. Blocking. `fsync = false` is for tests.
    ///
    /// # Errors
    /// `Damaged` when the file is no sound database; `Newer` when a newer version made it; `Backend` when it cannot be opened.
    pub fn open(path: impl AsRef<Path>, fsync: bool) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let written = open::open(path, fsync)?;
        let read = open::open_again(path)?;
        let newest_event = watch::Sender::new(read::newest_event(&read).map_err(fail::reading(path))?);
        let writer = Writer::start(path, written, newest_event.clone())?;
        Ok(Self { path: path.to_owned(), writer, reader: Reader::start(path, read)?, newest_event })
    }

    /// Brings the write-ahead log into the database file, so that nothing is left to be replayed. For an orderly end.
    ///
    /// # Errors
    /// `Backend`: the log stays and is replayed at the next opening.
    pub async fn fold_log(&self) -> Result<(), StoreError> {
        self.writer.fold_log().await
    }

    /// Writes all that is committed now to a new database file, while others go on reading and writing this one.
    ///
    /// # Errors
    /// Those of reading this file and writing the other.
    pub async fn copy_to(&self, to: &Path) -> Result<(), StoreError> {
        let (path, to) = (self.path.clone(), to.to_owned());
        tokio::task::spawn_blocking(move || copy::copy(&path, &to)).await.unwrap_or_else(|source| {
            let certainty = nsfl_store::Certainty::NotDone;
            Err(StoreError::Backend { what: "copying the database".into(), certainty, source: source.into() })
        })
    }

    /// Every row and index looked at: what SQLite finds wrong, rows that point to nothing, and rounds, members, checkpoints
    /// and events that are not what was written.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn verify(&self) -> Result<Vec<Finding>, StoreError> {
        let path = self.path.clone();
        self.reader.read(move |db| verify::verify(db, &path)).await
    }
}

#[async_trait]
impl JobStore for SqliteJobStore {
    async fn commit(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        self.writer.commit(changes).await
    }

    async fn jobs(&self) -> Result<Vec<JobRecord>, StoreError> {
        self.reader.read(read::jobs).await
    }

    async fn job(&self, key: &JobKey) -> Result<Option<JobRecord>, StoreError> {
        let key = key.clone();
        self.reader.read(move |db| read::job(db, &key)).await
    }

    async fn run(&self, key: &JobKey, run: u32) -> Result<Option<RunRecord>, StoreError> {
        let key = key.clone();
        self.reader.read(move |db| read::run(db, &key, run)).await
    }

    async fn rounds(&self, key: &JobKey, run: u32) -> Result<Vec<RoundRecord>, StoreError> {
        let key = key.clone();
        self.reader.read(move |db| read::rounds(db, &key, run)).await
    }

    async fn members(&self, key: &JobKey, run: u32, round: u32) -> Result<Vec<MemberRecord>, StoreError> {
        let key = key.clone();
        self.reader.read(move |db| read::members(db, &key, run, round)).await
    }

    async fn failures(&self, key: &JobKey, run: u32, limit: u32) -> Result<Vec<MemberRecord>, StoreError> {
        let key = key.clone();
        self.reader.read(move |db| read::failures(db, &key, run, limit)).await
    }

    async fn checkpoints(&self, key: &JobKey) -> Result<Vec<CheckpointRecord>, StoreError> {
        let key = key.clone();
        self.reader.read(move |db| read::checkpoints(db, &key)).await
    }

    async fn events(&self, job: Option<&JobKey>, after: u64, limit: u32) -> Result<Vec<EventRecord>, StoreError> {
        let job = job.cloned();
        self.reader.read(move |db| read::events(db, job.as_ref(), after, limit)).await
    }

    fn newest_event(&self) -> watch::Receiver<u64> {
        self.newest_event.subscribe()
    }
}

#[cfg(test)]
mod tests;
