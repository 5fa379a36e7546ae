//! A trainer of our own that works on what a job may have sent, such as a TorchScript module: confined as scripts are. It
//! speaks the task and result files of builtin trainers.

use super::command::inherited;
use super::log::last_lines;
use super::outcome::{LINES, SEARCHED, is_memory, late};
use super::{Progress, ScriptFailure, TaskFolder, until_late};
use crate::launch::{Ending, How, LaunchSpec, Launcher, Limit, Limits, Sandbox, Worker, log_tail};
use crate::spawn::TASK_FILE;
use crate::task::Outcome;
use crate::{TrainerCommand, TrainerError, TrainerResult, TrainerTask};
use nsfl_types::{Cause, Code};
use std::io;
use std::time::Duration;

/// A trainer's task, confined.
#[derive(Debug, Clone)]
pub struct ConfinedTask {
    /// The trainer.
    pub command: TrainerCommand,
    /// Its working directory, in which it may write; must exist.
    pub folder: TaskFolder,
    /// What it is asked to do.
    pub task: TrainerTask,
    /// Longest time.
    pub timeout: Duration,
    /// From the request to end until it is killed.
    pub grace: Duration,
    /// Variables of the daemon's environment that it may see beside the usual ones.
    pub environment: Vec<String>,
    /// What its processes may use.
    pub limits: Limits,
    /// What they see.
    pub sandbox: Option<Sandbox>,
}

impl ConfinedTask {
    /// Runs the trainer to its end. `tell` is told how far it is. Dropping the future kills all its processes.
    ///
    /// # Errors
    /// It could not be started, ran into a limit, failed, or told nothing.
    pub async fn run(&self, launcher: &Launcher, tell: impl FnMut(Progress)) -> Result<TrainerResult, ScriptFailure> {
        self.task.write(&self.folder.path().join(TASK_FILE)).map_err(TrainerError::from)?;
        let launched = launcher.launch(self.spec()).map_err(|error| self.not_started(error))?;
        let (ending, is_late) = until_late(launched, &self.folder, self.timeout, self.grace, tell).await?;
        if !is_late {
            return self.judge(&ending);
        }
        let seconds = self.timeout.as_secs_f64();
        let (code, reason) = late("trainer", seconds, &ending);
        let cause = Cause { limit: Some(format!("time {seconds} s")), ..self.cause(&ending) };
        Err(ScriptFailure { code, reason, cause: Some(Box::new(cause)) })
    }

    /// What it printed last: all there is to say of one that ended well and handed over what is of no use.
    #[must_use]
    pub fn last_words(&self) -> Cause {
        last_words(&self.folder)
    }

    fn spec(&self) -> LaunchSpec {
        let given = ["--task", TASK_FILE].map(str::to_owned);
        LaunchSpec {
            workers: vec![Worker {
                program: self.command.program.to_string_lossy().into_owned(),
                args: self.command.args.iter().cloned().chain(given).collect(),
                env: inherited(&self.environment).collect(),
                output: self.folder.path().join(TaskFolder::log_of(0)),
            }],
            cwd: self.folder.path().to_owned(),
            folder: self.folder.path().to_owned(),
            limits: self.limits.clone(),
            sandbox: self.sandbox.clone(),
        }
    }

    /// The program is the site's, not the job's.
    fn not_started(&self, error: TrainerError) -> TrainerError {
        match error {
            TrainerError::NoProgram(_) => self.start(io::Error::from(io::ErrorKind::NotFound)),
            other => other,
        }
    }

    fn start(&self, source: io::Error) -> TrainerError {
        TrainerError::Start { program: self.command.program.clone(), source }
    }

    fn judge(&self, ending: &Ending) -> Result<TrainerResult, ScriptFailure> {
        let failed = |code, reason, cause| Err(ScriptFailure { code, reason, cause: Some(Box::new(cause)) });
        let mut cause = self.cause(ending);
        if let Some(limit) = ending.limit {
            return failed(limit.code(), format!("the trainer ran into a limit: {limit}"), cause);
        }
        match ending.how() {
            How::Exit(0) if !ending.left.is_empty() => {
                let left = ending.left.join(", ");
                failed(Code::ScriptForks, format!("the trainer ended and left processes running: {left}"), cause)
            }
            how @ How::Exit(code @ (0 | 1)) => match Outcome::read_beneath(self.folder.path(), &self.task.result) {
                Ok(Outcome::Done(result)) if *code == 0 => Ok(result),
                Ok(Outcome::Failed(told)) if is_memory(&told.reason) => {
                    cause.limit = self.limits.memory.map(|bytes| Limit::Memory(bytes).to_string());
                    failed(Code::ScriptMemory, format!("the trainer had too little memory: {}", told.reason), cause)
                }
                Ok(Outcome::Failed(told)) => failed(told.code, format!("the trainer failed: {}", told.reason), cause),
                _ => failed(Code::TrainerFailed, format!("the trainer ended without a result: {how}"), cause),
            },
            how @ How::Exit(_) => {
                failed(Code::TrainerFailed, format!("the trainer ended without a result: {how}"), cause)
            }
            How::NotStarted(why) => Err(self.start(io::Error::other(why.clone())).into()),
            how @ (How::Signal(_) | How::Lost) => {
                failed(Code::ScriptSignal, format!("the trainer was killed: {how}"), cause)
            }
        }
    }

    fn cause(&self, ending: &Ending) -> Cause {
        Cause {
            exit: Some(ending.how().to_string()),
            limit: ending.limit.map(|limit| limit.to_string()),
            ..self.last_words()
        }
    }
}

/// What the first worker printed last.
pub(super) fn last_words(folder: &TaskFolder) -> Cause {
    let log = log_tail(folder.path(), &TaskFolder::log_of(0), SEARCHED);
    Cause { log: last_lines(&log, LINES), ..Cause::default() }
}
