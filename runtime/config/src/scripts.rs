//! `[scripts]` and `[runtime]` of a client: how tasks with scripts run, and what they may fill. No task is described here.

use crate::checked::{Check, constant};
use crate::{Count, Millis};
use serde::{Deserialize, Serialize};

/// `[scripts]`: tasks that run a script.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scripts {
    /// What a task's folder may grow by. Default 10000 MB.
    pub quota_mb: Count,
    /// Output kept of each worker, the last of it. Default 10 MB.
    pub log_mb: Count,
    /// Tasks whose output is kept. Default 100.
    pub log_files: Count,
    /// Largest package of scripts. Default 64 MB.
    pub package_mb: Count,
    /// What a package may unpack to. Default 256 MB.
    pub unpacked_mb: Count,
    /// What a script may put for the job's extender. Default 64 MB.
    pub extra_mb: Count,
    /// The largest file a script may write. Default 10000 MB.
    pub file_mb: Count,
    /// Processes and threads of one task. Default 4096.
    pub processes: Count,
    /// Open files of one process. Default 65536, or what the daemon itself may open.
    pub open_files: Count,
    /// Processor seconds of one task; 0: no limit but its time. Default 0.
    pub cpu_seconds: u32,
    /// A task that asks for more than `[resource]` has in all gets that, in place of being refused. Default false.
    pub cap_resources: bool,
    /// From the request to end until it is killed. Default 5 s.
    pub grace_ms: Millis,
    /// What a script keeps between rounds is removed when unused for so long. Default 30 days.
    pub state_days: Count,
    /// Variables of this process's environment that scripts may see beside the usual ones. Default none.
    #[serde(deserialize_with = "names")]
    pub environment: Vec<String>,
}

impl Default for Scripts {
    fn default() -> Self {
        Self {
            quota_mb: constant!(Count, 10_000),
            log_mb: constant!(Count, 10),
            log_files: constant!(Count, 100),
            package_mb: constant!(Count, 64),
            unpacked_mb: constant!(Count, 256),
            extra_mb: constant!(Count, 64),
            file_mb: constant!(Count, 10_000),
            processes: constant!(Count, 4_096),
            open_files: constant!(Count, 65_536),
            cpu_seconds: 0,
            cap_resources: false,
            grace_ms: constant!(Millis, 5_000),
            state_days: constant!(Count, 30),
            environment: Vec::new(),
        }
    }
}

impl Check for Scripts {
    fn check(&self) -> Result<(), String> {
        // the task's own deadline allows for no more
        const MAX_GRACE_MS: u64 = 20_000;
        match self.grace_ms.get() {
            ..=MAX_GRACE_MS => Ok(()),
            ms => Err(format!("grace_ms ({ms}) must not be above {MAX_GRACE_MS}")),
        }
    }
}

/// `[runtime]`: trainers that are programs of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Runtimes {
    /// What does the tasks of runtime `torchscript`.
    pub torchscript: TrainerProgram,
}

/// A trainer's program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainerProgram {
    /// Program and arguments; a name without `/` is looked for beside this program and on `PATH`. Default
    /// `["nsfl-trainer-torch"]`.
    #[serde(deserialize_with = "words")]
    pub command: Vec<String>,
}

impl Default for TrainerProgram {
    fn default() -> Self {
        Self { command: vec!["nsfl-trainer-torch".to_owned()] }
    }
}

fn words<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Vec<String>, D::Error> {
    let words = Vec::<String>::deserialize(d)?;
    match words.first() {
        Some(program) if !program.is_empty() => Ok(words),
        _ => Err(serde::de::Error::custom("is empty: a program and its arguments are expected")),
    }
}

/// Names of environment variables, none twice, possibly none.
fn names<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Vec<String>, D::Error> {
    let names = Vec::<String>::deserialize(d)?;
    match names.iter().find(|name| name.is_empty() || name.contains(['=', '\0'])) {
        Some(name) => Err(serde::de::Error::custom(format!("'{name}' is no name of a variable"))),
        None => Ok(names),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grace_longer_than_a_task_waits_for_is_refused() {
        let scripts = |ms| Scripts { grace_ms: Millis::new(ms).unwrap(), ..Scripts::default() };
        assert_eq!(scripts(20_000).check(), Ok(()));
        assert_eq!(scripts(20_001).check(), Err("grace_ms (20001) must not be above 20000".to_owned()));
    }
}
