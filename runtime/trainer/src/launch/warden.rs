//! The warden: a process between the daemon and a task's workers that answers for the whole tree.
//!
//! ```text
//! daemon ──stdin──▶ warden ──stdin──▶ keeper ─┬─ worker 0 ── …
//!        ◀─ending──        ◀─report── (in the ├─ worker 1 ── …
//!                                    sandbox) └─ what lost its parent
//! ```
//! Both adopt what loses its parent (PR_SET_CHILD_SUBREAPER), and either notices when the other is gone: when the
//! daemon dies the warden's standard input ends and it kills all; when the warden is killed the keeper's ends and it
//! kills all; when the keeper is killed its orphans come to the warden, which kills all. The warden stands outside: it
//! makes the control group and the sandbox, looks at what the tree uses, and is not to be seen from within.

use super::limits::{Limit, Limits};
use super::processes::{end_all_below, kill_below, ticks_of_ended_children};
use super::protocol::{Control, Ended, How, Order, Report};
use super::sandbox::WARDEN;
use super::watch::Watch;
use super::{PART, keeper};
use rustix::process::{Resource, Rlimit, getpid, set_child_subreaper, setrlimit};
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read as _, Write};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// How long a keeper may take to end its tree and tell before all is killed from outside.
const KEEPER_GRACE: Duration = Duration::from_secs(2);

/// What `nsfl-node warden` does; it reads what from standard input. `command` is its own, of its later parts.
#[must_use]
pub fn warden_main(command: &[OsString]) -> ExitCode {
    let done = match std::env::var(PART).as_deref() {
        Ok("keeper") => keeper::keep(),
        Ok("worker") => Err(keeper::become_worker(command)),
        _ => warden(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::from(127)
        }
    }
}

enum Event {
    Told(Control),
    /// The daemon is gone, or wants all of it dead.
    Untied,
    /// All that the keeper had to say; nothing when it was killed.
    Reported(Vec<u8>),
}

fn warden() -> io::Result<()> {
    no_core_dumps();
    set_child_subreaper(Some(getpid()))?;
    let (order, stdin) = read_order()?;
    let group = order.group.clone().filter(|group| match group.make(&order.limits).and_then(|()| group.enter()) {
        Ok(()) => true,
        Err(error) => {
            let _ = writeln!(io::stderr(), "no control group: {error}");
            group.end();
            false
        }
    });
    let started = start_keeper(&order, group.as_ref().is_some_and(|group| group.has("memory")));
    if let Some(group) = &group {
        group.leave()?;
    }
    let mut child = started?;
    let (events, happened) = channel();
    let to_keeper = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
    listen(&mut child, stdin, events)?;
    let mut watch = Watch::new(&order.limits, order.folder.clone(), group.clone());
    let told = attend(&happened, to_keeper, &mut watch);
    end_all_below()?;
    let report: Option<Report> = serde_json::from_slice(&told).ok();
    let failed = report.as_ref().is_none_or(|report| report.workers.iter().any(|how| !how.is_well()));
    let limit = watch.over().or_else(|| of_signals(report.as_ref(), &order.limits));
    let limit = limit.or_else(|| if failed { watch.in_the_end() } else { None });
    if let Some(group) = group {
        group.end();
    }
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    let cpu_ms = ticks_of_ended_children() * 1000 / per_second;
    let ended = Ended { report, limit, peak_memory: watch.peak(), cpu_ms };
    writeln!(io::stdout(), "{}", serde_json::to_string(&ended)?)
}

/// The order from standard input, and the rest of it.
pub(super) fn read_order() -> io::Result<(Order, BufReader<io::Stdin>)> {
    let (mut stdin, mut line) = (BufReader::new(io::stdin()), String::new());
    stdin.read_line(&mut line)?;
    Ok((serde_json::from_str(&line)?, stdin))
}

/// Not a core beside the script's, which has none either.
fn no_core_dumps() {
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}

/// The keeper, in the sandbox where there is one.
fn start_keeper(order: &Order, memory_is_bounded: bool) -> io::Result<Child> {
    let own = std::env::args_os().skip(1);
    let mut command = match &order.sandbox {
        None => Command::new("/proc/self/exe"),
        Some(sandbox) => {
            let program = std::env::current_exe()?;
            let workers: Vec<_> = order.workers.iter().map(|worker| (worker.found(&order.cwd), &worker.env)).collect();
            let mut command = Command::new(sandbox.program.path());
            command.args(sandbox.arguments(&program, &workers)).arg(WARDEN);
            command
        }
    };
    let (mark, folder) = order.mark();
    command.args(own).env_clear().env(PART, "keeper").env(mark, folder);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let for_keeper = Order { sandbox: None, group: None, memory_is_bounded, ..order.clone() };
    let written = child.stdin.as_mut().map(|stdin| writeln!(stdin, "{}", serde_json::to_string(&for_keeper)?));
    // one that is gone already has said why on standard error
    let _ = written.transpose();
    Ok(child)
}

fn listen(child: &mut Child, mut stdin: BufReader<io::Stdin>, events: Sender<Event>) -> io::Result<()> {
    let mut stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let reports = events.clone();
    std::thread::spawn(move || {
        let mut report = Vec::new();
        let _ = stdout.read_to_end(&mut report);
        reports.send(Event::Reported(report))
    });
    std::thread::spawn(move || {
        let mut line = String::new();
        while stdin.read_line(&mut line).is_ok_and(|n| n > 0) {
            if let Ok(control) = serde_json::from_str(&line) {
                events.send(Event::Told(control))?;
            }
            line.clear();
        }
        events.send(Event::Untied)
    });
    Ok(())
}

/// Until the keeper has ended, or had its time to.
fn attend(happened: &Receiver<Event>, keeper: ChildStdin, watch: &mut Watch) -> Vec<u8> {
    let mut keeper = Some(keeper);
    let mut kill_at: Option<Instant> = None;
    loop {
        let wait = kill_at.map_or(watch.pause(), |at| at.saturating_duration_since(Instant::now()).min(watch.pause()));
        match happened.recv_timeout(wait) {
            Ok(Event::Reported(report)) => return report,
            Ok(Event::Told(Control::Terminate { grace_ms })) => {
                let sent = keeper.as_mut().map(|keeper| writeln!(keeper, "{}", Control::Terminate { grace_ms }.line()));
                let _ = sent.transpose();
                kill_at = Some(kill_at.unwrap_or_else(|| Instant::now() + Duration::from_millis(grace_ms)));
            }
            Ok(Event::Untied) => kill_at = Some(Instant::now()),
            Err(RecvTimeoutError::Timeout) => {
                if watch.look() {
                    kill_at = Some(Instant::now());
                }
            }
            Err(RecvTimeoutError::Disconnected) => return Vec::new(),
        }
        if kill_at.is_some_and(|at| at <= Instant::now()) {
            // the keeper kills its tree, and tells how each worker ended; one that cannot is killed with it
            if keeper.take().is_none() {
                kill_below();
            }
            kill_at = Some(Instant::now() + KEEPER_GRACE);
        }
    }
}

fn of_signals(report: Option<&Report>, limits: &Limits) -> Option<Limit> {
    const XCPU: i32 = 24;
    const XFSZ: i32 = 25;
    report?.workers.iter().find_map(|how| match how {
        How::Signal(XCPU) => limits.cpu_seconds.map(Limit::CpuTime),
        How::Signal(XFSZ) => limits.file.map(Limit::FileSize),
        _ => None,
    })
}
