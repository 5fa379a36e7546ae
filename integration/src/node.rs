//! One process of ours. It ends with the test: dropped, it is killed and waited for.

use anyhow::{Context, bail};
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// How long a process that a fault point has frozen stays so.
pub const FREEZE: Duration = Duration::from_secs(5);
/// Between two looks at a process that is not ready yet.
const GLANCE: Duration = Duration::from_millis(20);

/// What to send a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGKILL: no time for anything.
    Kill,
    /// SIGTERM: an orderly end.
    Terminate,
    /// SIGSTOP: frozen.
    Stop,
    /// SIGCONT: goes on.
    Continue,
}

/// What became of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It runs.
    Runs,
    /// It is frozen.
    Frozen,
    /// It has ended.
    Ended,
}

/// A running node.
#[derive(Debug)]
pub struct Node {
    child: Child,
    /// The pipe it watches, held apart: waiting for a child closes its own.
    _tether: Option<ChildStdin>,
    /// The line it printed when it was ready; null for one that a fault point has ended before.
    pub ready: Value,
    /// A fault point froze it before it was ready; it went on after `FREEZE`.
    pub was_frozen: bool,
    /// Its log.
    pub log: PathBuf,
}

/// A program of this workspace, built by the same cargo command as the test.
///
/// # Errors
/// It is not there: the test was not started by `cargo xtask test`.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let test = std::env::current_exe()?;
    let folder = test.parent().and_then(Path::parent).context("a test lies in target/<profile>/deps")?;
    let program = folder.join(name);
    if !program.exists() {
        bail!("{} is not built: run `cargo build -p {name}` (cargo xtask test does)", program.display());
    }
    Ok(program)
}

/// What a node is started as.
#[derive(Debug, Clone, Copy)]
pub struct Launch<'a> {
    /// `nsfl-node`, or a build of it.
    pub program: &'a Path,
    /// `server` or `client`.
    pub role: &'a str,
    /// Its configuration file.
    pub config: &'a Path,
    /// Its log, appended to.
    pub log: &'a Path,
    /// Variables of its environment beside those of this process.
    pub env: &'a [(&'a str, String)],
}

impl Node {
    /// Starts `nsfl-node <role> --config <config>` and waits until it is ready.
    ///
    /// # Errors
    /// It ended instead; the error carries the exit status and the end of its log.
    pub fn start(role: &str, config: &Path, log: &Path) -> anyhow::Result<Self> {
        Self::launch(&Launch { program: &binary("nsfl-node")?, role, config, log, env: &[] })
    }

    /// Starts any build of a node and waits until it is ready. One that a fault point freezes on the way goes on after `FREEZE`; one
    /// that it ends is there to be found so.
    ///
    /// # Errors
    /// It ended by itself instead; the error carries the exit status and the end of its log.
    pub fn launch(launch: &Launch<'_>) -> anyhow::Result<Self> {
        let Launch { program, role, config, log, env } = *launch;
        let output = File::options().create(true).append(true).open(log)?;
        let mut child = Command::new(program)
            .args([role, "--until-stdin-closes", "--config"])
            .arg(config)
            .envs(env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(output)
            .spawn()?;
        let stdout = child.stdout.take().context("standard output is piped")?;
        let tether = child.stdin.take();
        let mut node = Self { child, _tether: tether, ready: Value::Null, was_frozen: false, log: log.to_owned() };
        let line = node.first_line(stdout)?;
        if line.is_empty() && env.iter().any(|(name, _)| *name == "FAULT_POINT") {
            // its end is for whoever looks: not waited for here
            while node.fate()? != Fate::Ended {}
            return Ok(node);
        }
        if line.is_empty() {
            let status = node.wait()?;
            let text = std::fs::read_to_string(log).unwrap_or_default();
            let end = text.lines().rev().take(5).collect::<Vec<_>>().join(" | ");
            bail!("{role} ended at its start with {status}: {end}");
        }
        node.ready = serde_json::from_str(&line)?;
        Ok(node)
    }

    /// Empty when it has ended without one.
    fn first_line(&mut self, stdout: ChildStdout) -> anyhow::Result<String> {
        let (sender, read) = channel();
        thread::spawn(move || {
            let mut line = String::new();
            let result = BufReader::new(stdout).read_line(&mut line);
            sender.send(result.map(|_| line))
        });
        loop {
            match read.recv_timeout(GLANCE) {
                Ok(line) => return Ok(line?),
                Err(RecvTimeoutError::Disconnected) => bail!("nobody reads its standard output"),
                Err(RecvTimeoutError::Timeout) if self.fate()? == Fate::Frozen => {
                    thread::sleep(FREEZE);
                    self.was_frozen = true;
                    self.signal(Signal::Continue)?;
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to this process only.
    ///
    /// # Errors
    /// It is gone.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id())?).context("a pid is not 0")?;
        let signal = match signal {
            Signal::Kill => rustix::process::Signal::KILL,
            Signal::Terminate => rustix::process::Signal::TERM,
            Signal::Stop => rustix::process::Signal::STOP,
            Signal::Continue => rustix::process::Signal::CONT,
        };
        Ok(rustix::process::kill_process(pid, signal)?)
    }

    /// Whether these words stand in its log.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn has_said(&self, words: &str) -> anyhow::Result<bool> {
        Ok(std::fs::read_to_string(&self.log)?.contains(words))
    }

    /// Whether it has ended or is frozen by SIGSTOP now.
    ///
    /// # Errors
    /// The operating system's.
    pub fn fate(&self) -> anyhow::Result<Fate> {
        use rustix::process::{WaitId, WaitIdOptions, waitid};
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id())?).context("a pid is not 0")?;
        // NOWAIT: whoever waits for the child later finds what is found here
        let options = WaitIdOptions::EXITED | WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        Ok(match waitid(WaitId::Pid(pid), options)? {
            None => Fate::Runs,
            Some(status) if status.stopped() => Fate::Frozen,
            Some(_) => Fate::Ended,
        })
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// The operating system's.
    pub fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        Ok(self.child.wait()?)
    }

    /// Kills it and waits for its end.
    ///
    /// # Errors
    /// The operating system's.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
