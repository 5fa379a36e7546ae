//! A consistent copy of a running server's state, as a stream: the database at one moment, the blobs that its runs needed in
//! that moment, and the namespaces' files. Everything is pinned first (the database copied, files hard-linked) and then
//! streamed, so that nobody waits for whoever reads it, and memory holds a few pieces only.

use nsfl_actor::{Failure, now_ms};
use nsfl_api_server::BackupStream;
use nsfl_backup::Archive;
use nsfl_coordinator::kept_blobs;
use nsfl_store::{BlobStore, JobStore as _, Owner, StoreError};
use nsfl_store_sqlite::SqliteJobStore;
use nsfl_types::{BlobRef, Code, Digest, Refusal};
use nsfl_workflow::JobMachine;
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::sync::{Mutex, OwnedMutexGuard, mpsc};

/// Bytes handed on at once, and how many pieces may wait for the reader.
const PIECE: usize = 256 << 10;
const PIECES: usize = 4;

const DATABASE: &str = "nsfl.sqlite";

/// Makes backups, one at a time.
#[derive(Clone)]
pub(crate) struct Backups {
    data_dir: PathBuf,
    database: Arc<SqliteJobStore>,
    blobs: Arc<dyn BlobStore>,
    /// Held while blobs are swept: what a run needed when the database was copied is there until it is pinned.
    sweeping: Arc<Mutex<()>>,
    one: Arc<Mutex<()>>,
}

impl Backups {
    /// Also removes what a backup left behind when the node was killed.
    pub(crate) fn new(data_dir: &Path, database: Arc<SqliteJobStore>, blobs: Arc<dyn BlobStore>) -> io::Result<Self> {
        let staging = data_dir.join("backup");
        match fs::remove_dir_all(&staging) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        Ok(Self { data_dir: data_dir.to_owned(), database, blobs, sweeping: Arc::default(), one: Arc::default() })
    }

    /// To be held while blobs are swept.
    pub(crate) fn sweeping(&self) -> Arc<Mutex<()>> {
        Arc::clone(&self.sweeping)
    }

    /// Pins the state of this moment and begins to stream it.
    pub(crate) async fn take(&self) -> Result<BackupStream, Refusal> {
        let busy = || Refusal::new(Code::Busy, "another backup is being taken; try again when it is done");
        let turn = Arc::clone(&self.one).try_lock_owned().map_err(|_| busy())?;
        let pinned = self.pin(turn).await?;
        let (pieces, stream) = mpsc::channel(PIECES);
        tokio::task::spawn_blocking(move || {
            let end = pieces.clone();
            if let Err(error) = pinned.write(Pieces { pieces, next: Vec::with_capacity(PIECE) }) {
                tracing::warn!(%error, "backup not finished");
                // a stream that ends with an error is not taken for a whole one
                let _ = end.blocking_send(Err(error));
            }
        });
        Ok(BackupStream(stream))
    }

    async fn pin(&self, turn: OwnedMutexGuard<()>) -> Result<Pinned, Refusal> {
        let staging = self.data_dir.join("backup");
        let folder = fs::create_dir_all(&staging).and_then(|()| TempDir::new_in(&staging));
        let folder = folder.map_err(|e| unwritable(&staging, &e))?;
        let mut pinned = Pinned { entries: Vec::new(), links: Vec::new(), folder, _turn: turn };
        let copy = pinned.folder.path().join(DATABASE);
        let quiet = self.sweeping.lock().await;
        self.database.copy_to(&copy).await.map_err(|e| refusal(&e))?;
        pinned.entries.push((DATABASE.to_owned(), copy.clone()));
        let mut known = BTreeSet::new();
        for (owner, blob) in needed(&copy).await? {
            let object = object(blob.digest);
            if known.insert(blob.digest) {
                let pin = pinned.folder.path().join(blob.digest.to_hex());
                self.blobs.lend(blob.digest, &pin).await.map_err(|e| refusal(&e))?;
                pinned.entries.push((object.clone(), pin));
            }
            pinned.links.push((format!("blobs/refs/{owner}/@{}", blob.digest), object));
        }
        drop(quiet);
        let storage = self.data_dir.join("storage");
        let pins = pinned.folder.path().join("storage");
        let files = tokio::task::spawn_blocking(move || {
            let mut files = Vec::new();
            pin_files(&storage, &pins, "storage", &mut files).map(|()| files).map_err(|e| unwritable(&storage, &e))
        });
        pinned.entries.extend(files.await.map_err(|e| Refusal::new(Code::Internal, e.to_string()))??);
        tracing::info!(files = pinned.entries.len(), "backup begins");
        Ok(pinned)
    }
}

/// The blobs that the runs in a copy of the database need. Closed again, the copy is whole in its one file.
async fn needed(copy: &Path) -> Result<Vec<(Owner, BlobRef)>, Refusal> {
    let store = SqliteJobStore::open(copy, false).map_err(|e| refusal(&e))?;
    let mut needed = Vec::new();
    for job in store.jobs().await.map_err(|e| refusal(&e))? {
        // a job whose records cannot be read is kept as it is; fsck names it
        let runs = JobMachine::restore(&job.snapshot).map_or(0, |machine| machine.run());
        for run in 1..=runs {
            let record = store.run(&job.key, run).await.map_err(|e| refusal(&e))?;
            needed.extend(record.and_then(|record| kept_blobs(&record).ok()).unwrap_or_default());
        }
    }
    store.fold_log().await.map_err(|e| refusal(&e))?;
    Ok(needed)
}

/// Links every file below `folder` to the same place below `pins`; on another file system the file itself is read later.
/// What is hidden is on its way, and none of the users' files.
fn pin_files(folder: &Path, pins: &Path, path: &str, files: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
            tracing::warn!(file = %entry.path().display(), "not in the backup: its name is no text");
            continue;
        };
        if name.starts_with('.') {
            continue;
        }
        let (below, pin, path) = (entry.path(), pins.join(&name), format!("{path}/{name}"));
        let Ok(about) = fs::metadata(&below) else { continue };
        if about.is_dir() {
            pin_files(&below, &pin, &path, files)?;
            continue;
        }
        fs::create_dir_all(pins)?;
        match fs::hard_link(&below, &pin) {
            Ok(()) => files.push((path, pin)),
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => files.push((path, below)),
            // renamed or replaced in this moment
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Where a restored store looks for a blob.
fn object(digest: Digest) -> String {
    let hex = digest.to_hex();
    format!("blobs/objects/{}/{hex}", &hex[..2])
}

/// What is to be streamed. Dropped, the pins are gone and the next backup may begin.
struct Pinned {
    /// Path in the archive, and the file.
    entries: Vec<(String, PathBuf)>,
    /// Further names: path, and the entry it is a link to.
    links: Vec<(String, String)>,
    folder: TempDir,
    _turn: OwnedMutexGuard<()>,
}

impl Pinned {
    fn write(self, out: impl Write) -> io::Result<()> {
        let mut archive = Archive::begin(out, env!("CARGO_PKG_VERSION"), now_ms())?;
        for (path, file) in &self.entries {
            archive.add(path, file)?;
        }
        for (path, to) in self.links {
            archive.link(path, to);
        }
        archive.finish()?;
        self.folder.close()
    }
}

/// Hands pieces on; waits while the reader has enough of them, ends when it is gone.
struct Pieces {
    pieces: mpsc::Sender<io::Result<bytes::Bytes>>,
    next: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE - self.next.len());
        self.next.extend_from_slice(&bytes[..taken]);
        if self.next.len() == PIECE {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.next.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.next, Vec::with_capacity(PIECE));
        self.pieces.blocking_send(Ok(piece.into())).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}

fn refusal(error: &StoreError) -> Refusal {
    Refusal::new(error.code(), Failure::from_error(error).to_string())
}

fn unwritable(path: &Path, error: &io::Error) -> Refusal {
    let code = if error.kind() == io::ErrorKind::StorageFull { Code::DiskFull } else { Code::Store };
    Refusal::new(code, format!("cannot pin {}: {error}", path.display()))
}
