//! Looks at what a task's tree uses: the reliable fallback where no control group bounds it, and what none bounds: the
//! task's folder and its processor time.

use super::cgroup::Group;
use super::limits::{Limit, Limits};
use super::processes::{below, proportional, usage};
use rustix::process::getpid;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);
/// The folder is looked at less often when that takes long: this many times as long passes between.
const FOLDER_SHARE: u32 = 20;

/// Sees to a tree's limits.
pub(super) struct Watch {
    limits: Limits,
    folder: PathBuf,
    group: Option<Group>,
    /// What was in the folder before.
    given: u64,
    look_at_folder: Instant,
    peak: u64,
    over: Option<Limit>,
}

impl Watch {
    pub(super) fn new(limits: &Limits, folder: PathBuf, group: Option<Group>) -> Self {
        let given = limits.folder.map_or(0, |_| size(&folder));
        Self { limits: limits.clone(), folder, group, given, look_at_folder: Instant::now(), peak: 0, over: None }
    }

    pub(super) fn pause(&self) -> Duration {
        PAUSE
    }

    /// The largest sum of memory seen.
    pub(super) fn peak(&self) -> u64 {
        self.peak
    }

    /// The limit that the tree was found above.
    pub(super) fn over(&self) -> Option<Limit> {
        self.over
    }

    /// One look; whether a limit is passed for the first time.
    pub(super) fn look(&mut self) -> bool {
        let before = self.over;
        self.over = before.or_else(|| self.short_of_memory()).or_else(|| self.tree()).or_else(|| self.disk());
        before.is_none() && self.over.is_some()
    }

    /// What a failed task may have failed of without being killed for it.
    pub(super) fn in_the_end(&mut self) -> Option<Limit> {
        let processes = || self.group.as_ref().is_some_and(Group::processes_were_short);
        let largest = |max: u64| files(&self.folder).any(|file| file.len() >= max).then_some(Limit::FileSize(max));
        self.look_at_folder = Instant::now();
        self.short_of_memory()
            .or_else(|| self.limits.file.and_then(largest))
            .or_else(|| self.limits.processes.filter(|_| processes()).map(Limit::Processes))
            .or_else(|| self.disk())
    }

    fn short_of_memory(&self) -> Option<Limit> {
        self.group.as_ref().filter(|group| group.memory_was_short())?;
        self.limits.memory.map(Limit::Memory)
    }

    fn tree(&mut self) -> Option<Limit> {
        let pids = below(getpid().as_raw_nonzero().get());
        let used = usage(&pids);
        self.peak = self.peak.max(used.memory);
        let bounded = |controller: &str| self.group.as_ref().is_some_and(|group| group.has(controller));
        let seconds = used.ticks / rustix::param::clock_ticks_per_second().max(1);
        if let Some(max) = self.limits.memory.filter(|max| !bounded("memory") && used.memory > *max) {
            // workers that were forked from one share much: counted once
            if proportional(&pids).is_none_or(|exact| exact > max) {
                return Some(Limit::Memory(max));
            }
        }
        if let Some(max) = self.limits.processes.filter(|max| !bounded("pids") && used.threads > *max) {
            return Some(Limit::Processes(max));
        }
        self.limits.cpu_seconds.filter(|max| seconds >= *max).map(Limit::CpuTime)
    }

    fn disk(&mut self) -> Option<Limit> {
        let max = self.limits.folder?;
        let began = Instant::now();
        if began < self.look_at_folder {
            return None;
        }
        let grown = size(&self.folder).saturating_sub(self.given);
        self.look_at_folder = Instant::now() + began.elapsed() * FOLDER_SHARE;
        (grown > max).then_some(Limit::Folder(max))
    }
}

/// Bytes on disk.
fn size(folder: &Path) -> u64 {
    files(folder).map(|file| file.blocks() * 512).sum()
}

/// Every regular file below; links are not followed.
fn files(folder: &Path) -> impl Iterator<Item = fs::Metadata> {
    let mut open = vec![folder.to_owned()];
    std::iter::from_fn(move || {
        let folder = open.pop()?;
        let mut files = Vec::new();
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(found) if found.is_dir() => open.push(entry.path()),
                Ok(found) if found.is_file() => files.push(found),
                _ => {}
            }
        }
        Some(files)
    })
    .flatten()
}
