//! The thread that works on the database: what is asked for is done one after the other, in the order it was asked for, also
//! when whoever asked is gone. So a killed actor's write comes before its successor's reads and writes.

use crate::open;
use nsfl_store::{Certainty, StoreError};
use sled::Db;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// On the database that is open; `None` after an error: sled keeps its first one for good, and only a fresh start gets over
/// it, such as when a full disk has room again.
type Work = Box<dyn FnOnce(&mut Option<Db>, &Path) + Send>;

/// Dropping it waits until all that was asked for is done: then the folder is closed.
pub(crate) struct Worker {
    queue: Option<Sender<Work>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    pub(crate) fn start(path: &Path, db: Db) -> Result<Self, StoreError> {
        let (queue, received) = channel();
        let folder = path.to_owned();
        let thread = std::thread::Builder::new().name("store-tasks".into());
        let thread = thread.spawn(move || work_off(&received, Some(db), &folder)).map_err(|source| {
            let what = format!("starting the thread of {}", path.display());
            StoreError::Backend { what, certainty: Certainty::NotDone, source: source.into() }
        })?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// Asked for when first polled, and then done whatever becomes of this future.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Db, &Path) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, outcome) = oneshot::channel();
        let queued: Work = Box::new(move |held, path| {
            // nobody may be waiting any more
            drop(answer.send(with(held, path, work)));
        });
        let ended = |certainty| StoreError::Backend { what: doing.into(), certainty, source: "it broke off".into() };
        self.queue.as_ref().and_then(|queue| queue.send(queued).ok()).ok_or_else(|| ended(Certainty::NotDone))?;
        outcome.await.unwrap_or_else(|_| Err(ended(Certainty::MaybeDone)))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.queue = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("store thread panicked");
        }
    }
}

fn work_off(queue: &Receiver<Work>, mut held: Option<Db>, path: &Path) {
    for work in queue {
        if catch_unwind(AssertUnwindSafe(|| work(&mut held, path))).is_err() {
            tracing::error!(folder = %path.display(), "work on task records panicked; they are opened anew");
            held = None;
        }
    }
}

/// On a database that has had no error yet.
fn with<T>(
    held: &mut Option<Db>,
    path: &Path,
    work: impl FnOnce(&Db, &Path) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let db = match held.take() {
        Some(db) => db,
        None => open(path)?,
    };
    let done = work(&db, path);
    if done.is_ok() {
        *held = Some(db);
    }
    done
}
