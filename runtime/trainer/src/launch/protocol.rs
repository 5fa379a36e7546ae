//! What daemon, warden and keeper tell each other: JSON, a line each, on standard input and output. They are one program
//! of one version, so it has none.

use super::cgroup::Group;
use super::limits::{Limit, Limits};
use super::sandbox::Sandbox;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// One process of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// A name that is looked for in `PATH` of `env`, or a path.
    pub program: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// All of its environment.
    pub env: BTreeMap<String, String>,
    /// Where its standard output and error go.
    pub output: PathBuf,
}

/// First line to the warden, and from it to the keeper.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) workers: Vec<Worker>,
    pub(super) cwd: PathBuf,
    pub(super) folder: PathBuf,
    pub(super) limits: Limits,
    pub(super) sandbox: Option<Sandbox>,
    pub(super) group: Option<Group>,
    /// A control group bounds the tree's memory.
    pub(super) memory_is_bounded: bool,
}

/// Further lines; the end of them means: kill.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Control {
    /// Ask the workers to end, and kill them after this time.
    Terminate { grace_ms: u64 },
}

/// From the keeper.
#[derive(Serialize, Deserialize)]
pub(super) struct Report {
    pub(super) workers: Vec<How>,
    /// The first that did not end well.
    pub(super) failed: Option<u32>,
    /// What still ran long after all of them had ended well, as command lines.
    pub(super) left: Vec<String>,
}

/// From the warden.
#[derive(Serialize, Deserialize)]
pub(super) struct Ended {
    /// None of a keeper that was killed.
    pub(super) report: Option<Report>,
    pub(super) limit: Option<Limit>,
    pub(super) peak_memory: u64,
    pub(super) cpu_ms: u64,
}

/// How a worker ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// By itself, with this code.
    Exit(i32),
    /// By this signal.
    Signal(i32),
    /// It never began: the system's reason.
    NotStarted(String),
    /// Killed with those who were to tell.
    Lost,
}

impl How {
    /// Whether it says that its work is done.
    #[must_use]
    pub fn is_well(&self) -> bool {
        *self == Self::Exit(0)
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => match signal_name(*signal) {
                Some(name) => write!(f, "signal {signal} (SIG{name})"),
                None => write!(f, "signal {signal}"),
            },
            Self::NotStarted(reason) => write!(f, "not started: {reason}"),
            Self::Lost => f.write_str("killed together with its warden"),
        }
    }
}

impl Worker {
    /// The program as a path: one without a slash is looked for in `PATH`. As given when it is nowhere.
    pub(super) fn found(&self, cwd: &Path) -> PathBuf {
        if self.program.contains('/') {
            return cwd.join(&self.program);
        }
        let path = self.env.get("PATH").map_or("/usr/local/bin:/usr/bin:/bin", String::as_str);
        let mut places = std::env::split_paths(path).map(|folder| folder.join(&self.program));
        places.find(|place| place.is_file()).unwrap_or_else(|| self.program.clone().into())
    }
}

impl Order {
    /// What every process of the tree has in its environment.
    pub(super) fn mark(&self) -> (&'static str, &Path) {
        (super::MARK, &self.folder)
    }
}

impl Control {
    pub(super) fn line(self) -> String {
        serde_json::to_string(&self).expect("numbers always serialise")
    }
}

fn signal_name(signal: i32) -> Option<&'static str> {
    const NAMES: [(i32, &str); 15] = [
        (1, "HUP"),
        (2, "INT"),
        (3, "QUIT"),
        (4, "ILL"),
        (6, "ABRT"),
        (7, "BUS"),
        (8, "FPE"),
        (9, "KILL"),
        (11, "SEGV"),
        (13, "PIPE"),
        (14, "ALRM"),
        (15, "TERM"),
        (24, "XCPU"),
        (25, "XFSZ"),
        (31, "SYS"),
    ];
    NAMES.iter().find(|(number, _)| *number == signal).map(|(_, name)| *name)
}
