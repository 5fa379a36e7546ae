//! The daemon's trainer: each task is done by child processes, in a folder of its own. Which they are is the runtime's and
//! the task configuration's business.

mod confine;
mod logs;
mod native;
mod packages;
mod scripted;
mod state;
mod torchscript;

use crate::order::Work;
use crate::site::remove_folder;
use crate::trainer::{Assignment, Failure, Progress, Trainer};
use async_trait::async_trait;
pub use confine::{Confinement, SandboxRules};
use logs::Logs;
use nsfl_messages::wire::{Scripts, TaskOrder};
use nsfl_package::{Limits, check_name};
use nsfl_trainer::TrainerCommand;
use nsfl_trainer::launch::Launcher;
use nsfl_trainer::script::{self, Program, TaskFolder};
use nsfl_types::{BlobRef, Code, Refusal, Runtime, TaskKey};
use nsfl_workflow::{Outcome, UpdateRef};
use packages::Packages;
use serde_json::{Map, Value};
use state::Kept;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What came with the job, in a sentence on what is wrong with it.
const PACKAGE: &str = "the package of scripts";
/// Characters of a failure's reason that are kept and sent.
const MAX_REASON: usize = 6000;

/// What the daemon's trainer is configured with.
#[derive(Debug, Clone)]
pub struct ProcessConfig {
    /// Program of the builtin trainers.
    pub builtin: TrainerCommand,
    /// Program of runtime `torchscript`.
    pub torchscript: TrainerCommand,
    /// Starts what a job may have sent: scripts, and the trainer of `torchscript`.
    pub launcher: Launcher,
    /// Task name to the path of its task configuration.
    pub tasks: BTreeMap<String, PathBuf>,
    /// Folder below which unpacked packages, kept state and kept logs are.
    pub data: PathBuf,
    /// What scripts may do and fill.
    pub scripts: ScriptRules,
}

/// What scripts may do and fill.
#[derive(Debug, Clone)]
pub struct ScriptRules {
    /// What a task's folder may grow by, in bytes.
    pub quota: u64,
    /// Bytes of output kept of each worker.
    pub log: u64,
    /// Tasks whose output is kept.
    pub logs: usize,
    /// What the scripts of a job may be.
    pub package: Limits,
    /// Bytes a script may put for the job's extender.
    pub extra: u64,
    /// From the request to end until it is killed.
    pub grace: Duration,
    /// What a script keeps between rounds is removed when unused for so long.
    pub state: Duration,
    /// Variables of the daemon's environment that scripts may see beside the usual ones.
    pub environment: Vec<String>,
    /// What their processes may use and see.
    pub confinement: Confinement,
}

impl Default for ScriptRules {
    fn default() -> Self {
        const MB: u64 = 1_000_000;
        Self {
            quota: 10_000 * MB,
            log: 10 * MB,
            logs: 100,
            package: Limits::default(),
            extra: 64 * MB,
            grace: Duration::from_secs(5),
            state: Duration::from_secs(30 * 24 * 3600),
            environment: Vec::new(),
            confinement: Confinement::default(),
        }
    }
}

/// The daemon's trainer.
#[derive(Debug)]
pub struct Processes {
    config: ProcessConfig,
    packages: Packages,
    kept: Kept,
    logs: Logs,
}

impl Processes {
    /// With this configuration. Starts and reads nothing yet.
    #[must_use]
    pub fn new(config: ProcessConfig) -> Self {
        let data = std::path::absolute(&config.data).unwrap_or_else(|_| config.data.clone());
        Self {
            packages: Packages { folder: data.join("scripts"), limits: config.scripts.package },
            kept: Kept { folder: data.join("state"), idle: config.scripts.state },
            logs: Logs { folder: data.join("logs"), max: config.scripts.logs },
            config,
        }
    }

    async fn attempt(&self, task: &Assignment) -> Result<UpdateRef, Failure> {
        remove_folder(&task.folder).await;
        tokio::fs::create_dir_all(&task.folder).await.map_err(|e| not_started("the task's folder was not made", &e))?;
        match task.work.runtime {
            Runtime::Builtin => {
                let described = native::describe(task, &task.work.task_entry, parameters(&task.work)?)?;
                if task.work.optimizer.is_some() {
                    self.give_state(task).await?;
                }
                native::run(&self.config.builtin, task, described).await
            }
            Runtime::Torchscript => torchscript::run(self, task).await,
            Runtime::Pytorch | Runtime::Tensorflow => scripted::run(self, task).await,
        }
    }

    /// Puts what was kept for this job into the folder of a builtin trainer.
    async fn give_state(&self, task: &Assignment) -> Result<(), Refusal> {
        let (kept, key, folder) = (self.kept.clone(), task.key.clone(), TaskFolder::at(&task.folder));
        let given = blocking(move || {
            std::fs::create_dir_all(folder.new_state())?;
            std::fs::create_dir_all(folder.state())?;
            kept.give(&key, &folder.state())
        });
        given.await?.map_err(|e| not_started("the task's folder was not filled", &e))
    }

    /// What the task configuration says, from the package that came with the job or from this client.
    async fn program(&self, task: &Assignment) -> Result<Program, Refusal> {
        let file = match &task.work.scripts {
            Some(scripts) => {
                let folder = self.packages.unpacked(scripts.package, task.blobs.as_ref()).await?;
                folder.join(config_file(scripts)?)
            }
            None => self.configured(&task.work.task_entry)?.clone(),
        };
        let program = Program::read(&file, task.key.kind, task.work.runtime)?;
        match &task.work.scripts {
            // what a package describes lies in it
            Some(scripts) => self.packages.holds(scripts.package, &program).map(|()| program),
            None => Ok(program),
        }
    }

    /// The folder of all code that is the task's: a package may spread it, and script and imports lie anywhere in it.
    fn code(&self, task: &Assignment, program: &Program) -> PathBuf {
        match &task.work.scripts {
            Some(scripts) => self.packages.place(scripts.package),
            None => program.folder.clone(),
        }
    }

    fn configured(&self, name: &str) -> Result<&PathBuf, Refusal> {
        self.config.tasks.get(name).ok_or_else(|| {
            let names: Vec<&str> = self.config.tasks.keys().map(String::as_str).collect();
            let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            Refusal::new(
                Code::ScriptMissing,
                format!("task_entry: '{name}' is not among the tasks configured here: {known}"),
            )
        })
    }
}

#[async_trait]
impl Trainer for Processes {
    fn check(&self, order: &TaskOrder) -> Result<(), Refusal> {
        if order.runtime == Runtime::Builtin {
            return Ok(());
        }
        let Some(scripts) = &order.scripts else { return self.configured(&order.task_entry).map(|_| ()) };
        config_file(scripts)?;
        let small_enough = self.config.scripts.package.check_packed(scripts.package.len);
        small_enough.map_err(|e| e.refusal(PACKAGE))
    }

    fn needs(&self, work: &Work) -> Vec<BlobRef> {
        let package = work.scripts.iter().map(|scripts| scripts.package);
        package.filter(|package| !self.packages.is_unpacked(*package)).chain(work.inputs).collect()
    }

    async fn run(&self, task: &Assignment) -> Outcome {
        match self.attempt(task).await {
            Ok(update) => Outcome::Done { update },
            Err(Failure { code, reason, cause }) => {
                tracing::warn!(task = %task.key, %code, reason, "task failed");
                let cause = cause.map(|cause| Box::new(cause.bounded()));
                Outcome::Failed { code, reason: reason.chars().take(MAX_REASON).collect(), cause }
            }
        }
    }

    async fn keep(&self, key: &TaskKey, folder: &Path) {
        self.kept.keep(key, folder).await;
    }

    async fn sweep(&self, held: &[BlobRef]) {
        self.packages.sweep(held).await;
        self.kept.sweep().await;
        self.logs.sweep().await;
    }
}

/// The task configuration's name in its package.
fn config_file(scripts: &Scripts) -> Result<&str, Refusal> {
    let name = scripts.config_file.as_str();
    let refused = |problem| Refusal::new(Code::BadPackage, format!("config_file: '{name}' {problem}"));
    check_name(name).map(|()| name).map_err(refused)
}

/// The job's federated optimizer.
fn optimizer(work: &Work) -> Result<Option<Map<String, Value>>, Refusal> {
    let parsed = work.optimizer.as_deref().map(serde_json::from_str).transpose();
    parsed.map_err(|e| Refusal::new(Code::BadDocument, format!("the job's optimizer: {e}")))
}

/// Tells a task's progress on.
fn tell(task: &Assignment) -> impl FnMut(script::Progress) {
    move |script::Progress { done, message, metrics }| (task.progress)(Progress { done, message, metrics })
}

/// The job's parameters.
fn parameters(work: &Work) -> Result<Map<String, Value>, Refusal> {
    serde_json::from_str(&work.parameters)
        .map_err(|e| Refusal::new(Code::BadDocument, format!("the job's parameters: {e}")))
}

fn not_started(what: &str, error: &dyn std::fmt::Display) -> Refusal {
    Refusal::new(Code::TrainerStart, format!("{what}: {error}"))
}

/// Work on the file system, off the threads of the actors.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
    let ended = nsfl_actor::blocking(work).await;
    ended.map_err(|e| Refusal::new(Code::Internal, format!("work on files was given up: {e}")))
}
