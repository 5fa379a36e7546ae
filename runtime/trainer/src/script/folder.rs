//! The folder of a script's task: what the daemon puts in before, and what it takes out after. The script may have put
//! anything there: what is read is a plain file of bounded size, never what a link points to.

use super::progress::Progress;
use crate::launch::open_beneath;
use nsfl_types::{Code, Metrics, Refusal, Runtime};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// The data set map, and env `DATASETS`.
pub(crate) const DATASETS: &str = "datasets.json";
const TASK: &str = "task.json";
const VERSION: u32 = 1;
const MAX_JSON: u64 = 1 << 20;
const MAX_METRICS: usize = 1000;

/// What a script can learn of its task.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Facts {
    /// `train` or `evaluate`.
    pub mode: &'static str,
    /// Namespace and id.
    pub job: String,
    /// n-th start of the job.
    pub run: u32,
    /// Round number.
    pub round: u32,
    /// Try of the round.
    pub attempt: u32,
    /// This client.
    pub client: String,
    /// Its framework.
    pub runtime: Runtime,
    /// Decides everything random.
    pub seed: u64,
    /// Number of workers, from 1.
    pub worker_num: u32,
    /// The job's federated optimizer: its name and settings.
    pub optimizer: Option<Map<String, Value>>,
}

/// The folder of one task.
#[derive(Debug, Clone)]
pub struct TaskFolder(PathBuf);

impl TaskFolder {
    /// The local weights, from the folder.
    pub const WEIGHTS: &str = "out/weights.safetensors";

    /// At this absolute path.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// The folder itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Global weights, put there by the daemon.
    #[must_use]
    pub fn base(&self) -> PathBuf {
        self.0.join("base.safetensors")
    }

    /// What the extender broadcast, unpacked.
    #[must_use]
    pub fn inputs(&self) -> PathBuf {
        self.0.join("in")
    }

    /// What was kept from earlier rounds.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.0.join("state")
    }

    /// What is to be kept for later rounds.
    #[must_use]
    pub fn new_state(&self) -> PathBuf {
        self.0.join("out/state")
    }

    /// Where the output of its workers goes.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.0.join("log")
    }

    /// A worker's output, from the folder.
    pub(crate) fn log_of(worker: u32) -> PathBuf {
        format!("log/worker-{worker}.log").into()
    }

    /// Makes the folder and describes the task in it.
    pub(crate) fn prepare(&self, facts: &Facts, datasets: &BTreeMap<String, PathBuf>) -> io::Result<()> {
        #[derive(Serialize)]
        struct File<'a> {
            version: u32,
            #[serde(flatten)]
            facts: &'a Facts,
        }
        for folder in ["in", "state", "out/files", "out/state", "log"] {
            std::fs::create_dir_all(self.0.join(folder))?;
        }
        let task = serde_json::to_vec_pretty(&File { version: VERSION, facts })?;
        std::fs::write(self.0.join(TASK), task)?;
        std::fs::write(self.0.join(DATASETS), serde_json::to_vec_pretty(datasets)?)
    }

    /// What the script says went wrong.
    pub(crate) fn error(&self) -> Option<ScriptError> {
        let text = self.json("out/error.json").ok()??;
        Some(serde_json::from_str(&text).unwrap_or_else(|_| ScriptError {
            code: Code::ScriptException.as_str().to_owned(),
            reason: "the script failed, and its error.json cannot be read".to_owned(),
            traceback: None,
        }))
    }

    /// The newest progress that can be read.
    pub(crate) fn progress(&self) -> Option<Progress> {
        Progress::parse(&self.json("out/progress.json").ok()??)
    }

    /// The committed metrics; `None` when there are none.
    pub(crate) fn metrics(&self) -> Result<Option<Metrics>, Refusal> {
        let bad = |what: String| Refusal::new(Code::BadUpdate, format!("the committed metrics: {what}"));
        let Some(text) = self.json("out/metrics.json").map_err(|e| bad(e.to_string()))? else { return Ok(None) };
        let metrics: BTreeMap<String, f64> = serde_json::from_str(&text).map_err(|e| {
            // Python writes these words where JSON has none; a number out of range is one too
            let is_number = ["NaN", "Infinity"].iter().any(|word| text.contains(word))
                || e.to_string().contains("number out of range");
            match is_number {
                true => Refusal::new(Code::NotFinite, "the committed metrics hold NaN or infinity"),
                false => bad(format!("a map from name to number is expected: {e}")),
            }
        })?;
        if metrics.len() > MAX_METRICS {
            return Err(bad(format!("there are {}, at most {MAX_METRICS} are taken", metrics.len())));
        }
        Ok(Some(Metrics(metrics)))
    }

    /// What the script put for the job's extender, as names in a zip and files; empty when it put nothing.
    ///
    /// # Errors
    /// `bad-package`: something that is no plain file; `package-too-large`: more than `max_bytes` in all.
    pub fn extra(&self, max_bytes: u64) -> Result<Vec<(String, File)>, Refusal> {
        let bad = |what: String| Refusal::new(Code::BadPackage, format!("what the script put for the server: {what}"));
        let out = self.0.join("out");
        let mut found = vec!["parameters.json".to_owned()];
        match std::fs::read_dir(out.join("files")) {
            Ok(files) => {
                for file in files {
                    let file = file.map_err(|e| bad(e.to_string()))?;
                    let name = file.file_name().into_string().map_err(|name| bad(format!("{name:?} is no UTF-8")))?;
                    found.push(format!("files/{name}"));
                }
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(bad(e.to_string())),
        }
        found.sort();
        let mut total = 0;
        let mut items = Vec::new();
        for name in found {
            let Some((file, length)) = open(&out, Path::new(&name)).map_err(|e| bad(format!("{name}: {e}")))? else {
                continue;
            };
            total += length;
            if total > max_bytes {
                let large = format!("what the script put for the server: it is more than {max_bytes} bytes");
                return Err(Refusal::new(Code::PackageTooLarge, large));
            }
            items.push((name, file));
        }
        Ok(items)
    }

    fn json(&self, name: &str) -> io::Result<Option<String>> {
        let Some((mut file, length)) = open(&self.0, Path::new(name))? else { return Ok(None) };
        if length > MAX_JSON {
            return Err(io::Error::other(format!("{name} has {length} bytes, at most {MAX_JSON} are read")));
        }
        let mut text = String::new();
        file.by_ref().take(MAX_JSON).read_to_string(&mut text)?;
        Ok(Some(text))
    }
}

/// A plain file below a folder of the script's, with its length; `None` when there is none.
///
/// # Errors
/// It is something else, or the disk's own errors.
pub fn open(folder: &Path, name: &Path) -> io::Result<Option<(File, u64)>> {
    match open_beneath(folder, name) {
        Ok(file) => {
            let length = file.metadata()?.len();
            Ok(Some((file, length)))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(io::Error::new(e.kind(), format!("it is no plain file ({e})"))),
    }
}

/// `out/error.json`.
#[derive(Debug, PartialEq, Deserialize)]
pub(crate) struct ScriptError {
    pub(crate) code: String,
    pub(crate) reason: String,
    #[serde(default)]
    pub(crate) traceback: Option<String>,
}

impl ScriptError {
    /// The code it names, if a script may name it.
    pub(crate) fn code(&self) -> Code {
        const OWN: [Code; 12] = [
            Code::ScriptException,
            Code::ScriptSyntax,
            Code::ScriptExit,
            Code::ScriptMemory,
            Code::ScriptMissing,
            Code::CommitMissing,
            Code::CommitTwice,
            Code::NotFinite,
            Code::WrongNames,
            Code::WrongShape,
            Code::BadUpdate,
            Code::BadDataset,
        ];
        OWN.into_iter().find(|code| code.as_str() == self.code).unwrap_or(Code::ScriptException)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, TaskFolder) {
        let dir = tempfile::tempdir().unwrap();
        let folder = TaskFolder::at(dir.path());
        let facts = Facts {
            mode: "train",
            job: "default/digits".into(),
            run: 1,
            round: 3,
            attempt: 1,
            client: "site-a".into(),
            runtime: Runtime::Pytorch,
            seed: 123,
            worker_num: 1,
            optimizer: None,
        };
        folder.prepare(&facts, &[("digits".to_owned(), PathBuf::from("/data/digits"))].into()).unwrap();
        (dir, folder)
    }

    #[test]
    fn the_task_file_is_the_golden_one() {
        let (dir, _) = folder();
        let golden = include_str!("../../tests/golden/script-task.v1.json");
        assert_eq!(std::fs::read_to_string(dir.path().join("task.json")).unwrap().trim(), golden.trim());
        let datasets = std::fs::read_to_string(dir.path().join("datasets.json")).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&datasets).unwrap(), serde_json::json!({"digits": "/data/digits"}));
    }

    #[test]
    fn metrics_are_a_flat_map_of_finite_numbers() {
        let (dir, folder) = folder();
        let metrics = |text: &str| {
            std::fs::write(dir.path().join("out/metrics.json"), text).unwrap();
            folder.metrics()
        };
        assert_eq!(folder.metrics(), Ok(None));
        let good = metrics(r#"{"sample_num": 30, "loss": 0.5}"#).unwrap().unwrap();
        assert_eq!((good.weight(), good.get("loss")), (30.0, Some(0.5)));
        for bad in [r#"{"loss": NaN}"#, r#"{"loss": -Infinity}"#, r#"{"loss": 1e999}"#] {
            assert_eq!(metrics(bad).unwrap_err().code, Code::NotFinite, "{bad}");
        }
        for bad in ["[1]", r#"{"loss": "low"}"#, r#"{"a": {"b": 1}}"#, "", r#"{"loss": 1"#] {
            assert_eq!(metrics(bad).unwrap_err().code, Code::BadUpdate, "{bad}");
        }
    }

    #[test]
    fn links_fifos_and_folders_are_not_read() {
        let (dir, folder) = folder();
        let path = dir.path().join("out/metrics.json");
        std::fs::write(dir.path().join("secret"), r#"{"a": 1}"#).unwrap();
        std::os::unix::fs::symlink(dir.path().join("secret"), &path).unwrap();
        let reason = folder.metrics().unwrap_err().reason;
        assert!(reason.starts_with("the committed metrics: it is no plain file"), "{reason}");
        std::fs::remove_file(&path).unwrap();
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert_eq!(folder.metrics().unwrap_err().code, Code::BadUpdate, "and it does not wait for a writer");
        std::fs::create_dir(dir.path().join("out/files/nested")).unwrap();
        assert_eq!(folder.extra(100).unwrap_err().code, Code::BadPackage);
    }

    #[test]
    fn what_was_put_is_listed_in_order_and_bounded() {
        let (dir, folder) = folder();
        assert_eq!(folder.extra(100).unwrap().len(), 0);
        for (name, content) in [("files/b", "12345"), ("files/a", "1"), ("parameters.json", "{}")] {
            std::fs::write(dir.path().join("out").join(name), content).unwrap();
        }
        let names: Vec<String> = folder.extra(8).unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["files/a", "files/b", "parameters.json"]);
        assert_eq!(folder.extra(7).unwrap_err().code, Code::PackageTooLarge);
    }

    #[test]
    fn progress_is_bounded_and_one_that_cannot_be_read_is_none() {
        let (dir, folder) = folder();
        let progress = |text: &str| {
            std::fs::write(dir.path().join("out/progress.json"), text).unwrap();
            folder.progress()
        };
        let read = progress(r#"{"done": 7, "message": null, "metrics": {"loss": 0.25}}"#).unwrap();
        assert_eq!((read.done, read.message.as_str(), read.metrics.get("loss")), (Some(1.0), "", Some(0.25)));
        assert_eq!(progress(r#"{"done": "#), None);
        let long = progress(&format!(r#"{{"message": "{}"}}"#, "ü".repeat(9999))).unwrap();
        assert_eq!(long.message.chars().count(), 500);
    }

    #[test]
    fn a_code_that_a_script_may_not_name_is_an_exception() {
        let code = |text: &str| ScriptError { code: text.into(), reason: String::new(), traceback: None }.code();
        assert_eq!(code("commit-twice"), Code::CommitTwice);
        assert_eq!(code("policy"), Code::ScriptException);
    }
}
