//! Processes that tests have left behind: nodes, and what tasks started. A task's processes carry its folder in their environment.

use anyhow::{Result, ensure};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// What `runtime/trainer` marks the processes of a task with.
const MARK: &[u8] = b"NSFL_TASK_TREE=";
/// A process that was killed needs a moment to be gone.
const GRACE: Duration = Duration::from_secs(10);

/// The processes that are there, by number, with their command lines.
pub(crate) type Seen = BTreeMap<u32, String>;

/// Nodes and tasks that run now.
pub(crate) fn now() -> Seen {
    let folders = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = folders.filter_map(|folder| folder.file_name().to_str()?.parse::<u32>().ok());
    numbers.filter_map(|pid| Some((pid, ours(&Path::new("/proc").join(pid.to_string()))?))).collect()
}

/// Fails when there are others than before.
pub(crate) fn none_but(before: &Seen) -> Result<()> {
    let begun = Instant::now();
    loop {
        let left: Vec<_> = now().into_iter().filter(|(pid, _)| !before.contains_key(pid)).collect();
        if left.is_empty() {
            return Ok(());
        }
        ensure!(begun.elapsed() < GRACE, "the tests have left processes behind: {left:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The command line of a process of ours. One that has ended has none.
fn ours(folder: &Path) -> Option<String> {
    let read = |file: &str| std::fs::read(folder.join(file)).unwrap_or_default();
    let line = read("cmdline");
    let program = line.split(|byte| *byte == 0).next()?;
    let is_node = Path::new(std::str::from_utf8(program).ok()?).file_name()? == "nsfl-node";
    let is_of_a_task = || read("environ").split(|byte| *byte == 0).any(|variable| variable.starts_with(MARK));
    (is_node || is_of_a_task()).then(|| String::from_utf8_lossy(&line).replace('\0', " ").trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_process_with_the_mark_of_a_task_is_seen_while_it_runs() {
        let before = now();
        let mut child = Command::new("sleep").arg("1000").env("NSFL_TASK_TREE", "/x").spawn().unwrap();
        // between fork and exec it is still this test
        let is_seen = || now().get(&child.id()).is_some_and(|line| line == "sleep 1000");
        while !is_seen() {}
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!now().contains_key(&child.id()) || before.contains_key(&child.id()));
    }
}
