//! A trainer's whole tree of processes: whatever it has forked ends with it, also what left its process group and lost
//! its parent, and also when the daemon is killed.
//!
//! ```text
//! daemon ──pipe──▶ keeper ── trainer ─┬─ workers
//!                    ▲                └─ … ── a daemon of its own (setsid, forked twice)
//!                    └── adopts what loses its parent (PR_SET_CHILD_SUBREAPER)
//! ```
//! The keeper is this program again. It ends when all of the tree has ended: after the trainer's end, or once its
//! standard input is closed, it kills until nothing is left. A keeper that is killed takes the trainer along
//! (PR_SET_PDEATHSIG); what then still runs is found by a mark in its environment ([`kill_marked`]).

use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitOptions, getpid, getppid, kill_process, set_child_subreaper,
    set_parent_process_death_signal, setrlimit, wait,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// Set for a kept trainer and inherited by all it starts: the folder it works in.
pub(crate) const MARK: &str = "NSFL_TASK_TREE";

/// Exit code when the trainer could not be started; standard error says why. That of a shell.
const NOT_STARTED: u8 = 127;

/// The program that keeps trees: started as `program args… PROGRAM ARGS…`, it must call [`keeper_main`] with the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keeper {
    /// An absolute path.
    pub program: PathBuf,
    /// What comes before the trainer's own command line.
    pub args: Vec<String>,
}

/// The keeper's life: runs the command, waits until it has ended or standard input is closed, and until everything it
/// has started is gone. Ends as the command did.
#[must_use]
pub fn keeper_main(command: &[OsString]) -> ExitCode {
    // In the child, between fork and exec, is no place for safe code: the command starts as this program, which asks to
    // be killed with its parent and becomes the command.
    if let Some(keeper) = std::env::var_os(BECOME) {
        return becoming(command, &keeper);
    }
    match keep() {
        Ok(Ended::Code(code)) => ExitCode::from(code),
        Ok(Ended::Signal(signal)) => end_by(signal),
        Err(error) => not_started(command, &error),
    }
}

/// Names the keeper's process id to the child that becomes the command.
const BECOME: &str = "NSFL_KEEPER";

enum Ended {
    Code(u8),
    Signal(i32),
}

fn keep() -> io::Result<Ended> {
    set_child_subreaper(Some(getpid()))?;
    let own: Vec<OsString> = std::env::args_os().collect();
    let child = Command::new(std::env::current_exe()?)
        .args(&own[1..])
        .env(BECOME, getpid().as_raw_nonzero().to_string())
        .process_group(0)
        .stdin(Stdio::null())
        .spawn()?;
    let trainer = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    std::thread::spawn(|| {
        let (mut stdin, mut buffer) = (io::stdin().lock(), [0; 64]);
        while stdin.read(&mut buffer).is_ok_and(|n| n > 0) {}
        // the trainer's end wakes the other thread, which sees to the rest
        kill_below();
    });
    let mut ended = None;
    // Every process of the tree becomes a child of this one before it is gone, so that there is an end to wait for.
    while let Some(first) = wait(WaitOptions::empty()).or_else(none_left)? {
        // with it all that have ended by now, so that a tree of thousands is not looked through for each of them
        let mut next = Some(first);
        while let Some((pid, status)) = next {
            if Some(pid) == trainer {
                ended = Some(match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => Ended::Code(u8::try_from(code).unwrap_or(u8::MAX)),
                    (None, signal) => Ended::Signal(signal.unwrap_or(9)),
                });
            }
            next = wait(WaitOptions::NOHANG).or_else(none_left)?;
        }
        if ended.is_some() {
            kill_below();
        }
    }
    Ok(ended.unwrap_or(Ended::Signal(9)))
}

fn none_left<T>(error: rustix::io::Errno) -> io::Result<Option<T>> {
    if error == rustix::io::Errno::CHILD { Ok(None) } else { Err(error.into()) }
}

fn becoming(command: &[OsString], keeper: &std::ffi::OsStr) -> ExitCode {
    let [program, args @ ..] = command else {
        return not_started(command, &io::Error::from(io::ErrorKind::InvalidInput));
    };
    let asked = set_parent_process_death_signal(Some(Signal::KILL));
    // a keeper that ended before it was asked for sends nothing
    if let Err(error) = asked {
        return not_started(command, &error.into());
    }
    if getppid().is_none_or(|pid| *pid.as_raw_nonzero().to_string() != *keeper) {
        return ExitCode::from(NOT_STARTED);
    }
    not_started(command, &Command::new(program).args(args).env_remove(BECOME).exec())
}

fn not_started(command: &[OsString], error: &io::Error) -> ExitCode {
    let program = command.first().map(|program| program.display().to_string()).unwrap_or_default();
    let _ = writeln!(io::stderr(), "'{program}' could not be started: {error}");
    ExitCode::from(NOT_STARTED)
}

/// Ends this process by the signal that ended the trainer, so that whoever waits for it sees the same.
fn end_by(signal: i32) -> ExitCode {
    if let Some(named) = Signal::from_named_raw(signal) {
        // no core of ours beside the trainer's
        let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
        // the handler that Rust has for a stack's overflow takes the first of some signals, and makes room for the next
        let _ = kill_process(getpid(), named);
        let _ = kill_process(getpid(), named);
    }
    ExitCode::from(u8::try_from(128 + signal).unwrap_or(u8::MAX))
}

/// Kills every process below this one that is there now. All are stopped first: what is stopped forks no more, so that a
/// tree that forks faster than it is killed comes to an end too.
fn kill_below() {
    let mut stopped = BTreeSet::new();
    loop {
        let new: Vec<i32> = below().difference(&stopped).copied().collect();
        if new.is_empty() {
            break;
        }
        new.iter().for_each(|pid| send(*pid, Signal::STOP));
        stopped.extend(new);
    }
    stopped.iter().for_each(|pid| send(*pid, Signal::KILL));
}

fn below() -> BTreeSet<i32> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for (pid, parent) in processes() {
        children.entry(parent).or_default().push(pid);
    }
    let (mut open, mut found) = (vec![getpid().as_raw_nonzero().get()], BTreeSet::new());
    while let Some(parent) = open.pop() {
        open.extend(children.get(&parent).into_iter().flatten().filter(|pid| found.insert(**pid)));
    }
    found
}

/// Kills what carries the mark of a folder below `folder`, until nothing does: the remains of keepers that were killed.
/// Gives their number. A process that has cleared its environment is not found.
pub fn kill_marked(folder: &Path) -> usize {
    let mut killed = BTreeSet::new();
    loop {
        let before = killed.len();
        for (pid, _) in processes() {
            if pid != getpid().as_raw_nonzero().get() && is_marked(pid, folder) && killed.insert(pid) {
                send(pid, Signal::KILL);
            }
        }
        // what they forked in the meantime has the mark too
        if killed.len() == before {
            return killed.len();
        }
    }
}

fn is_marked(pid: i32, folder: &Path) -> bool {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let mark = |entry: &[u8]| {
        let value = entry.strip_prefix(MARK.as_bytes()).and_then(|rest| rest.strip_prefix(b"="));
        value.is_some_and(|value| Path::new(std::ffi::OsStr::from_bytes(value)).starts_with(folder))
    };
    environment.split(|byte| *byte == 0).any(mark)
}

fn send(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal);
    }
}

/// Every process there is, with its parent.
fn processes() -> Vec<(i32, i32)> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let parent = |pid: i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // after the name, which may hold anything, come state and parent
        Some((pid, stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?))
    };
    pids.filter_map(parent).collect()
}
