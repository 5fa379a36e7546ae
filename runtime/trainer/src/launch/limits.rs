//! What a task may use, and which of it was used up.

use nsfl_types::Code;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What the processes of one task may use together, unless said otherwise. `None`: as much as there is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory in bytes. By a control group where there is one; else the tree's memory is looked at many times a second.
    pub memory: Option<u64>,
    /// Processor cores. Only by a control group.
    pub cpu: Option<f64>,
    /// Processor time in seconds.
    pub cpu_seconds: Option<u64>,
    /// The largest file, in bytes: each process.
    pub file: Option<u64>,
    /// What the task's folder may grow by, in bytes.
    pub folder: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u64>,
    /// Open files: each process.
    pub open_files: Option<u64>,
    /// What is kept of a worker's output, in bytes: the last of it.
    pub output: u64,
    /// Memory that a process may reserve is not bounded: drivers of GPUs reserve far more than there is.
    pub gpu: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: None,
            cpu: None,
            cpu_seconds: None,
            file: None,
            folder: None,
            processes: None,
            open_files: None,
            output: 16 << 20,
            gpu: false,
        }
    }
}

/// A limit that a task ran into, with its height.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Bytes of memory.
    Memory(u64),
    /// Seconds of processor time.
    CpuTime(u64),
    /// Bytes of one file.
    FileSize(u64),
    /// Bytes that the task's folder grew by.
    Folder(u64),
    /// Processes and threads.
    Processes(u64),
}

impl Limit {
    /// The code of a task that ran into it.
    #[must_use]
    pub fn code(self) -> Code {
        match self {
            Self::Memory(_) => Code::ScriptMemory,
            Self::CpuTime(_) => Code::ScriptCpu,
            Self::FileSize(_) | Self::Folder(_) => Code::ScriptDisk,
            Self::Processes(_) => Code::ScriptSignal,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(bytes) => write!(f, "memory {}", megabytes(*bytes)),
            Self::CpuTime(seconds) => write!(f, "processor time {seconds} s"),
            Self::FileSize(bytes) => write!(f, "file size {}", megabytes(*bytes)),
            Self::Folder(bytes) => write!(f, "disk {}", megabytes(*bytes)),
            Self::Processes(number) => write!(f, "{number} processes and threads"),
        }
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{} MB", (bytes as f64 / 1e5).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_told_in_megabytes_as_jobs_ask_for_them() {
        assert_eq!(Limit::Memory(512_000_000).to_string(), "memory 512 MB");
        assert_eq!(Limit::FileSize(1_550_000).to_string(), "file size 1.6 MB");
        assert_eq!(Limit::Folder(1_000_000).code(), Code::ScriptDisk);
    }
}
