//! A task configuration: which script a task runs, and how. A JSON file at the client or in the package of a job.

use nsfl_types::{Code, Refusal, Runtime, TaskKind};
use serde::Deserialize;
use serde::de::Error as _;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Larger files are no configurations.
const MAX_BYTES: u64 = 1 << 20;

/// A task configuration as it is written.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    script_path: PathBuf,
    train: Option<Stage>,
    evaluate: Option<Stage>,
}

/// How one kind of task is run.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// The interpreter, with its own arguments; absent for `torchscript`.
    pub command: Option<String>,
    /// The script, or for `torchscript` the module.
    pub entry: String,
    /// Arguments that the job's parameters go over.
    #[serde(default)]
    pub params: Map<String, Value>,
    /// Longest time, in minutes.
    #[serde(default, deserialize_with = "minutes")]
    pub timeout: Option<Duration>,
}

/// What a task runs: a stage, and the folder it runs in.
#[derive(Debug, Clone, PartialEq)]
pub struct Program {
    /// The working directory, an absolute path.
    pub folder: PathBuf,
    /// What is run.
    pub stage: Stage,
}

impl Program {
    /// Reads the configuration file and picks what this kind of task needs.
    ///
    /// # Errors
    /// A file that is missing, unreadable or not such a configuration; a kind of task it does not describe.
    pub fn read(file: &Path, kind: TaskKind, runtime: Runtime) -> Result<Self, Refusal> {
        let place = || format!("the task configuration {}", file.display());
        let missing = |e: &dyn std::fmt::Display| Refusal::new(Code::ScriptMissing, format!("{}: {e}", place()));
        let bad = |what: String| Refusal::new(Code::BadDocument, format!("{}: {what}", place()));
        let length = std::fs::metadata(file).map_err(|e| missing(&e))?.len();
        if length > MAX_BYTES {
            return Err(bad(format!("it has {length} bytes, at most {MAX_BYTES} are read")));
        }
        let bytes = std::fs::read(file).map_err(|e| missing(&e))?;
        let mut json = serde_json::Deserializer::from_slice(&bytes);
        let document: Document = serde_path_to_error::deserialize(&mut json).map_err(|e| {
            let path = e.path().to_string();
            let field = if path == "." { String::new() } else { format!("{path}: ") };
            bad(format!("{field}{}", e.into_inner()))
        })?;
        json.end().map_err(|e| bad(e.to_string()))?;
        let (name, stage) = match kind {
            TaskKind::Train => ("train", document.train),
            TaskKind::Evaluate => ("evaluate", document.evaluate),
        };
        let stage = stage.ok_or_else(|| bad(format!("{name}: is missing, and the job asks for it")))?;
        if stage.entry.is_empty() {
            return Err(bad(format!("{name}.entry: is empty: a file name is expected")));
        }
        match (&stage.command, runtime) {
            (Some(_), Runtime::Torchscript) => {
                return Err(bad(format!("{name}.command: runtime torchscript takes none: entry names the module")));
            }
            (None, Runtime::Pytorch | Runtime::Tensorflow) => {
                return Err(bad(format!("{name}.command: is missing: the interpreter, such as python3, is expected")));
            }
            (Some(command), _) if command.split_whitespace().next().is_none() => {
                return Err(bad(format!("{name}.command: is empty")));
            }
            _ => {}
        }
        let beside = file.parent().unwrap_or(Path::new(""));
        let folder = std::path::absolute(beside.join(&document.script_path)).unwrap_or(document.script_path);
        Ok(Self { folder, stage })
    }

    /// The stage's params with the job's parameters over them.
    #[must_use]
    pub fn parameters(&self, job: &Map<String, Value>) -> Map<String, Value> {
        let mut all = self.stage.params.clone();
        all.extend(job.iter().map(|(key, value)| (key.clone(), value.clone())));
        all
    }
}

fn minutes<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
    const YEAR: f64 = 366.0 * 24.0 * 60.0;
    match Option::<f64>::deserialize(d)? {
        None => Ok(None),
        Some(minutes) if minutes > 0.0 && minutes <= YEAR => Ok(Some(Duration::from_secs_f64(minutes * 60.0))),
        Some(minutes) => Err(D::Error::custom(format!("{minutes} is not above 0 minutes and at most a year"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, runtime: Runtime) -> Result<Program, Refusal> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("task.json");
        std::fs::write(&file, text).unwrap();
        let program = Program::read(&file, TaskKind::Train, runtime);
        program.map(|p| Program { folder: p.folder.strip_prefix(dir.path()).unwrap_or(&p.folder).to_owned(), ..p })
    }

    #[test]
    fn a_configuration_gives_folder_command_and_parameters() {
        let text = r#"{"script_path": "scripts", "evaluate": null, "train":
            {"command": "python3 -u", "entry": "train.py", "params": {"--epochs": 5, "--lr": 0.1}, "timeout": 1.5}}"#;
        let program = read(text, Runtime::Pytorch).unwrap();
        assert_eq!(program.folder, Path::new("scripts"));
        assert_eq!(program.stage.timeout, Some(Duration::from_secs(90)));
        let job = serde_json::from_str(r#"{"--lr": 0.5, "--quiet": null}"#).unwrap();
        let all = serde_json::to_string(&program.parameters(&job)).unwrap();
        assert_eq!(all, r#"{"--epochs":5,"--lr":0.5,"--quiet":null}"#);
        let evaluate = r#"{"script_path": "/opt/scripts", "train": {"entry": "model.pt"}}"#;
        assert_eq!(read(evaluate, Runtime::Torchscript).unwrap().folder, Path::new("/opt/scripts"));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_field() {
        let cases = [
            (r#"{"script_path": ".", "train": {"command": "python3", "entri": "x"}}"#, "train.entri: unknown field"),
            (r#"{"script_path": ".", "train": {"command": 3, "entry": "x"}}"#, "train.command: invalid type"),
            (r#"{"train": {"command": "python3", "entry": "x"}}"#, "missing field `script_path`"),
            (r#"{"script_path": "."}"#, "train: is missing"),
            (r#"{"script_path": ".", "train": {"entry": "x"}}"#, "train.command: is missing"),
            (r#"{"script_path": ".", "train": {"command": " ", "entry": "x"}}"#, "train.command: is empty"),
            (r#"{"script_path": ".", "train": {"command": "a", "entry": ""}}"#, "train.entry: is empty"),
            (
                r#"{"script_path": ".", "train": {"command": "a", "entry": "x", "timeout": 0}}"#,
                "train.timeout: 0 is not",
            ),
            (r#"{"script_path": "."} x"#, "trailing characters"),
            ("python", "expected value at line 1"),
        ];
        for (text, expected) in cases {
            let refusal = read(text, Runtime::Pytorch).unwrap_err();
            assert_eq!(refusal.code, Code::BadDocument);
            assert!(refusal.reason.contains("task.json: ") && refusal.reason.contains(expected), "{}", refusal.reason);
        }
        let command = r#"{"script_path": ".", "train": {"command": "python3", "entry": "x"}}"#;
        assert!(read(command, Runtime::Torchscript).unwrap_err().reason.contains("takes none"));
        let missing = Program::read(Path::new("/nowhere/task.json"), TaskKind::Train, Runtime::Pytorch).unwrap_err();
        assert_eq!(missing.code, Code::ScriptMissing);
        assert!(missing.reason.contains("/nowhere/task.json: No such file"), "{}", missing.reason);
    }
}
