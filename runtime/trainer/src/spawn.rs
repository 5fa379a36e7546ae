//! The daemon's side: starts a trainer in a process group of its own, waits for its result, kills the whole group.

use crate::child::TETHER;
use crate::task::Outcome;
use crate::{TrainerError, TrainerResult, TrainerTask};
use rustix::process::{Pid, Signal, kill_process_group};
use std::fs::File;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::Instant;

/// In the workspace, which is the child's working directory.
pub(crate) const TASK_FILE: &str = "task.json";

/// The program that does tasks: it is started as `program args… --task FILE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainerCommand {
    /// An absolute path.
    pub program: PathBuf,
    /// What comes before `--task`.
    pub args: Vec<String>,
}

/// A trainer at work. Dropping it kills its process group.
#[derive(Debug)]
pub struct TrainerChild {
    child: Child,
    /// The process group, until it is known to be gone.
    group: Option<Pid>,
    /// The child ends when this end of the pipe is closed, by us or by our death.
    _tether: Option<ChildStdin>,
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
        Command::new(&command.program)
            .args(&command.args)
            .arg("--task")
            .arg(TASK_FILE)
            .current_dir(workspace)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(File::create(workspace.join("stdout.log"))?)
            .stderr(File::create(&stderr)?)
            .env(TETHER, "stdin")
            // the builtin trainers' arithmetic: one thread, so that a task costs one core and repeats to the bit
            .env("RAYON_NUM_THREADS", "1")
            .spawn()
    };
    let mut child = start().map_err(|source| TrainerError::Start { program: command.program.clone(), source })?;
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let tether = child.stdin.take();
    Ok(TrainerChild { child, group, _tether: tether, deadline: Instant::now() + timeout, timeout, result, stderr })
}

impl TrainerChild {
    /// Waits until the trainer has ended or its time is over. Whatever its group still runs is killed. May be
    /// cancelled and called again.
    ///
    /// # Errors
    /// See [`TrainerError`].
    pub async fn wait(&mut self) -> Result<TrainerResult, TrainerError> {
        let waited = tokio::time::timeout_at(self.deadline, self.child.wait()).await;
        // When the leader has just been reaped, its number is still the group's as long as the group has members,
        // and it is not given away again within microseconds when it has none.
        self.kill();
        match waited {
            Err(_) => {
                // killed: this does not take long
                let _ = self.child.wait().await;
                Err(TrainerError::Timeout { after: self.timeout, stderr: tail(&self.stderr) })
            }
            Ok(Err(e)) => Err(self.ended(e.to_string())),
            Ok(Ok(status)) => self.outcome(status),
        }
    }

    /// Kills the trainer and everything it has started; `wait` then returns soon.
    pub fn kill(&mut self) {
        if let Some(group) = self.group.take() {
            let _ = kill_process_group(group, Signal::KILL);
        }
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
