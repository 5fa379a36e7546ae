//! The client's task records on sled: small records only, flushed on each put.
//!
//! A record that cannot be read is removed and logged: the server's reconciliation rebuilds what is still wanted.

mod format;
mod worker;

use async_trait::async_trait;
use nsfl_store::{Certainty, Finding, StoreError, TaskRecord, TaskStore};
use nsfl_types::TaskKey;
use sled::{Db, Mode};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use worker::Worker;

/// Small: the records of a client fit many times.
const CACHE_BYTES: u64 = 8 << 20;

/// Task records in a sled folder.
pub struct SledTaskStore {
    worker: Worker,
}

impl SledTaskStore {
    /// Opens or makes the folder. Blocking. One process at a time has it.
    ///
    /// # Errors
    /// `Damaged` when sled cannot read it, naming the folder; `Newer` when a newer version wrote a record; `Backend` when
    /// it cannot be opened.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let path = path.into();
        let db = open(&path)?;
        refuse_newer(&db, &path)?;
        Ok(Self { worker: Worker::start(&path, db)? })
    }

    /// Looks at every record without changing any: those that cannot be read, and each that can.
    ///
    /// # Errors
    /// sled cannot read the folder.
    pub async fn verify(&self) -> Result<(Vec<Finding>, Vec<TaskRecord>), StoreError> {
        let looked_at = self.worker.run("looking at task records", |db, path| {
            let (mut findings, mut records) = (Vec::new(), Vec::new());
            for entry in db.iter() {
                let (key, value) = entry.map_err(|error| failed(path, "reading", Certainty::NotDone, error))?;
                let place = format!("{}: task {}", path.display(), String::from_utf8_lossy(&key));
                let remedy = "start the client: it drops the record, and the server sends the task again";
                match format::decode(&value) {
                    Ok(record) if name(&record.key).as_bytes() == &*key => records.push(record),
                    Ok(record) => {
                        findings.push(Finding::damage(place, format!("it is the record of {}", record.key), remedy));
                    }
                    Err(error) => findings.push(Finding::damage(place, format!("unreadable record: {error}"), remedy)),
                }
            }
            Ok((findings, records))
        });
        looked_at.await
    }

    /// Runs `work` in its turn, and flushes.
    async fn write(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Db) -> sled::Result<()> + Send + 'static,
    ) -> Result<(), StoreError> {
        let written = self.worker.run(doing, move |db, path| {
            work(db).map_err(|error| failed(path, doing, Certainty::NotDone, error))?;
            let flushed = db.flush().and_then(|_| sync(path).map_err(sled::Error::Io));
            flushed.map_err(|error| failed(path, doing, Certainty::MaybeDone, error))
        });
        written.await
    }
}

/// An older program would remove what it cannot read; what a newer one wrote is left alone.
fn refuse_newer(db: &Db, path: &Path) -> Result<(), StoreError> {
    for entry in db.iter() {
        let (key, value) = entry.map_err(|error| failed(path, "reading", Certainty::NotDone, error))?;
        if let Err(error @ format::FormatError::Version(_)) = format::decode(&value) {
            let task = String::from_utf8_lossy(&key);
            return Err(StoreError::Newer(format!("{}: task {task}: {error}", path.display())));
        }
    }
    Ok(())
}

/// No flush in the background: each write is flushed before it is acknowledged.
fn open(path: &Path) -> Result<Db, StoreError> {
    let config = sled::Config::new().path(path).cache_capacity(CACHE_BYTES);
    let opened = config.mode(Mode::LowSpace).flush_every_ms(None).open();
    opened.map_err(|error| failed(path, "opening", Certainty::NotDone, error))
}

#[async_trait]
impl TaskStore for SledTaskStore {
    async fn put(&self, record: TaskRecord) -> Result<(), StoreError> {
        record.check_len()?;
        let value = format::encode(&record);
        self.write("writing a task record to", move |db| db.insert(name(&record.key), value).map(drop)).await
    }

    async fn remove(&self, key: &TaskKey) -> Result<(), StoreError> {
        let name = name(key);
        self.write("removing a task record from", move |db| db.remove(name).map(drop)).await
    }

    async fn all(&self) -> Result<Vec<TaskRecord>, StoreError> {
        let read = self.worker.run("reading task records from", |db, path| {
            let failed = |error| failed(path, "reading task records from", Certainty::NotDone, error);
            let mut records = Vec::new();
            for entry in db.iter() {
                let (key, value) = entry.map_err(failed)?;
                match format::decode(&value) {
                    Ok(record) => records.push(record),
                    Err(error) => {
                        let task = String::from_utf8_lossy(&key);
                        tracing::warn!(%task, %error, "unreadable task record removed");
                        db.remove(&key).map_err(failed)?;
                    }
                }
            }
            records.sort_by(|a, b| a.key.cmp(&b.key));
            Ok(records)
        });
        read.await
    }
}

/// On Linux sled's flush has the log written back (`sync_file_range`), but does not have the disk keep it, nor the files
/// of its pages above 128 KiB. So they are synced here.
fn sync(folder: &Path) -> io::Result<()> {
    for page in std::fs::read_dir(folder.join("blobs"))? {
        match File::open(page?.path()).and_then(|page| page.sync_all()) {
            // sled has replaced it meanwhile.
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            synced => synced?,
        }
    }
    for file in ["blobs", "db", ""] {
        File::open(folder.join(file))?.sync_all()?;
    }
    Ok(())
}

/// The key under which a record is kept: the task as people read it. No name holds '+' or '@', so that no two tasks share one.
fn name(key: &TaskKey) -> String {
    key.to_string()
}

fn failed(path: &Path, doing: &str, certainty: Certainty, error: sled::Error) -> StoreError {
    let what = format!("{doing} {}", path.display());
    match error {
        sled::Error::Corruption { .. } => {
            let way_out = "move the folder away and start again: the server sends what is still to do";
            StoreError::Damaged(format!("{}: {error}; {way_out}", path.display()))
        }
        sled::Error::Io(source) if source.kind() == ErrorKind::StorageFull && certainty == Certainty::NotDone => {
            StoreError::DiskFull { what, source: source.into() }
        }
        error => StoreError::Backend { what, certainty, source: error.into() },
    }
}

#[cfg(test)]
mod tests;
