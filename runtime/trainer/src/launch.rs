//! The daemon's side of a task's processes: starts them under a warden, with limits and in a sandbox, tells how they
//! ended, and leaves nothing of them behind. What they compute it does not know.

mod cgroup;
mod keeper;
mod limits;
mod log;
mod processes;
mod protocol;
mod sandbox;
mod warden;
mod watch;

pub use cgroup::Cgroups;
pub use limits::{Limit, Limits};
pub use log::{log_tail, open_beneath};
pub use protocol::{How, Worker};
pub use sandbox::{Bubblewrap, Sandbox};
pub use warden::warden_main;

use crate::TrainerError;
use cgroup::Group;
use nsfl_types::Code;
use protocol::{Control, Ended, Order};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

/// Which part of a warden this program is to be.
const PART: &str = "NSFL_WARDEN_PART";
/// To a worker before it begins: the process that must be its parent, and its limits.
const PARENT: &str = "NSFL_WARDEN_PARENT";
const LIMITS: &str = "NSFL_WARDEN_LIMITS";
/// In the environment of every process of a task: its folder.
const MARK: &str = "NSFL_TASK_TREE";

/// A warden that was told to kill has this long before it is taken for frozen, and all is killed without it.
const WARDEN_GRACE: Duration = Duration::from_secs(5);
/// What is read of a warden's report and of its complaints.
const MAX_REPORT: u64 = 1 << 20;
const MAX_WORDS: u64 = 8 << 10;

/// Starts tasks' processes. Made once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launcher {
    /// The warden's program: one that calls [`warden_main`]. An absolute path.
    pub program: PathBuf,
    /// What makes it one, such as `warden`.
    pub args: Vec<String>,
    /// Where groups may be made.
    pub cgroups: Option<Cgroups>,
}

/// What is to be started.
#[derive(Debug, Clone, PartialEq)]
pub struct LaunchSpec {
    /// One process each; all are killed when one fails.
    pub workers: Vec<Worker>,
    /// Their working directory.
    pub cwd: PathBuf,
    /// The task's folder, which must exist: its growth is bounded. No two tasks have the same.
    pub folder: PathBuf,
    /// What they may use.
    pub limits: Limits,
    /// What they see. In one, `HOME` and `TMPDIR` are `/tmp`.
    pub sandbox: Option<Sandbox>,
}

/// A task's processes. Dropping it kills them.
#[derive(Debug)]
pub struct Launched {
    control: Option<UnboundedSender<Control>>,
    ending: JoinHandle<Result<Ending, TrainerError>>,
}

/// How a task's processes ended. None of them is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// Each worker.
    pub workers: Vec<How>,
    /// The first that did not end well; the others were killed for it.
    pub failed: Option<u32>,
    /// What still ran long after all of them had ended well, and was killed: some command lines of it.
    pub left: Vec<String>,
    /// The limit they ran into.
    pub limit: Option<Limit>,
    /// The largest sum of memory seen, in bytes.
    pub peak_memory: u64,
    /// Processor time of all of them.
    pub cpu_time: Duration,
}

impl Launcher {
    /// Starts the processes. Needs a tokio runtime.
    ///
    /// # Errors
    /// The working directory or a program is not there, or the warden cannot be started. What the system refuses later
    /// is told by [`Launched::wait`].
    pub fn launch(&self, mut spec: LaunchSpec) -> Result<Launched, TrainerError> {
        check(&spec)?;
        let prepare = |folder: &Path| {
            let made = std::fs::create_dir_all(folder);
            made.map_err(|source| TrainerError::Start { program: folder.to_owned(), source })
        };
        spec.workers.iter().filter_map(|worker| worker.output.parent()).try_for_each(prepare)?;
        if let Some(sandbox) = &spec.sandbox {
            prepare(&sandbox.tmp)?;
            for worker in &mut spec.workers {
                worker.env.extend(["HOME", "TMPDIR"].map(|name| (name.to_owned(), "/tmp".to_owned())));
            }
        }
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let name = || Cgroups::name(NUMBER.fetch_add(1, Ordering::Relaxed));
        let group = self.cgroups.clone().map(|cgroups| Group::new(cgroups, name()));
        let LaunchSpec { workers, cwd, folder, limits, sandbox } = spec;
        let order = Order { workers, cwd, folder, limits, sandbox, group, memory_is_bounded: false };
        let child =
            self.warden(&order).map_err(|source| TrainerError::Start { program: self.program.clone(), source })?;
        let (control, controls) = unbounded_channel();
        Ok(Launched { control: Some(control), ending: tokio::spawn(attend(child, order, controls)) })
    }

    fn warden(&self, order: &Order) -> io::Result<Child> {
        let (mark, folder) = order.mark();
        let mut command = Command::new(&self.program);
        command.args(&self.args).env_clear().env(mark, folder).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
    }
}

impl Launched {
    /// Waits until all of the processes have ended. May be cancelled and called again, until it has told.
    ///
    /// # Errors
    /// The sandbox could not be set up, or the warden is at fault.
    pub async fn wait(&mut self) -> Result<Ending, TrainerError> {
        (&mut self.ending).await.unwrap_or_else(|error| Err(TrainerError::Warden(error.to_string())))
    }

    /// Asks the processes to end (SIGTERM), and has what is left after `grace` killed.
    pub fn terminate(&mut self, grace: Duration) {
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        if let Some(control) = &self.control {
            // one that has ended needs no asking
            let _ = control.send(Control::Terminate { grace_ms });
        }
    }

    /// Kills the processes; `wait` then tells soon.
    pub fn kill(&mut self) {
        self.control = None;
    }
}

impl Ending {
    /// Whether every worker says that its work is done, nothing ran on after them, and no limit was passed.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.code().is_none()
    }

    /// How the worker ended that the end is due to: the first that failed, or the first.
    #[must_use]
    pub fn how(&self) -> &How {
        let index = self.failed.map_or(0, |index| index as usize);
        self.workers.get(index).unwrap_or(&How::Lost)
    }

    /// The code of what went wrong.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match (self.limit, self.how()) {
            (Some(limit), _) => Some(limit.code()),
            (None, How::Exit(0)) if self.left.is_empty() => None,
            (None, How::Exit(0)) => Some(Code::ScriptForks),
            (None, How::Exit(_)) => Some(Code::ScriptExit),
            (None, How::Signal(_) | How::Lost) => Some(Code::ScriptSignal),
            (None, How::NotStarted(_)) => Some(Code::ScriptCommand),
        }
    }
}

/// Kills what is left of tasks whose folders are below `folder`, found by a mark in their environment: at start, of a
/// daemon and wardens that were killed. Gives their number.
#[must_use]
pub fn kill_remains(folder: &Path) -> usize {
    processes::kill_marked(MARK, folder)
}

fn check(spec: &LaunchSpec) -> Result<(), TrainerError> {
    if !spec.cwd.is_dir() {
        return Err(TrainerError::NoFolder(spec.cwd.clone()));
    }
    match spec.workers.iter().find(|worker| !worker.found(&spec.cwd).is_file()) {
        Some(worker) => Err(TrainerError::NoProgram(worker.program.clone())),
        None => Ok(()),
    }
}

/// The warden's life as seen from here.
async fn attend(
    mut child: Child,
    order: Order,
    mut controls: UnboundedReceiver<Control>,
) -> Result<Ending, TrainerError> {
    let (Some(mut stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(TrainerError::Warden("it has no pipes".into()));
    };
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
    let words = tokio::spawn(read(stderr, MAX_WORDS));
    let line = serde_json::to_string(&order).map_err(|error| TrainerError::Warden(error.to_string()))?;
    let feed = async move {
        // to a warden that is gone: its end is seen below
        let _ = stdin.write_all(format!("{line}\n").as_bytes()).await;
        while let Some(control) = controls.recv().await {
            let _ = stdin.write_all(format!("{}\n", control.line()).as_bytes()).await;
        }
        drop(stdin);
        tokio::time::sleep(WARDEN_GRACE).await;
    };
    let ended = async { tokio::join!(child.wait(), read(stdout, MAX_REPORT)).1 };
    tokio::pin!(ended);
    let told = tokio::select! {
        told = &mut ended => told,
        () = feed => {
            pid.into_iter().for_each(processes::kill);
            ended.await
        }
    };
    let Ok(told) = serde_json::from_str::<Ended>(&told) else {
        sweep(&order).await;
        return Ok(Ending::of_lost(&order));
    };
    let words = words.await.unwrap_or_default();
    match told.report {
        Some(report) => Ok(Ending {
            workers: report.workers,
            failed: report.failed,
            left: report.left,
            limit: told.limit,
            peak_memory: told.peak_memory,
            cpu_time: Duration::from_millis(told.cpu_ms),
        }),
        None if words.contains("bwrap:") => Err(TrainerError::Sandbox(words.trim().to_owned())),
        None => Ok(Ending {
            limit: told.limit,
            peak_memory: told.peak_memory,
            cpu_time: Duration::from_millis(told.cpu_ms),
            ..Ending::of_lost(&order)
        }),
    }
}

impl Ending {
    fn of_lost(order: &Order) -> Self {
        let workers = vec![How::Lost; order.workers.len()];
        Self { workers, failed: Some(0), left: Vec::new(), limit: None, peak_memory: 0, cpu_time: Duration::ZERO }
    }
}

/// A warden that was killed: its keeper kills the tree, but may be frozen or killed too.
async fn sweep(order: &Order) {
    let (group, folder) = (order.group.clone(), order.folder.clone());
    let swept = tokio::task::spawn_blocking(move || {
        processes::kill_marked(MARK, &folder);
        group.iter().for_each(Group::end);
    });
    let _ = swept.await;
}

async fn read(from: impl AsyncRead + Unpin, max: u64) -> String {
    let mut bytes = Vec::new();
    let mut from = from.take(max);
    let _ = from.read_to_end(&mut bytes).await;
    // what is beyond must not block its writer
    let _ = tokio::io::copy(&mut from.into_inner(), &mut tokio::io::sink()).await;
    String::from_utf8_lossy(&bytes).into_owned()
}
