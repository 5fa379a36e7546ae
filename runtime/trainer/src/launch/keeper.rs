//! The keeper: starts a task's workers, bounds each, keeps the last of what they print, and tells how they ended. It
//! runs in the sandbox where there is one, and is the nearest to adopt what loses its parent there.

use super::log;
use super::processes::{below, command_line, end_all_below, kill_below};
use super::protocol::{Control, How, Order, Report, Worker};
use super::warden::read_order;
use super::{LIMITS, PARENT, PART};
use rustix::io::Errno;
use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitOptions, WaitStatus, getpid, getppid, getrlimit, kill_process_group,
    set_child_subreaper, set_parent_process_death_signal, setrlimit, setsid, wait,
};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead as _, PipeReader, Read as _, Write as _, pipe};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// What workers have started may take this long to end after them, by itself: Python's resource tracker, for one, sees
/// that they are gone and goes too.
const REST: Duration = Duration::from_secs(3);
/// So many of what is left are told.
const TOLD: usize = 5;

/// Where one process is bounded by itself: beside the tree's limits, set before its program begins.
#[derive(Serialize, Deserialize)]
struct OwnLimits {
    data: Option<u64>,
    cpu_seconds: Option<u64>,
    file: Option<u64>,
    open_files: Option<u64>,
    processes: Option<u64>,
}

struct Started {
    pid: i32,
    /// Ends when its program has begun; before, it says why it has not.
    begun: PipeReader,
    output: JoinHandle<io::Result<()>>,
}

/// The keeper's life.
pub(super) fn keep() -> io::Result<()> {
    set_child_subreaper(Some(getpid()))?;
    let (order, mut stdin) = read_order()?;
    let groups = Arc::new(Mutex::new(Vec::new()));
    let untied = Arc::new(AtomicBool::new(false));
    let (told, cut) = (Arc::clone(&groups), Arc::clone(&untied));
    std::thread::spawn(move || {
        let mut line = String::new();
        while stdin.read_line(&mut line).is_ok_and(|n| n > 0) {
            if let Ok(Control::Terminate { .. }) = serde_json::from_str(&line) {
                let groups = told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                groups.iter().for_each(|group| kill_process_group(*group, Signal::TERM).unwrap_or(()));
            }
            line.clear();
        }
        // from now on whatever begins is killed too: the other thread, woken by an end, sees to it
        cut.store(true, Ordering::SeqCst);
        kill_below();
    });
    let mut report = Report { workers: vec![How::Lost; order.workers.len()], failed: None, left: Vec::new() };
    let mut started = Vec::new();
    for (index, worker) in order.workers.iter().enumerate() {
        match start(&order, worker) {
            Ok(child) => {
                let mut groups = groups.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                groups.extend(Pid::from_raw(child.pid));
                started.push((index, child));
            }
            Err(error) => {
                report.end(index, How::NotStarted(error.to_string()));
                break;
            }
        }
    }
    await_all(&started, &mut report, &untied)?;
    if report.failed.is_none() {
        report.left = await_rest();
    }
    end_all_below()?;
    for (index, mut child) in started {
        let mut reason = String::new();
        let _ = child.begun.read_to_string(&mut reason);
        if !reason.is_empty() {
            report.workers[index] = How::NotStarted(reason);
        }
        // all that could write to it is gone
        let _ = child.output.join();
    }
    writeln!(io::stdout(), "{}", serde_json::to_string(&report)?)
}

/// Until every worker has ended. When one fails the others, which would wait for it, are killed.
fn await_all(started: &[(usize, Started)], report: &mut Report, untied: &AtomicBool) -> io::Result<()> {
    let mut running = started.len();
    // what began after the other thread looked for it
    if report.failed.is_some() || untied.load(Ordering::SeqCst) {
        kill_below();
    }
    while running > 0 {
        let (pid, status) = match wait(WaitOptions::empty()) {
            Ok(Some(ended)) => ended,
            Ok(None) | Err(Errno::INTR) => continue,
            Err(Errno::CHILD) => break,
            Err(error) => return Err(error.into()),
        };
        let worker = started.iter().find(|(_, child)| Pid::from_raw(child.pid) == Some(pid));
        if let Some((index, _)) = worker {
            running -= 1;
            let well_so_far = report.failed.is_none();
            report.end(*index, how(status));
            if well_so_far && report.failed.is_some() {
                kill_below();
            }
        }
    }
    Ok(())
}

/// Until nothing is left of what the workers have started, or the time for it is up: what is left then, and killed.
fn await_rest() -> Vec<String> {
    let (gone, all_gone) = channel::<()>();
    let is_over = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&is_over);
    let watch = std::thread::spawn(move || {
        if all_gone.recv_timeout(REST) != Err(RecvTimeoutError::Timeout) {
            return Vec::new();
        }
        let left = below(getpid().as_raw_nonzero().get());
        let told = left.into_iter().filter_map(command_line).take(TOLD).collect();
        // the wait below ends with the first that is killed
        over.store(true, Ordering::SeqCst);
        kill_below();
        told
    });
    while !is_over.load(Ordering::SeqCst) && !matches!(wait(WaitOptions::empty()), Err(Errno::CHILD)) {}
    drop(gone);
    watch.join().unwrap_or_default()
}

impl Report {
    fn end(&mut self, index: usize, how: How) {
        if !how.is_well() && self.failed.is_none() {
            self.failed = u32::try_from(index).ok();
        }
        self.workers[index] = how;
    }
}

fn how(status: WaitStatus) -> How {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => How::Exit(code),
        (None, signal) => How::Signal(signal.unwrap_or(9)),
    }
}

/// Between fork and exec is no place for safe code: a worker starts as this program, which bounds itself and becomes the
/// worker's ([`become_worker`]).
fn start(order: &Order, worker: &Worker) -> io::Result<Started> {
    let (begun, word) = pipe()?;
    let (printed, print) = pipe()?;
    let limits = serde_json::to_string(&OwnLimits::of(order))?;
    let (mark, folder) = order.mark();
    let child = Command::new("/proc/self/exe")
        .args(std::env::args_os().skip(1))
        .arg(&worker.program)
        .args(&worker.args)
        .env_clear()
        .envs(&worker.env)
        .env(mark, folder)
        .env(PART, "worker")
        .env(PARENT, getpid().as_raw_nonzero().to_string())
        .env(LIMITS, limits)
        .current_dir(&order.cwd)
        .stdin(word)
        .stdout(print.try_clone()?)
        .stderr(print)
        .spawn()?;
    let (path, max) = (worker.output.clone(), order.limits.output);
    let output = std::thread::spawn(move || log::copy(printed, &path, max));
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    Ok(Started { pid, begun, output })
}

impl OwnLimits {
    fn of(order: &Order) -> Self {
        // Where nothing bounds the tree's memory, one process cannot run away between two looks at it. Four times and a
        // gibibyte: what is reserved and never touched, thread stacks most of all, counts here.
        let data = order.limits.memory.filter(|_| !order.memory_is_bounded && !order.limits.gpu);
        Self {
            data: data.map(|bytes| bytes.saturating_mul(4).saturating_add(1 << 30)),
            cpu_seconds: order.limits.cpu_seconds,
            file: order.limits.file,
            open_files: order.limits.open_files,
            processes: order.limits.processes,
        }
    }

    /// A limit that is lower already stays: it cannot be raised.
    fn set(&self) -> io::Result<()> {
        let mut limits = vec![(Resource::Core, Some(0), 0)];
        // one second more, so that the signal comes which says what it is for
        limits.push((Resource::Cpu, self.cpu_seconds, 1));
        limits.push((Resource::Data, self.data, 0));
        limits.push((Resource::Fsize, self.file, 0));
        limits.push((Resource::Nofile, self.open_files, 0));
        // The user's, not the tree's, and nothing to root: it slows down a fork bomb until the warden looks.
        limits.push((Resource::Nproc, self.processes, threads_of_this_user()));
        for (resource, wanted, above) in limits {
            let Some(wanted) = wanted else { continue };
            let most = getrlimit(resource).maximum;
            let hard = most.map_or(wanted + above, |most| most.min(wanted + above));
            let soft = if resource == Resource::Nproc { hard } else { wanted.min(hard) };
            setrlimit(resource, Rlimit { current: Some(soft), maximum: Some(hard) })?;
        }
        Ok(())
    }
}

fn threads_of_this_user() -> u64 {
    let own = rustix::process::geteuid().as_raw();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ours = entries.filter(|entry| entry.metadata().is_ok_and(|found| found.uid() == own));
    ours.map(|entry| std::fs::read_dir(entry.path().join("task")).map_or(0, |tasks| tasks.count() as u64)).sum()
}

/// Becomes a worker's program. Comes back only with what kept it from that.
pub(super) fn become_worker(command: &[OsString]) -> io::Error {
    let word = match rustix::io::fcntl_dupfd_cloexec(io::stdin(), 3) {
        Ok(word) => word,
        Err(error) => return error.into(),
    };
    let error = become_or(command);
    let _ = File::from(word).write_all(error.to_string().as_bytes());
    error
}

fn become_or(command: &[OsString]) -> io::Error {
    let prepare = || {
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // a keeper that ended before it was asked for sends nothing
        let parent = std::env::var(PARENT).ok().and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw);
        if parent.is_none() || getppid() != parent {
            return Err(io::Error::other("its keeper is gone"));
        }
        setsid()?;
        // when the machine is out of memory, rather this than the daemon
        let _ = std::fs::write("/proc/self/oom_score_adj", "500");
        let limits = std::env::var(LIMITS).map_err(io::Error::other)?;
        serde_json::from_str::<OwnLimits>(&limits)?.set()
    };
    let Some((program, args)) = command.split_first() else { return io::ErrorKind::InvalidInput.into() };
    match prepare() {
        Err(error) => error,
        Ok(()) => {
            let mut command = Command::new(program);
            command.args(args).env_remove(PART).env_remove(PARENT).env_remove(LIMITS);
            command.stdin(Stdio::inherit()).exec()
        }
    }
}
