//! Tasks that run a script of a framework: what is configured, what comes with the job, the folder between the script and
//! the daemon, the processes, and why a script failed. It makes no delta and stores nothing.

mod command;
mod configuration;
mod confined;
mod folder;
mod log;
mod outcome;
mod progress;

pub use configuration::{Program, Stage};
pub use confined::ConfinedTask;
pub use folder::{Facts, TaskFolder, open};
pub use outcome::ScriptFailure;
pub use progress::{Progress, watching};

use crate::TrainerError;
use crate::launch::{Ending, LaunchSpec, Launched, Launcher, Limits, Sandbox, Worker};
use command::{CommandLine, Environment, inherited};
use nsfl_types::{Code, Metrics, Refusal};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// A script's task.
#[derive(Debug, Clone)]
pub struct ScriptTask {
    /// Its folder.
    pub folder: TaskFolder,
    /// What the script can learn of it.
    pub facts: Facts,
    /// What is run.
    pub program: Program,
    /// The job's parameters.
    pub parameters: Map<String, Value>,
    /// Data set name to path.
    pub datasets: BTreeMap<String, PathBuf>,
    /// Longest time, by the order; the configuration may set less.
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

impl ScriptTask {
    /// Describes the task in its folder, which must exist. Weights, inputs and state are then put into it.
    ///
    /// # Errors
    /// The disk's.
    pub fn prepare(&self) -> std::io::Result<()> {
        self.folder.prepare(&self.facts, &self.datasets)
    }

    /// Runs the script to its end, and says what it has measured; when training, its weights are there too. `tell` is
    /// told how far it is, every second at most. Dropping the future kills all its processes.
    ///
    /// # Errors
    /// The script could not be started, failed, or handed over nothing that can be used.
    pub async fn run(&self, launcher: &Launcher, tell: impl FnMut(Progress)) -> Result<Metrics, ScriptFailure> {
        let launched = launcher.launch(self.spec()?)?;
        let timeout = self.program.stage.timeout.map_or(self.timeout, |own| own.min(self.timeout));
        let (ending, is_late) = until_late(launched, &self.folder, timeout, self.grace, tell).await?;
        if is_late { Err(self.late(timeout, &ending)) } else { self.judge(&ending) }
    }

    fn spec(&self) -> Result<LaunchSpec, Refusal> {
        let environment = Environment::new(&self.facts, self.folder.path(), inherited(&self.environment))
            .map_err(|e| Refusal::new(Code::TrainerStart, format!("no free port for the workers: {e}")))?;
        let line = CommandLine::of(&self.program, &self.parameters, &environment.path())?;
        let worker = |index| Worker {
            program: line.program.to_string_lossy().into_owned(),
            args: line.args.clone(),
            env: environment.of_worker(index),
            output: self.folder.path().join(TaskFolder::log_of(index)),
        };
        Ok(LaunchSpec {
            workers: (0..self.facts.worker_num).map(worker).collect(),
            cwd: self.program.folder.clone(),
            folder: self.folder.path().to_owned(),
            limits: self.limits.clone(),
            sandbox: self.sandbox.clone(),
        })
    }
}

/// Waits for the end; what has not ended in its time is asked to, and killed `grace` later. Gives how it ended, and whether
/// it was late.
async fn until_late(
    mut launched: Launched,
    folder: &TaskFolder,
    timeout: Duration,
    grace: Duration,
    tell: impl FnMut(Progress),
) -> Result<(Ending, bool), TrainerError> {
    let deadline = Instant::now() + timeout;
    let mut is_late = false;
    let ends = async {
        tokio::select! {
            ending = launched.wait() => return ending,
            () = sleep_until(deadline) => {}
        }
        is_late = true;
        launched.terminate(grace);
        launched.wait().await
    };
    let ending = watching(folder, tell, ends).await?;
    Ok((ending, is_late))
}
