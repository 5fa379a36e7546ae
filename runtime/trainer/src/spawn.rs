//! The daemon's side: starts a trainer in a process group of its own or under a keeper, waits for its result, kills it with
//! all it has started.

use crate::child::TETHER;
use crate::task::Outcome;
use crate::tree::{Keeper, MARK, kill_marked};
use crate::{TrainerError, TrainerResult, TrainerTask};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::fs::File;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::Instant;

/// In the workspace, which is the child's working directory.
const TASK_FILE: &str = "task.json";

/// The program that does tasks: it is started as `program args… --task FILE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainerCommand {
    /// An absolute path.
    pub program: PathBuf,
    /// What comes before `--task`.
    pub args: Vec<String>,
    /// Holds together what the program forks. Without one, what leaves the program's process group outlives it: for
    /// programs that start no others and end with their standard input.
    pub keeper: Option<Keeper>,
}

/// A keeper has this long to end its tree before it is killed itself, and leaves what it kept: a last resort, on a machine that
/// has come to a stop.
const KEEPER_GRACE: Duration = Duration::from_secs(60);

/// A trainer at work. Dropping it kills its process group.
#[derive(Debug)]
pub struct TrainerChild {
    child: Child,
    /// The process group, until it is known to be gone.
    group: Option<Pid>,
    /// The folder that marks a kept tree.
    kept: Option<PathBuf>,
    /// The child ends when this end of the pipe is closed, by us or by our death.
    tether: Option<ChildStdin>,
    deadline: Instant,
    timeout: Duration,
    result: PathBuf,
    stderr: PathBuf,
}

/// Starts a trainer in `workspace`, which must exist: it is the child's working directory, and receives `task.json`,
/// `stdout.log` and `stderr.log`. Needs a tokio runtime.
///
/// # Errors
/// A workspace that cannot be written, a program that cannot be started.
pub fn spawn(
    command: &TrainerCommand,
    workspace: &Path,
    task: &TrainerTask,
    timeout: Duration,
) -> Result<TrainerChild, TrainerError> {
    task.write(&workspace.join(TASK_FILE))?;
    let (result, stderr) = (workspace.join(&task.result), workspace.join("stderr.log"));
    let start = || {
        // a result of an earlier try must not pass for this one's
        std::fs::remove_file(&result).or_else(|e| if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) })?;
        let mut start = match &command.keeper {
            None => {
                let mut start = Command::new(&command.program);
                start.env(TETHER, "stdin");
                start
            }
            Some(keeper) => {
                let mut start = Command::new(&keeper.program);
                start.args(&keeper.args).arg(&command.program).env_remove(TETHER).env(MARK, workspace);
                start
            }
        };
        start
            .args(&command.args)
            .arg("--task")
            .arg(TASK_FILE)
            .current_dir(workspace)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(File::create(workspace.join("stdout.log"))?)
            .stderr(File::create(&stderr)?)
            // the builtin trainers' arithmetic: one thread, so that a task costs one core and repeats to the bit
            .env("RAYON_NUM_THREADS", "1")
            .spawn()
    };
    let mut child = start().map_err(|source| TrainerError::Start { program: command.program.clone(), source })?;
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let tether = child.stdin.take();
    let kept = command.keeper.as_ref().map(|_| workspace.to_owned());
    Ok(TrainerChild { child, group, kept, tether, deadline: Instant::now() + timeout, timeout, result, stderr })
}

impl TrainerChild {
    /// Waits until the trainer has ended or its time is over. Whatever its group still runs is killed. May be
    /// cancelled and called again.
    ///
    /// # Errors
    /// See [`TrainerError`].
    pub async fn wait(&mut self) -> Result<TrainerResult, TrainerError> {
        let (mut late, mut ended) = (false, None);
        if self.group.is_some() {
            let waited = tokio::time::timeout_at(self.deadline, self.child.wait()).await;
            late = waited.is_err();
            ended = waited.ok();
            // When the leader has just been reaped, its number is still the group's as long as the group has members,
            // and it is not given away again within microseconds when it has none.
            self.kill();
        }
        let status = match ended {
            Some(status) => status,
            None => self.killed().await,
        };
        self.sweep(&status).await;
        match status {
            _ if late => Err(TrainerError::Timeout { after: self.timeout, stderr: tail(&self.stderr) }),
            Err(e) => Err(self.ended(e.to_string())),
            Ok(status) => self.outcome(status),
        }
    }

    /// Kills the trainer and everything it has started; `wait` then returns soon.
    pub fn kill(&mut self) {
        match (self.group.take(), &self.kept) {
            // the keeper sees to it, also one that somebody froze
            (keeper, Some(_)) => {
                self.tether = None;
                if let Some(keeper) = keeper {
                    let _ = kill_process(keeper, Signal::CONT);
                }
            }
            (Some(group), None) => drop(kill_process_group(group, Signal::KILL)),
            (None, None) => {}
        }
    }

    /// How it ended after `kill`, which does not take long.
    async fn killed(&mut self) -> io::Result<ExitStatus> {
        match tokio::time::timeout(KEEPER_GRACE, self.child.wait()).await {
            Ok(status) => status,
            Err(_) => self.child.kill().await.and(self.child.wait().await),
        }
    }

    /// A keeper that was killed has left what it kept.
    async fn sweep(&self, status: &io::Result<ExitStatus>) {
        let Some(folder) = self.kept.clone() else { return };
        if status.as_ref().is_ok_and(|status| status.code().is_some()) {
            return;
        }
        let _ = tokio::task::spawn_blocking(move || kill_marked(&folder)).await;
    }

    fn outcome(&self, status: ExitStatus) -> Result<TrainerResult, TrainerError> {
        if !matches!(status.code(), Some(0 | 1)) {
            return Err(self.ended(describe(status)));
        }
        match Outcome::read(&self.result) {
            Ok(Outcome::Done(result)) if status.success() => Ok(result),
            Ok(Outcome::Failed(failure)) => Err(TrainerError::Reported(failure)),
            _ => Err(self.ended(describe(status))),
        }
    }

    fn ended(&self, how: String) -> TrainerError {
        TrainerError::Ended { how, stderr: tail(&self.stderr) }
    }
}

impl Drop for TrainerChild {
    fn drop(&mut self) {
        self.kill();
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (_, Some(9)) => "killed by signal 9 (cancelled, or the machine is out of memory)".to_owned(),
        (_, Some(signal)) => format!("killed by signal {signal}"),
        (code, None) => format!("exit code {}", code.unwrap_or(-1)),
    }
}

/// The last lines of a log, of a length fit for a message.
fn tail(path: &Path) -> String {
    const LINES: usize = 20;
    const BYTES: usize = 4000;
    let bytes = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(BYTES)..]);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
