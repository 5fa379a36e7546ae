//! A helper program that is asked one question a line and answers one a line, in JSON. It lives in a process group of
//! its own, which is killed as a whole, and has a deadline for all its answers together.

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::Instant;

/// Longest answer.
const MAX_ANSWER: u64 = 16 << 20;
/// What such a program sees of our own environment.
const PASSED: [&str; 9] =
    ["PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "PYTHONPATH"];

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum DialogError {
    /// It could not be started.
    #[error("'{}' could not be started", program.to_string_lossy())]
    Start {
        /// Which program.
        program: OsString,
        /// Why.
        source: std::io::Error,
    },
    /// It ended without an answer.
    #[error("it ended without an answer: {how}")]
    Ended {
        /// Exit code or signal.
        how: String,
    },
    /// Its time is over; it was killed.
    #[error("it did not answer within {} s", after.as_secs_f64())]
    Timeout {
        /// The time it had.
        after: Duration,
    },
    /// An answer that is none.
    #[error("its answer cannot be read: {0}")]
    BadAnswer(String),
}

/// A program in conversation. Dropping it kills its process group.
#[derive(Debug)]
pub struct Dialog {
    child: Child,
    group: Option<Pid>,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    log: PathBuf,
    deadline: Instant,
    timeout: Duration,
}

impl Dialog {
    /// Starts `program args…` in `folder`, where `log` receives its standard error. The program has to end when its
    /// standard input does. Needs a tokio runtime.
    ///
    /// # Errors
    /// The program cannot be started, or the folder not be written.
    pub fn start(program: &OsString, args: &[OsString], folder: &Path, timeout: Duration) -> Result<Self, DialogError> {
        let log = folder.join("log");
        let spawn = || {
            let mut child = Command::new(program)
                .args(args)
                .current_dir(folder)
                .process_group(0)
                .env_clear()
                .envs(PASSED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
                // the same question has the same answer
                .env("PYTHONHASHSEED", "0")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(File::create(&log)?)
                .spawn()?;
            let (questions, answers) =
                child.stdin.take().zip(child.stdout.take()).ok_or(std::io::ErrorKind::BrokenPipe)?;
            Ok((child, questions, BufReader::new(answers)))
        };
        let (child, questions, answers) =
            spawn().map_err(|source| DialogError::Start { program: program.clone(), source })?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(Self { child, group, questions, answers, log, deadline: Instant::now() + timeout, timeout })
    }

    /// Asks, and waits for the answer. After an error there are no more.
    ///
    /// # Errors
    /// It has ended, its time is over, or the answer is no JSON.
    pub async fn ask(&mut self, question: &Value) -> Result<Value, DialogError> {
        let mut line = question.to_string();
        line.push('\n');
        let (questions, answers) = (&mut self.questions, &mut self.answers);
        let exchange = async {
            questions.write_all(line.as_bytes()).await?;
            questions.flush().await?;
            let mut answer = Vec::new();
            answers.take(MAX_ANSWER).read_until(b'\n', &mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        let exchanged = tokio::time::timeout_at(self.deadline, exchange).await;
        match exchanged {
            Ok(Ok(answer)) if answer.ends_with(b"\n") => {
                serde_json::from_slice(&answer).map_err(|e| DialogError::BadAnswer(e.to_string()))
            }
            Ok(Ok(answer)) if !answer.is_empty() => Err(DialogError::BadAnswer("it is cut off or too long".into())),
            Ok(_) => Err(self.ended().await),
            Err(_) => {
                self.kill();
                Err(DialogError::Timeout { after: self.timeout })
            }
        }
    }

    /// The last `bytes` of what it wrote to standard error.
    #[must_use]
    pub fn last_words(&self, bytes: usize) -> String {
        let read = || -> std::io::Result<Vec<u8>> {
            let mut log = File::open(&self.log)?;
            let len = log.metadata()?.len();
            log.seek(SeekFrom::Start(len.saturating_sub(bytes as u64)))?;
            let mut end = Vec::new();
            log.take(bytes as u64).read_to_end(&mut end)?;
            Ok(end)
        };
        String::from_utf8_lossy(&read().unwrap_or_default()).trim_end().to_owned()
    }

    /// Kills it and everything it has started.
    pub fn kill(&mut self) {
        if let Some(group) = self.group.take() {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }

    /// It has closed its end: it is about to be gone, or is made so.
    async fn ended(&mut self) -> DialogError {
        let grace = self.deadline.min(Instant::now() + Duration::from_secs(1));
        let waited = tokio::time::timeout_at(grace, self.child.wait()).await;
        self.kill();
        let how = match waited {
            Ok(Ok(status)) => describe(status),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it closed its output".to_owned(),
        };
        DialogError::Ended { how }
    }
}

impl Drop for Dialog {
    fn drop(&mut self) {
        self.kill();
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, signal) => format!("signal {}", signal.unwrap_or(-1)),
    }
}
