//! What came of a script, and when it failed: by which code, and with everything that helps to mend it.

use super::confined::last_words;
use super::log::{last_lines, last_traceback};
use super::{ScriptTask, TaskFolder, open};
use crate::TrainerError;
use crate::launch::{Ending, How, Limit, log_tail};
use nsfl_types::{Cause, Code, Metrics, Refusal};
use std::path::Path;
use std::time::Duration;

/// What is searched for a traceback, in bytes, and how many last lines are told.
pub(super) const SEARCHED: usize = 128 << 10;
pub(super) const LINES: usize = 40;

/// A script's failure with all that is known of it.
#[derive(Debug)]
pub struct ScriptFailure {
    /// The stable code.
    pub code: Code,
    /// A sentence.
    pub reason: String,
    /// What more is known; nothing of a script that did not run.
    pub cause: Option<Box<Cause>>,
}

impl From<Refusal> for ScriptFailure {
    fn from(Refusal { code, reason }: Refusal) -> Self {
        Self { code, reason, cause: None }
    }
}

impl From<TrainerError> for ScriptFailure {
    fn from(error: TrainerError) -> Self {
        Self { code: error.code(), reason: crate::error::chain(&error), cause: None }
    }
}

impl ScriptTask {
    pub(super) fn late(&self, timeout: Duration, ending: &Ending) -> ScriptFailure {
        let seconds = timeout.as_secs_f64();
        let cause = Cause { limit: Some(format!("time {seconds} s")), ..self.cause(ending).0 };
        let (code, reason) = late("script", seconds, ending);
        ScriptFailure { code, reason, cause: Some(Box::new(cause)) }
    }

    /// The metrics of a script that ended well and handed over what it should.
    pub(super) fn judge(&self, ending: &Ending) -> Result<Metrics, ScriptFailure> {
        let (mut cause, error) = self.cause(ending);
        let failed = |code, reason, cause| Err(ScriptFailure { code, reason, cause: Some(Box::new(cause)) });
        if let Some(limit) = ending.limit {
            return failed(limit.code(), format!("the script ran into a limit: {limit}"), cause);
        }
        if let Some(error) = self.folder.error() {
            let reason = last_lines(&error.reason, 1);
            return failed(error.code(), reason, Cause { traceback: error.traceback.or(cause.traceback), ..cause });
        }
        match (ending.how(), error) {
            (How::Exit(0), _) if ending.left.is_empty() => {}
            (How::Exit(0), _) => {
                let reason = format!("the script ended and left processes running: {}", ending.left.join(", "));
                return failed(Code::ScriptForks, reason, cause);
            }
            (How::Exit(_), Some(error)) if is_memory(&error) => {
                cause.limit = self.limits.memory.map(|bytes| Limit::Memory(bytes).to_string());
                return failed(Code::ScriptMemory, format!("the script had too little memory: {error}"), cause);
            }
            (How::Exit(_), Some(error)) => {
                let code = if is_syntax(&error) { Code::ScriptSyntax } else { Code::ScriptException };
                return failed(code, error, cause);
            }
            (How::Exit(code), None) => {
                return failed(Code::ScriptExit, format!("the script ended with exit code {code}"), cause);
            }
            (How::NotStarted(why), _) => {
                return failed(Code::ScriptCommand, format!("the command could not be run: {why}"), cause);
            }
            (how @ (How::Signal(_) | How::Lost), _) => {
                return failed(Code::ScriptSignal, format!("the script was killed: {how}"), cause);
            }
        }
        self.committed().or_else(|Refusal { code, reason }| failed(code, reason, Cause { exit: None, ..cause }))
    }

    /// What it printed last: all there is to say of a script that ended well and handed over what is of no use.
    #[must_use]
    pub fn last_words(&self) -> Cause {
        last_words(&self.folder)
    }

    fn committed(&self) -> Result<Metrics, Refusal> {
        let missing = |what: &str| Refusal::new(Code::CommitMissing, format!("the script ended well but {what}"));
        if self.facts.mode == "train" {
            match open(self.folder.path(), Path::new(TaskFolder::WEIGHTS)) {
                Ok(Some(_)) => {}
                Ok(None) => return Err(missing("committed no weights")),
                Err(e) => return Err(Refusal::new(Code::BadUpdate, format!("the committed weights: {e}"))),
            }
        }
        match self.folder.metrics()? {
            None if self.facts.mode == "evaluate" => Err(missing("committed no metrics")),
            metrics => Ok(metrics.unwrap_or_default()),
        }
    }

    /// What the failed worker left behind, and the error that its last traceback ends with.
    fn cause(&self, ending: &Ending) -> (Cause, Option<String>) {
        let worker = ending.failed.unwrap_or(0);
        let log = log_tail(self.folder.path(), &TaskFolder::log_of(worker), SEARCHED);
        let (traceback, error) = last_traceback(&log).map(|found| (found.text, found.error)).unzip();
        let cause = Cause {
            exit: Some(ending.how().to_string()),
            limit: ending.limit.map(|limit| limit.to_string()),
            traceback: traceback.filter(|_| !ending.how().is_well()),
            log: last_lines(&log, LINES),
            worker: (self.facts.worker_num > 1).then_some(worker),
        };
        (cause, error)
    }
}

/// Code and reason of what did not end in its time; `ending` is how it ended when it was asked to.
pub(super) fn late(what: &str, seconds: f64, ending: &Ending) -> (Code, String) {
    const SIGKILL: i32 = 9;
    let reason = format!("the {what} did not end within {seconds} s");
    match ending.workers.contains(&How::Signal(SIGKILL)) {
        true => (Code::TrainerKilled, format!("{reason}, nor when it was asked to, and was killed")),
        false => (Code::TrainerTimeout, reason),
    }
}

/// What Python says of a file that is none of its own.
fn is_syntax(error: &str) -> bool {
    error.split(':').next().is_some_and(|name| matches!(name, "SyntaxError" | "IndentationError" | "TabError"))
}

/// Python's own error, and what PyTorch and NumPy say when an allocation fails.
pub(super) fn is_memory(error: &str) -> bool {
    error.split(':').next().is_some_and(|name| name.ends_with("MemoryError")) || error.contains("can't allocate memory")
}
