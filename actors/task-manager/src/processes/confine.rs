//! What a task's scripts may use and see: what its job asked for, within what the site allows.

use crate::trainer::Assignment;
use nsfl_trainer::launch::{Bubblewrap, Limits, Sandbox};
use std::path::{Path, PathBuf};

/// How a site confines scripts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Confinement {
    /// Their sandbox, if they have one.
    pub sandbox: Option<SandboxRules>,
    /// The largest file, in bytes.
    pub file: Option<u64>,
    /// Processes and threads of a task.
    pub processes: Option<u64>,
    /// Open files of a process.
    pub open_files: Option<u64>,
    /// Processor seconds of a task.
    pub cpu_seconds: Option<u64>,
}

/// What is the same in every task's sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxRules {
    /// A bubblewrap that works here.
    pub program: Bubblewrap,
    /// Seen beside what the task needs. Absolute.
    pub read_only: Vec<PathBuf>,
    /// Never seen: the daemon's data and keys. Absolute.
    pub hidden: Vec<PathBuf>,
    /// With the machine's network.
    pub network: bool,
}

impl Confinement {
    /// `quota`: what the task's folder may grow by; `log`: what is kept of a worker's output; in bytes.
    pub(super) fn limits(&self, task: &Assignment, quota: u64, log: u64) -> Limits {
        let asked = &task.work.resource;
        Limits {
            // a job that asks for none says nothing about it
            memory: Some(bytes(asked.memory_mb)).filter(|bytes| *bytes > 0),
            cpu: Some(asked.cpu).filter(|cores| *cores > 0.0),
            cpu_seconds: self.cpu_seconds,
            file: self.file,
            folder: Some(quota),
            processes: self.processes,
            open_files: self.open_files,
            output: log,
            gpu: asked.gpu > 0.0,
        }
    }

    /// `code`: the folder of the task's scripts, with all that they import.
    pub(super) fn sandbox(&self, task: &Assignment, code: &Path) -> Option<Sandbox> {
        let rules = self.sandbox.as_ref()?;
        let data = task.datasets.values().filter(|path| path.exists()).cloned();
        Some(Sandbox {
            program: rules.program.clone(),
            writable: vec![task.folder.clone()],
            tmp: task.folder.join("tmp"),
            read_only: rules.read_only.iter().cloned().chain([code.to_owned()]).chain(data).collect(),
            hidden: rules.hidden.clone(),
            network: rules.network,
            gpu: task.work.resource.gpu > 0.0,
        })
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "finite, not negative, and saturating")]
fn bytes(mb: f64) -> u64 {
    (mb * 1e6) as u64
}
