//! What compression has lost of a client's updates, by job and run: a file for each update that may yet be counted. The
//! server says with each order which was counted last; the next update begins with what that one lost, and with nothing
//! else. So it is given back once, whatever is repeated, refused, acknowledged too late or restarted in between.

use nsfl_types::TaskKey;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Round and attempt of an update.
pub(crate) type Version = (u32, u32);

/// Removed when untouched for so long.
const IDLE: Duration = Duration::from_secs(30 * 24 * 3600);

/// Those of one client for one run of a job.
#[derive(Debug, Clone)]
pub(crate) struct Residuals {
    folder: PathBuf,
}

impl Residuals {
    /// Of the task's job and run, below `folder`.
    pub(crate) fn of(folder: &Path, key: &TaskKey) -> Self {
        let job = folder.join(key.job.namespace.as_str()).join(key.job.id.as_str());
        Self { folder: job.join(format!("r{}", key.run)) }
    }

    /// What this update lost, and how long it is; `None` when that is not known here.
    pub(crate) fn open(&self, update: Version) -> io::Result<Option<(File, u64)>> {
        match File::open(self.folder.join(name(update))) {
            Ok(file) => {
                let len = file.metadata()?.len();
                Ok(Some((file, len)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A file to write what an update loses.
    pub(crate) fn create(&self, update: Version) -> io::Result<File> {
        fs::create_dir_all(&self.folder)?;
        File::create(self.partial(update))
    }

    /// What was written is whole: it is made durable and found from now on. Of the others only that of the update that was
    /// `counted` last may still be asked for.
    pub(crate) fn keep(&self, file: &File, update: Version, counted: Option<Version>) -> io::Result<()> {
        file.sync_all()?;
        fs::rename(self.partial(update), self.folder.join(name(update)))?;
        File::open(&self.folder)?.sync_all()?;
        let kept = [Some(update), counted].map(|version| version.map(name));
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let own = entry.file_name();
            if !kept.iter().flatten().any(|kept| own == kept.as_str()) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    fn partial(&self, update: Version) -> PathBuf {
        self.folder.join(format!(".{}", name(update)))
    }
}

fn name((round, attempt): Version) -> String {
    format!("{round}.{attempt}.safetensors")
}

/// Removes those of runs that have not been at work for long, and folders that are empty.
pub(crate) fn sweep(folder: &Path) {
    fn within(folder: &Path, depth: usize) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if depth > 0 {
                within(&entry.path(), depth - 1);
                // one that is not empty stays
                let _ = fs::remove_dir(entry.path());
                continue;
            }
            let changed = entry.metadata().and_then(|meta| meta.modified());
            if changed.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|idle| idle > IDLE)) {
                tracing::info!(file = %entry.path().display(), "residual removed, unused for long");
                let _ = fs::remove_file(entry.path());
            }
        }
    }
    within(folder, 3);
}

#[cfg(test)]
mod tests {
    use super::*;
    use nsfl_types::{JobKey, TaskKind};
    use std::io::{Read as _, Write as _};

    fn residuals(folder: &Path, run: u32) -> Residuals {
        let job = JobKey::new("default".parse().unwrap(), "j".parse().unwrap());
        let client = "c1".parse().unwrap();
        Residuals::of(folder, &TaskKey { job, run, round: 1, attempt: 1, kind: TaskKind::Train, client })
    }

    impl Residuals {
        fn lose(&self, update: Version, counted: Option<Version>, text: &str) {
            let mut file = self.create(update).unwrap();
            file.write_all(text.as_bytes()).unwrap();
            self.keep(&file, update, counted).unwrap();
        }

        fn lost(&self, update: Version) -> Option<String> {
            let mut text = String::new();
            self.open(update).unwrap()?.0.read_to_string(&mut text).unwrap();
            Some(text)
        }
    }

    #[test]
    fn what_the_counted_update_lost_is_there_until_another_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let own = residuals(dir.path(), 1);
        assert_eq!(own.lost((1, 1)), None);
        own.lose((1, 1), None, "one");
        // the round is tried again, and again by a process that was killed
        own.lose((2, 1), Some((1, 1)), "two");
        own.lose((2, 2), Some((1, 1)), "two again");
        own.lose((2, 2), Some((1, 1)), "two again");
        assert_eq!(own.lost((1, 1)).as_deref(), Some("one"));
        assert_eq!(own.lost((2, 1)), None, "it was not counted");
        own.create((3, 1)).unwrap();
        own.lose((3, 1), Some((2, 2)), "three");
        assert_eq!(own.lost((1, 1)), None);
        assert_eq!(own.lost((2, 2)).as_deref(), Some("two again"));
        assert_eq!(residuals(dir.path(), 2).lost((2, 2)), None, "another run");
        assert_eq!(fs::read_dir(&own.folder).unwrap().count(), 2);
    }

    #[test]
    fn what_was_not_used_for_long_goes_with_its_folders() {
        let dir = tempfile::tempdir().unwrap();
        let own = residuals(dir.path(), 1);
        own.lose((1, 1), None, "one");
        sweep(dir.path());
        assert!(own.lost((1, 1)).is_some());
        let long_ago = SystemTime::now() - 2 * IDLE;
        File::options().write(true).open(own.folder.join(name((1, 1)))).unwrap().set_modified(long_ago).unwrap();
        sweep(dir.path());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
