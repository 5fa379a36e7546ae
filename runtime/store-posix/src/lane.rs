//! The way of bytes from a writer's task to its partial file: a short queue that one job of the blocking pool at a time
//! works off, so that hashing and writing overlap the network and a stalled upload holds no thread.

use crate::lock;
use crate::part::Part;
use bytes::Bytes;
use nsfl_store::{Certainty, StoreError};
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// Bytes that may wait in a lane; a write returns when no more than these do.
const QUEUE_BYTES: usize = 1 << 20;

/// One partial file and what waits to be written to it.
#[derive(Default)]
pub(crate) struct Lane {
    queue: Mutex<Queue>,
    /// Whoever holds this may touch the file, and writes what waits first.
    part: Mutex<Option<Part>>,
    moved: Notify,
}

#[derive(Default)]
struct Queue {
    pieces: Vec<Bytes>,
    /// Bytes in `pieces` and in the hands of the job.
    bytes: usize,
    /// Whether a job is to come.
    scheduled: bool,
    /// Who may write: the latest to begin.
    turn: u64,
    failed: Option<StoreError>,
}

impl Lane {
    /// From now on only the caller's turn may write. What its elder was promised is written still.
    pub(crate) fn take_turn(&self) -> u64 {
        let mut queue = lock(&self.queue);
        queue.turn += 1;
        self.moved.notify_waiters();
        queue.turn
    }

    /// Opens the file for a new turn and says how many bytes it holds. Blocking.
    pub(crate) fn begin(&self, path: &Path, announced: u64) -> Result<u64, StoreError> {
        let mut part = lock(&self.part);
        self.drain(&mut part);
        lock(&self.queue).failed = None;
        if part.as_ref().is_none_or(|part| part.len() > announced) {
            *part = Some(Part::resume(path, announced)?);
        }
        Ok(part.as_ref().map_or(0, Part::len))
    }

    /// Makes a new file. Blocking.
    pub(crate) fn create(&self, path: &Path) -> Result<(), StoreError> {
        *lock(&self.part) = Some(Part::create(path)?);
        Ok(())
    }

    /// Closes the file. Blocking.
    pub(crate) fn abandon(&self) {
        let mut part = lock(&self.part);
        self.drain(&mut part);
        *part = None;
    }

    /// Returns when what waited is in the file. Blocking.
    pub(crate) fn settle(&self) {
        self.drain(&mut lock(&self.part));
    }

    /// Hands the file, complete, to `finish`; nobody else touches it meanwhile. Blocking.
    pub(crate) fn finish<T>(
        &self,
        turn: u64,
        finish: impl FnOnce(Part) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut part = lock(&self.part);
        self.drain(&mut part);
        lock(&self.queue).check(turn)?;
        finish(part.take().ok_or_else(|| refused("it failed before"))?)
    }

    /// Queues bytes and waits for room. The bytes get to the file even if the caller goes away.
    pub(crate) async fn push(self: &Arc<Self>, turn: u64, bytes: Bytes) -> Result<(), StoreError> {
        {
            let mut queue = lock(&self.queue);
            queue.check(turn)?;
            queue.bytes += bytes.len();
            queue.pieces.push(bytes);
            if !std::mem::replace(&mut queue.scheduled, true) {
                let lane = self.clone();
                tokio::task::spawn_blocking(move || lane.settle());
            }
        }
        loop {
            let moved = self.moved.notified();
            {
                let mut queue = lock(&self.queue);
                queue.check(turn)?;
                if queue.bytes <= QUEUE_BYTES {
                    return Ok(());
                }
            }
            moved.await;
        }
    }

    /// Writes what waits until nothing does. After a failure the file is closed: only a new turn opens it again.
    fn drain(&self, part: &mut Option<Part>) {
        loop {
            let pieces = {
                let mut queue = lock(&self.queue);
                if queue.pieces.is_empty() {
                    queue.scheduled = false;
                    return;
                }
                std::mem::take(&mut queue.pieces)
            };
            let written = match part {
                Some(part) => pieces.iter().try_for_each(|piece| part.append(piece)),
                None => Err(refused("it failed before")),
            };
            let mut queue = lock(&self.queue);
            queue.bytes -= pieces.iter().map(Bytes::len).sum::<usize>();
            if let Err(error) = written {
                *part = None;
                queue.failed.get_or_insert(error);
            }
            self.moved.notify_waiters();
        }
    }
}

impl Queue {
    fn check(&mut self, turn: u64) -> Result<(), StoreError> {
        if self.turn != turn {
            return Err(refused("its writer has begun it again since"));
        }
        self.failed.take().map_or(Ok(()), Err)
    }
}

fn refused(why: &'static str) -> StoreError {
    StoreError::Backend { what: "writing a blob".into(), certainty: Certainty::NotDone, source: why.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::part;

    #[tokio::test]
    async fn a_full_disk_is_told_once_by_its_path_and_only_a_new_turn_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let lane = Arc::new(Lane { part: Mutex::new(Some(part::full())), ..Lane::default() });
        let turn = lane.take_turn();
        let more_than_may_wait = Bytes::from(vec![0; QUEUE_BYTES + 1]);
        let error = lane.push(turn, more_than_may_wait.clone()).await.unwrap_err();
        assert!(matches!(&error, StoreError::DiskFull { what, .. } if what.contains("/dev/full")), "{error}");
        let error = lane.push(turn, more_than_may_wait).await.unwrap_err();
        assert!(matches!(error, StoreError::Backend { certainty: Certainty::NotDone, .. }), "{error}");
        assert!(lane.finish(turn, |_| Ok(())).is_err());

        let turn = lane.take_turn();
        assert_eq!(lane.begin(&folder.path().join("x"), 10).unwrap(), 0);
        lane.push(turn, Bytes::from_static(b"x")).await.unwrap();
        assert_eq!(lane.finish(turn, |part| Ok(part.len())).unwrap(), 1);
    }
}
