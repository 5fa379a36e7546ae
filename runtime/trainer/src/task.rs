//! The two files between the daemon and a trainer: what is to be done, and what came of it. JSON, versioned.

use crate::launch::open_beneath;
use nsfl_types::{Code, Metrics};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Version of both files.
const VERSION: u32 = 1;
/// What is read of a result that a program wrote which is not trusted.
const MAX_BYTES: u64 = 1 << 20;

/// What a trainer is asked to do. Relative paths are relative to its workspace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainerTask {
    /// Train, evaluate or initialise, with the weights files it takes.
    #[serde(flatten)]
    pub work: Work,
    /// Which trainer: `classifier` or `echo` of the builtin ones; for `torchscript` the module file.
    pub task_entry: String,
    /// The job's `parameters`.
    pub parameters: Map<String, Value>,
    /// The job's federated optimizer, for trainers that know some: `{"name": …}` and its settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optimizer: Option<Map<String, Value>>,
    /// Whether the task was granted a GPU.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gpu: bool,
    /// Decides everything random.
    pub seed: u64,
    /// Data sets the task may read: name to file or folder.
    pub datasets: BTreeMap<String, PathBuf>,
    /// Where the outcome goes.
    pub result: PathBuf,
}

/// The kind of work, and the safetensors files it needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "lowercase")]
pub enum Work {
    /// Trains the weights in `base` on the local data; the full local weights go to `out_weights`.
    Train {
        /// Global weights.
        base: PathBuf,
        /// Local weights, to be written.
        out_weights: PathBuf,
    },
    /// Measures the weights in `base` on the local test data.
    Evaluate {
        /// Global weights.
        base: PathBuf,
    },
    /// Writes initial weights; needs no data.
    Init {
        /// Weights, to be written.
        out_weights: PathBuf,
    },
}

/// What a trainer reports beside its weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainerResult {
    /// `sample_num`, `loss`, `accuracy`, `spend_time` and whatever else was measured.
    pub metrics: Metrics,
}

/// Why a trainer could not do its task, in its own words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainerFailure {
    /// The stable code.
    pub code: Code,
    /// A sentence for the user.
    pub reason: String,
}

/// A task or result file that could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{} could not be {action}", path.display())]
pub struct TaskFileError {
    path: PathBuf,
    action: &'static str,
    source: std::io::Error,
}

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    version: u32,
    #[serde(flatten)]
    content: T,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub(crate) enum Outcome {
    Done(TrainerResult),
    Failed(TrainerFailure),
}

impl TrainerTask {
    /// Reads a task file.
    ///
    /// # Errors
    /// A file that is not there, not a task, or of another version.
    pub fn read(path: &Path) -> Result<Self, TaskFileError> {
        read(path)
    }

    /// Writes a task file, whole or not at all.
    ///
    /// # Errors
    /// The disk's.
    pub fn write(&self, path: &Path) -> Result<(), TaskFileError> {
        write(path, self)
    }
}

impl Outcome {
    pub(crate) fn read(path: &Path) -> Result<Self, TaskFileError> {
        read(path)
    }

    /// The same of a folder whose owner is not trusted: the file is a plain one below it, and small.
    pub(crate) fn read_beneath(folder: &Path, name: &Path) -> Result<Self, TaskFileError> {
        let bytes = || {
            let mut bytes = Vec::new();
            open_beneath(folder, name)?.take(MAX_BYTES).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        parsed(&folder.join(name), bytes())
    }

    pub(crate) fn write(&self, path: &Path) -> Result<(), TaskFileError> {
        write(path, self)
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, TaskFileError> {
    parsed(path, std::fs::read(path))
}

fn parsed<T: DeserializeOwned>(path: &Path, bytes: std::io::Result<Vec<u8>>) -> Result<T, TaskFileError> {
    let invalid = |text: String| std::io::Error::new(std::io::ErrorKind::InvalidData, text);
    let parse = |bytes: Vec<u8>| match serde_json::from_slice::<Versioned<T>>(&bytes) {
        Ok(file) if file.version == VERSION => Ok(file.content),
        Ok(file) => Err(invalid(format!("it has version {}, this program knows {VERSION}", file.version))),
        Err(e) => Err(e.into()),
    };
    let failed = |source| TaskFileError { path: path.to_owned(), action: "read", source };
    bytes.and_then(parse).map_err(failed)
}

fn write<T: Serialize>(path: &Path, content: &T) -> Result<(), TaskFileError> {
    let partial = path.with_extension("partial");
    let bytes = serde_json::to_vec_pretty(&Versioned { version: VERSION, content });
    let bytes = bytes.expect("names, numbers and text always serialise");
    let failed = |source| TaskFileError { path: path.to_owned(), action: "written", source };
    std::fs::write(&partial, bytes).and_then(|()| std::fs::rename(&partial, path)).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: &str = include_str!("../tests/golden/task.v1.json");
    const DONE: &str = include_str!("../tests/golden/done.v1.json");
    const FAILED: &str = include_str!("../tests/golden/failed.v1.json");

    #[test]
    fn task_and_result_files_keep_their_form() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f.json");
        let task = TrainerTask {
            work: Work::Train { base: "base.safetensors".into(), out_weights: "weights.safetensors".into() },
            task_entry: "classifier".into(),
            parameters: serde_json::from_str(r#"{"features": 64, "classes": 10, "learning_rate": 0.1}"#).unwrap(),
            optimizer: None,
            gpu: false,
            seed: u64::MAX,
            datasets: [("digits".to_owned(), PathBuf::from("/data/digits"))].into(),
            result: "result.json".into(),
        };
        task.write(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap().trim(), TASK.trim());
        assert_eq!(TrainerTask::read(&path).unwrap(), task);

        let metrics = Metrics([("sample_num".to_owned(), 360.0), ("accuracy".to_owned(), 0.96)].into());
        Outcome::Done(TrainerResult { metrics }).write(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap().trim(), DONE.trim());
        Outcome::Failed(TrainerFailure { code: Code::BadDataset, reason: "no such file".into() }).write(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap().trim(), FAILED.trim());
        assert!(matches!(Outcome::read(&path).unwrap(), Outcome::Failed(f) if f.code == Code::BadDataset));
    }

    #[test]
    fn a_file_of_another_version_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f.json");
        std::fs::write(&path, TASK.replace("\"version\": 1", "\"version\": 2")).unwrap();
        let e = TrainerTask::read(&path).unwrap_err();
        assert_eq!(std::error::Error::source(&e).unwrap().to_string(), "it has version 2, this program knows 1");
    }
}
