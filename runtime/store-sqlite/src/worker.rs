//! The two threads: one that writes, one that reads. Each owns its connection and ends when the store is dropped.

use crate::fail::{backend, committing, reading, shared};
use crate::read;
use crate::write::apply;
use nsfl_store::{Certainty, Change, StoreError};
use rusqlite::{Connection, TransactionBehavior};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use tokio::sync::{oneshot, watch};

/// Commits that may share a transaction, and so a sync.
const GROUP: usize = 64;

type Answer = oneshot::Sender<Result<(), StoreError>>;
type Outcome = Result<(), StoreError>;

struct Commit {
    changes: Vec<Change>,
    answer: Answer,
}

type Task = Box<dyn FnOnce(&mut Connection, &Path) + Send>;

enum Work {
    Commit(Commit),
    Alone(Task),
    FoldLog(Answer),
}

/// The thread that writes.
pub(crate) struct Writer(Thread<Work>);

impl Writer {
    pub(crate) fn start(path: &Path, db: Connection, newest_event: watch::Sender<u64>) -> Result<Self, StoreError> {
        let file = path.to_owned();
        Thread::start("store-write", path, move |work| write(db, &file, &work, &newest_event)).map(Self)
    }

    /// Does all changes, durably, or none.
    pub(crate) async fn commit(&self, changes: Vec<Change>) -> Outcome {
        let (answer, outcome) = oneshot::channel();
        self.0.send(Work::Commit(Commit { changes, answer }))?;
        outcome.await.unwrap_or_else(|_| Err(ended(Certainty::MaybeDone)))
    }

    /// Writes what is no commit, after the commits before it.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        write: impl FnOnce(&mut Connection, &Path) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, outcome) = oneshot::channel();
        // Nobody may be waiting any more.
        self.0.send(Work::Alone(Box::new(move |db, path| drop(answer.send(write(db, path))))))?;
        outcome.await.unwrap_or_else(|_| Err(ended(Certainty::MaybeDone)))
    }

    /// Brings the write-ahead log into the database file and empties it.
    pub(crate) async fn fold_log(&self) -> Outcome {
        let (answer, outcome) = oneshot::channel();
        self.0.send(Work::FoldLog(answer))?;
        outcome.await.unwrap_or_else(|_| Err(ended(Certainty::NotDone)))
    }
}

type Query = Box<dyn FnOnce(&Connection, &Path) + Send>;

/// The thread that reads.
pub(crate) struct Reader(Thread<Query>);

impl Reader {
    pub(crate) fn start(path: &Path, db: Connection) -> Result<Self, StoreError> {
        let file = path.to_owned();
        let work = move |queries: Receiver<Query>| queries.into_iter().for_each(|query| query(&db, &file));
        Thread::start("store-read", path, work).map(Self)
    }

    /// Answers a query from what is committed.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, outcome) = oneshot::channel();
        self.0.send(Box::new(move |db, path| {
            // Nobody may be waiting any more.
            drop(answer.send(query(db).map_err(reading(path))));
        }))?;
        outcome.await.unwrap_or_else(|_| Err(ended(Certainty::NotDone)))
    }
}

/// A thread with a queue. Dropping it waits until the queue is worked off: then the file is closed.
struct Thread<T> {
    queue: Option<Sender<T>>,
    thread: Option<JoinHandle<()>>,
}

impl<T: Send + 'static> Thread<T> {
    fn start(name: &str, path: &Path, work: impl FnOnce(Receiver<T>) + Send + 'static) -> Result<Self, StoreError> {
        let (queue, received) = channel();
        let thread = std::thread::Builder::new().name(name.into()).spawn(move || work(received));
        let starting = || format!("starting thread {name} of {}", path.display());
        let thread = thread.map_err(|source| backend(starting(), Certainty::NotDone, source.into()))?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    fn send(&self, work: T) -> Result<(), StoreError> {
        let queue = self.queue.as_ref().ok_or_else(|| ended(Certainty::NotDone))?;
        queue.send(work).map_err(|_| ended(Certainty::NotDone))
    }
}

impl<T> Drop for Thread<T> {
    fn drop(&mut self) {
        self.queue = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("store thread panicked");
        }
    }
}

fn write(mut db: Connection, path: &Path, queue: &Receiver<Work>, newest_event: &watch::Sender<u64>) {
    while let Ok(first) = queue.recv() {
        let (mut group, mut alone, mut folds) = (Vec::new(), Vec::new(), Vec::new());
        for work in std::iter::once(first).chain(queue.try_iter().take(GROUP - 1)) {
            match work {
                Work::Commit(commit) => group.push(commit),
                Work::Alone(task) => alone.push(task),
                Work::FoldLog(answer) => folds.push(answer),
            }
        }
        if !group.is_empty() {
            commit_group(&mut db, path, group, newest_event);
        }
        alone.into_iter().for_each(|task| task(&mut db, path));
        for answer in folds {
            drop(answer.send(fold_log(&db, path)));
        }
    }
}

fn commit_group(db: &mut Connection, path: &Path, group: Vec<Commit>, newest_event: &watch::Sender<u64>) {
    let outcomes = match transact(db, path, &group) {
        Ok((outcomes, newest)) => {
            newest_event.send_if_modified(|id| std::mem::replace(id, newest) != newest);
            outcomes
        }
        Err(error) => group.iter().map(|_| Err(shared(&error))).collect(),
    };
    for (commit, outcome) in group.into_iter().zip(outcomes) {
        // Nobody may be waiting any more.
        drop(commit.answer.send(outcome));
    }
}

fn fold_log(db: &Connection, path: &Path) -> Outcome {
    let busy: bool = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).map_err(reading(path))?;
    if !busy {
        return Ok(());
    }
    let what = format!("folding the log of {}", path.display());
    Err(backend(what, Certainty::NotDone, "somebody still reads it; it is read again at the next start".into()))
}

/// Commits a group in one transaction. A batch that is refused leaves nothing and does not disturb the others; a failure
/// of the database fails them all. Also gives the id of the newest event.
fn transact(db: &mut Connection, path: &Path, group: &[Commit]) -> Result<(Vec<Outcome>, u64), StoreError> {
    let mut whole = db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(reading(path))?;
    let mut outcomes = Vec::with_capacity(group.len());
    for commit in group {
        let part = whole.savepoint().map_err(reading(path))?;
        let outcome = match commit.changes.iter().try_for_each(|change| apply(&part, path, change)) {
            Ok(()) => part.commit().map_err(reading(path)).map(Ok)?,
            Err(refused @ (StoreError::Exists(_) | StoreError::NotFound(_) | StoreError::Fenced { .. })) => {
                part.finish().map_err(reading(path)).map(|()| Err(refused))?
            }
            Err(failure) => return Err(failure),
        };
        outcomes.push(outcome);
    }
    let newest = read::newest_event(&whole).map_err(reading(path))?;
    whole.commit().map_err(committing(path))?;
    Ok((outcomes, newest))
}

fn ended(certainty: Certainty) -> StoreError {
    backend("reaching the database".into(), certainty, "its thread has ended".into())
}
