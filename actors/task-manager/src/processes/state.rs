//! What tasks keep between rounds, such as SCAFFOLD's control variates: per job and run, made by the last task whose
//! update the server has accepted.

use super::blocking;
use nsfl_trainer::script::TaskFolder;
use nsfl_types::TaskKey;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) folder: PathBuf,
    /// Removed when unused for so long.
    pub(super) idle: Duration,
}

impl Kept {
    /// Copies what was kept last for this task's job and run into a folder. What was kept in a later round than this
    /// is of an earlier job of the same name, and goes.
    pub(super) fn give(&self, key: &TaskKey, to: &Path) -> io::Result<()> {
        let Some((version, newest)) = versions(&self.of(key)).pop() else { return Ok(()) };
        if version > (key.round, key.attempt) {
            return fs::remove_dir_all(self.of(key));
        }
        // in use
        File::open(&newest)?.set_modified(SystemTime::now())?;
        for entry in fs::read_dir(&newest)? {
            let entry = entry?;
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
        Ok(())
    }

    /// Takes over what a task has put into its folder to be kept. What is not taken over is lost, and logged.
    pub(super) async fn keep(&self, key: &TaskKey, folder: &Path) {
        let (of, new) = (self.of(key), TaskFolder::at(folder).new_state());
        let name = (key.round, key.attempt);
        match blocking(move || keep(&of, name, &new)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(task = %key, %error, "state of a task not kept"),
            Err(error) => tracing::warn!(task = %key, %error, "state of a task not kept"),
        }
    }

    /// Removes what was not used for long.
    pub(super) async fn sweep(&self) {
        let (folder, idle) = (self.folder.clone(), self.idle);
        let _ = blocking(move || sweep(&folder, idle, 3)).await;
    }

    fn of(&self, key: &TaskKey) -> PathBuf {
        let job = self.folder.join(key.job.namespace.as_str()).join(key.job.id.as_str());
        job.join(format!("r{}", key.run))
    }
}

/// Round and attempt of what is kept in a run's folder, oldest first. There is more than one only for a moment.
fn versions(run: &Path) -> Vec<((u32, u32), PathBuf)> {
    let number = |name: &str| {
        let (round, attempt) = name.split_once('.')?;
        Some((round.parse().ok()?, attempt.parse().ok()?))
    };
    let entries = fs::read_dir(run).into_iter().flatten().flatten();
    let mut all: Vec<_> =
        entries.filter_map(|entry| Some((number(entry.file_name().to_str()?)?, entry.path()))).collect();
    all.sort();
    all
}

/// Moves the plain files, makes them durable, names them, and removes what was kept before. Goes on where an earlier call
/// was cut off.
fn keep(run: &Path, (round, attempt): (u32, u32), new: &Path) -> io::Result<()> {
    let partial = run.join(format!(".{round}.{attempt}"));
    let is_plain = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_file());
    let files: Vec<_> = match fs::symlink_metadata(new) {
        Ok(meta) if meta.is_dir() => fs::read_dir(new)?.flatten().filter(is_plain).collect(),
        _ => Vec::new(),
    };
    if files.is_empty() && !partial.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(&partial)?;
    for file in files {
        let to = partial.join(file.file_name());
        fs::rename(file.path(), &to)?;
        File::open(&to)?.sync_all()?;
    }
    File::open(&partial)?.sync_all()?;
    fs::rename(&partial, run.join(format!("{round}.{attempt}")))?;
    File::open(run)?.sync_all()?;
    for (version, old) in versions(run) {
        if version < (round, attempt) {
            fs::remove_dir_all(old)?;
        }
    }
    Ok(())
}

/// Namespaces, jobs, runs: what is in them goes by its age, they go when they are empty.
fn sweep(folder: &Path, idle: Duration, depth: usize) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if depth > 0 {
            sweep(&entry.path(), idle, depth - 1);
            let _ = fs::remove_dir(entry.path());
            continue;
        }
        let used = entry.metadata().and_then(|meta| meta.modified());
        if used.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|unused| unused > idle)) {
            tracing::info!(folder = %entry.path().display(), "state of a task removed, unused for long");
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nsfl_types::{JobKey, TaskKind};

    struct Site {
        dir: tempfile::TempDir,
        kept: Kept,
    }

    fn site() -> Site {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept { folder: dir.path().join("state"), idle: Duration::from_secs(1000) };
        Site { dir, kept }
    }

    fn key(run: u32, round: u32) -> TaskKey {
        let job = JobKey::new("default".parse().unwrap(), "j".parse().unwrap());
        TaskKey { job, run, round, attempt: 1, kind: TaskKind::Train, client: "c1".parse().unwrap() }
    }

    impl Site {
        async fn keep(&self, key: &TaskKey, text: &str) {
            let folder = self.dir.path().join("task");
            fs::create_dir_all(folder.join("out/state")).unwrap();
            fs::write(folder.join("out/state/scaffold.safetensors"), text).unwrap();
            self.kept.keep(key, &folder).await;
            self.kept.keep(key, &folder).await;
        }

        fn given(&self, key: &TaskKey) -> Option<String> {
            let to = tempfile::tempdir_in(self.dir.path()).unwrap();
            self.kept.give(key, to.path()).unwrap();
            fs::read_to_string(to.path().join("scaffold.safetensors")).ok()
        }
    }

    #[tokio::test]
    async fn the_last_accepted_state_of_the_same_run_is_given() {
        let site = site();
        assert_eq!(site.given(&key(1, 1)), None);
        site.keep(&key(1, 9), "nine").await;
        site.keep(&key(1, 10), "ten").await;
        assert_eq!(site.given(&key(1, 11)).as_deref(), Some("ten"));
        assert_eq!(site.given(&key(2, 11)), None);
        assert_eq!(fs::read_dir(site.dir.path().join("state/default/j/r1")).unwrap().count(), 1, "older ones are gone");
        let nothing = site.dir.path().join("nothing");
        site.kept.keep(&key(1, 12), &nothing).await;
        assert_eq!(site.given(&key(1, 13)).as_deref(), Some("ten"), "a task that kept nothing changes nothing");
        assert_eq!(site.given(&key(1, 10)).as_deref(), Some("ten"), "the same round again");
        assert_eq!(site.given(&key(1, 1)), None, "a new job of the same name begins anew");
        assert_eq!(site.given(&key(1, 2)), None);
    }

    #[tokio::test]
    async fn what_is_no_plain_file_is_not_kept_and_a_cut_is_taken_up() {
        let site = site();
        let out = site.dir.path().join("task/out/state");
        fs::create_dir_all(&out).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", out.join("link")).unwrap();
        // as a crash has left it: one file already moved
        let partial = site.dir.path().join("state/default/j/r1/.3.1");
        fs::create_dir_all(&partial).unwrap();
        fs::write(partial.join("scaffold.safetensors"), "three").unwrap();
        site.kept.keep(&key(1, 3), &site.dir.path().join("task")).await;
        assert_eq!(site.given(&key(1, 4)).as_deref(), Some("three"));
        assert_eq!(fs::read_dir(site.dir.path().join("state/default/j/r1/3.1")).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn what_nobody_used_for_long_is_removed_with_its_empty_folders() {
        let site = site();
        site.keep(&key(1, 1), "one").await;
        site.kept.sweep().await;
        assert_eq!(site.given(&key(1, 2)).as_deref(), Some("one"));
        let long_ago = SystemTime::now() - Duration::from_secs(2000);
        File::open(site.dir.path().join("state/default/j/r1/1.1")).unwrap().set_modified(long_ago).unwrap();
        site.kept.sweep().await;
        assert_eq!(fs::read_dir(site.dir.path().join("state")).unwrap().count(), 0);
    }
}
