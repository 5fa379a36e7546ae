//! Trees of processes as `/proc` shows them: what they use, and their end. Knows no task.

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, wait};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// What a tree uses, summed over its processes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// Memory in bytes that is held and could not be read again from a file: what control groups cannot reclaim either.
    /// What several processes share is counted for each.
    pub(super) memory: u64,
    /// Processes and threads.
    pub(super) threads: u64,
    /// Processor time in clock ticks, that of processes waited for included.
    pub(super) ticks: u64,
}

/// Every process below `root`, `root` itself not.
pub(super) fn below(root: i32) -> Vec<i32> {
    let (mut open, mut seen) = (vec![root], BTreeSet::new());
    while let Some(parent) = open.pop() {
        open.extend(children(parent).into_iter().filter(|pid| seen.insert(*pid)));
    }
    seen.into_iter().collect()
}

/// What these processes use now.
pub(super) fn usage(pids: &[i32]) -> Usage {
    pids.iter().filter_map(|pid| Some((pid, stat(*pid)?))).fold(Usage::default(), |sum, (pid, fields)| {
        let number = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        Usage {
            memory: sum.memory + memory(*pid),
            threads: sum.threads + number(17),
            ticks: sum.ticks + (11..=14).map(number).sum::<u64>(),
        }
    })
}

fn memory(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    ["RssAnon:", "RssShmem:"].iter().filter_map(|key| kib(&status, key)).sum::<u64>() * 1024
}

fn kib(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key))?.trim().strip_suffix(" kB")?.parse().ok()
}

/// The same where what is shared is counted once: slow to read. `None` where the kernel does not tell.
pub(super) fn proportional(pids: &[i32]) -> Option<u64> {
    let of = |pid: &i32| {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        Some((kib(&text, "Pss_Anon:")? + kib(&text, "Pss_Shmem:")?) * 1024)
    };
    let known: Vec<u64> = pids.iter().filter_map(of).collect();
    (!known.is_empty()).then(|| known.iter().sum())
}

/// Kills every process below this one, again and again until none is left, and waits for each. What they fork meanwhile
/// comes to this process as their subreaper, so that there is an end to wait for.
pub(super) fn end_all_below() -> io::Result<()> {
    loop {
        kill_below();
        // one is waited for, and all that have ended with it: there may be thousands
        let mut options = WaitOptions::empty();
        loop {
            match wait(options) {
                Ok(Some(_)) => options = WaitOptions::NOHANG,
                Ok(None) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::CHILD) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Kills every process below this one that is there now. They are stopped first: what is stopped forks no more, so that
/// the fastest fork bomb is overtaken.
pub(super) fn kill_below() {
    let mut stopped = BTreeSet::new();
    loop {
        let found = below(getpid().as_raw_nonzero().get());
        let fresh: Vec<i32> = found.into_iter().filter(|pid| stopped.insert(*pid)).collect();
        if fresh.is_empty() {
            break;
        }
        fresh.into_iter().for_each(|pid| send(pid, Signal::STOP));
    }
    stopped.into_iter().for_each(kill);
}

/// The command line of a process, shortened; its name in brackets where it has none any more.
pub(super) fn command_line(pid: i32) -> Option<String> {
    const CHARS: usize = 200;
    let words = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let text = String::from_utf8_lossy(&words).trim_end_matches('\0').replace('\0', " ");
    let shown = match text.is_empty() {
        true => format!("[{}]", fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim_end()),
        false => text,
    };
    Some(shown.chars().map(|c| if c.is_control() { ' ' } else { c }).take(CHARS).collect())
}

/// Kills a process.
pub(super) fn kill(pid: i32) {
    send(pid, Signal::KILL);
}

fn send(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal);
    }
}

/// Kills what has `name` in its environment with a path below `folder`, until nothing has: the remains of a tree whose
/// wardens were killed. Gives their number. A process that has cleared its environment is not found.
pub(super) fn kill_marked(name: &str, folder: &Path) -> usize {
    let own = getpid().as_raw_nonzero().get();
    let marked = |entry: &[u8]| {
        let value = entry.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"="));
        value.is_some_and(|value| Path::new(OsStr::from_bytes(value)).starts_with(folder))
    };
    let mut killed = BTreeSet::new();
    loop {
        let before = killed.len();
        for pid in all().into_iter().filter(|pid| *pid != own && !killed.contains(pid)).collect::<Vec<_>>() {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            if environment.split(|byte| *byte == 0).any(marked) {
                kill(pid);
                killed.insert(pid);
            }
        }
        // what they forked in the meantime has the mark too
        if killed.len() == before {
            return killed.len();
        }
    }
}

/// Processor time in ticks of all children waited for.
pub(super) fn ticks_of_ended_children() -> u64 {
    let fields = stat(getpid().as_raw_nonzero().get()).unwrap_or_default();
    [13, 14].iter().filter_map(|at: &usize| fields.get(*at)?.parse::<u64>().ok()).sum()
}

fn children(pid: i32) -> Vec<i32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let mut children = Vec::new();
    for thread in threads.flatten() {
        match fs::read_to_string(thread.path().join("children")) {
            Ok(text) => children.extend(text.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok())),
            Err(_) if thread.path().exists() => return children_by_parent(pid),
            Err(_) => {}
        }
    }
    children
}

/// For a kernel that keeps no lists of children.
fn children_by_parent(parent: i32) -> Vec<i32> {
    let parent = parent.to_string();
    all().into_iter().filter(|pid| stat(*pid).is_some_and(|fields| fields.get(1) == Some(&parent))).collect()
}

fn all() -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The fields of `/proc/PID/stat` after the name, which may hold anything: 0 is the state, 1 the parent.
fn stat(pid: i32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit_once(") ")?.1.split_ascii_whitespace().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};

    #[test]
    fn a_tree_is_seen_with_what_it_uses() {
        let mut command = Command::new("/bin/sh");
        let mut child = command.args(["-c", "sleep 1000 & echo ready; wait"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        // between its fork and its exec the second process is still a copy of the first
        let is_sleep = |pid: &i32| command_line(*pid).is_some_and(|line| line == "sleep 1000");
        let tree = loop {
            let tree = below(pid);
            if tree.iter().any(is_sleep) {
                break tree;
            }
        };
        // before the other figure: a process that has just begun grows
        let exact = proportional(&tree);
        let usage = usage(&[vec![pid], tree.clone()].concat());
        let by_parent = children_by_parent(pid);
        tree.iter().copied().for_each(kill);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!((tree.len(), &tree), (1, &by_parent));
        assert_eq!(usage.threads, 2);
        assert!(usage.memory > 50_000 && exact.is_none_or(|exact| exact <= usage.memory), "{usage:?}");
    }
}
