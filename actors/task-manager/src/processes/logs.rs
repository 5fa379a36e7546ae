//! The output of ended tasks, kept at the site: a folder a task, the newest of them.

use super::blocking;
use crate::site::short_name;
use nsfl_types::TaskKey;
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub(super) struct Logs {
    pub(super) folder: PathBuf,
    /// Tasks whose output is kept.
    pub(super) max: usize,
}

/// Keeps a task's output when dropped, however the task ended.
#[derive(Debug)]
pub(super) struct KeptLog {
    from: PathBuf,
    to: PathBuf,
}

impl Logs {
    /// `from` is the folder of a task's output while it runs.
    pub(super) fn of(&self, key: &TaskKey, from: PathBuf) -> KeptLog {
        KeptLog { from, to: self.folder.join(short_name(key)) }
    }

    /// Removes the oldest beyond the number that is kept.
    pub(super) async fn sweep(&self) {
        let (folder, max) = (self.folder.clone(), self.max);
        let _ = blocking(move || prune(&folder, max)).await;
    }
}

impl Drop for KeptLog {
    fn drop(&mut self) {
        let moved = self.to.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| {
            // of an earlier try of the same task
            let _ = std::fs::remove_dir_all(&self.to);
            std::fs::rename(&self.from, &self.to)
        });
        match moved {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(folder = %self.to.display(), %error, "task output not kept");
            }
            _ => {}
        }
    }
}

fn prune(folder: &Path, max: usize) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut all: Vec<_> =
        entries.filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path()))).collect();
    all.sort();
    for (_, path) in all.iter().rev().skip(max) {
        if let Err(error) = std::fs::remove_dir_all(path) {
            tracing::warn!(folder = %path.display(), %error, "old task output not removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    #[test]
    fn the_newest_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        for (name, age) in [("old", 30), ("new", 10), ("older", 40), ("newer", 5)] {
            let path = dir.path().join(name);
            std::fs::create_dir(&path).unwrap();
            std::fs::write(path.join("worker-0.log"), "x").unwrap();
            let at = SystemTime::now() - Duration::from_secs(age);
            std::fs::File::open(&path).unwrap().set_modified(at).unwrap();
        }
        prune(dir.path(), 2);
        let mut left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["new", "newer"]);
    }
}
