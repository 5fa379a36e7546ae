//! The command line and the environment of a script's workers. It starts nothing.

use super::{Facts, Program};
use nsfl_types::{Code, Refusal, Runtime};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// What a script may see of the daemon's own environment.
const PASSED: [&str; 8] = ["PATH", "HOME", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "PYTHONPATH"];
const CUDA: &str = "CUDA_VISIBLE_DEVICES";

/// What is executed: an absolute program and its arguments.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CommandLine {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
}

impl CommandLine {
    /// `command entry [key value]…`, checked to be there.
    pub(crate) fn of(program: &Program, job: &Map<String, Value>, path: &str) -> Result<Self, Refusal> {
        let (folder, stage) = (&program.folder, &program.stage);
        let missing = |what: String| Refusal::new(Code::ScriptMissing, what);
        if !folder.is_dir() {
            return Err(missing(format!("script_path: there is no folder {}", folder.display())));
        }
        let mut words = stage.command.as_deref().unwrap_or_default().split_whitespace();
        let name = words.next().unwrap_or_default();
        let interpreter = resolve(name, folder, path)?;
        let mut args: Vec<String> = words.map(str::to_owned).collect();
        // after `-m` the entry is a module, not a file
        let is_file = args.last().is_none_or(|last| last != "-m");
        if is_file && !folder.join(&stage.entry).is_file() {
            return Err(missing(format!("entry: there is no file {}", folder.join(&stage.entry).display())));
        }
        args.push(stage.entry.clone());
        for (key, value) in program.parameters(job) {
            args.push(key);
            args.extend(word(value));
        }
        Ok(Self { program: interpreter, args })
    }
}

/// A string as it is, null as nothing, all else as JSON.
fn word(value: Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    }
}

/// Finds the interpreter: a path relative to the script's folder, or a name on `PATH`.
fn resolve(name: &str, folder: &Path, path: &str) -> Result<PathBuf, Refusal> {
    let refuse = |what: String| Err(Refusal::new(Code::ScriptCommand, what));
    let is_program = |file: &Path| {
        std::fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    if name.contains('/') {
        let file = folder.join(name);
        return match (file.is_file(), is_program(&file)) {
            (_, true) => Ok(file),
            (true, false) => refuse(format!("command: {} may not be executed", file.display())),
            (false, _) => refuse(format!("command: there is no {}", file.display())),
        };
    }
    match std::env::split_paths(path).map(|folder| folder.join(name)).find(|file| is_program(file)) {
        Some(file) => Ok(std::path::absolute(&file).unwrap_or(file)),
        None => refuse(format!("command: '{name}' is not installed on this client (PATH is {path})")),
    }
}

/// What is let through of the daemon's own environment: the usual, and what the site adds.
pub(crate) fn inherited(extra: &[String]) -> impl Iterator<Item = (String, String)> {
    let all = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
    all.filter(|(name, _)| passes(name, extra))
}

fn passes(name: &str, extra: &[String]) -> bool {
    PASSED.contains(&name) || name == CUDA || name.starts_with("LC_") || extra.iter().any(|e| e == name)
}

/// The environment of all workers, and what each has of its own.
#[derive(Debug)]
pub(crate) struct Environment {
    common: BTreeMap<String, String>,
    runtime: Runtime,
    /// One for each worker; the first is the master's.
    ports: Vec<u16>,
}

impl Environment {
    /// `inherited` is what is let through of the daemon's own.
    pub(crate) fn new(
        facts: &Facts,
        workspace: &Path,
        inherited: impl IntoIterator<Item = (String, String)>,
    ) -> std::io::Result<Self> {
        let mut common: BTreeMap<String, String> = inherited.into_iter().collect();
        let mut set = |name: &str, value: &str| {
            common.insert(name.to_owned(), value.to_owned());
        };
        set("TASK_WORKSPACE", &workspace.to_string_lossy());
        set("TASK_RUNTIME", facts.runtime.as_str());
        set("TASK_MODE", facts.mode);
        set("DATASETS", &workspace.join(super::folder::DATASETS).to_string_lossy());
        set("WORKER_NUM", &facts.worker_num.to_string());
        set("PYTHONUNBUFFERED", "1");
        if let Some(optimizer) = &facts.optimizer {
            let mut params = optimizer.clone();
            if let Some(Value::String(name)) = params.remove("name") {
                set("OPTIMIZER_NAME", &name);
                set("OPTIMIZER_PARAMS", &Value::Object(params).to_string());
            }
        }
        let ports = if facts.worker_num > 1 { free_ports(facts.worker_num)? } else { Vec::new() };
        Ok(Self { common, runtime: facts.runtime, ports })
    }

    /// The complete environment of one worker.
    pub(crate) fn of_worker(&self, index: u32) -> BTreeMap<String, String> {
        let mut all = self.common.clone();
        let mut set = |name: &str, value: String| {
            all.insert(name.to_owned(), value);
        };
        set("WORKER_INDEX", index.to_string());
        if let Some(master) = self.ports.first() {
            set("WORLD_SIZE", self.ports.len().to_string());
            set("RANK", index.to_string());
            set("LOCAL_RANK", index.to_string());
            set("MASTER_ADDR", "127.0.0.1".to_owned());
            set("MASTER_PORT", master.to_string());
            if self.runtime == Runtime::Tensorflow {
                let workers: Vec<String> = self.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
                let config = json!({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}});
                set("TF_CONFIG", config.to_string());
            }
        }
        all
    }

    /// What programs are looked for in.
    pub(crate) fn path(&self) -> String {
        self.common.get("PATH").cloned().unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".to_owned())
    }
}

/// Ports that were free just now, all different.
fn free_ports(n: u32) -> std::io::Result<Vec<u16>> {
    let held: Vec<TcpListener> =
        (0..n).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<std::io::Result<_>>()?;
    held.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::Stage;

    fn program(folder: &Path, command: &str, entry: &str) -> Program {
        let params = serde_json::from_str(r#"{"--epochs": 5, "--name": "x"}"#).unwrap();
        let stage = Stage { command: Some(command.into()), entry: entry.into(), params, timeout: None };
        Program { folder: folder.to_owned(), stage }
    }

    fn facts(runtime: Runtime, worker_num: u32) -> Facts {
        Facts {
            mode: "train",
            job: "default/j".into(),
            run: 1,
            round: 2,
            attempt: 1,
            client: "c1".into(),
            runtime,
            seed: 3,
            worker_num,
            optimizer: serde_json::from_str(r#"{"name": "fedprox", "mu": 0.6}"#).unwrap(),
        }
    }

    #[test]
    fn the_command_line_holds_the_jobs_parameters_over_the_configured_ones() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("train.py"), "").unwrap();
        let job =
            serde_json::from_str(r#"{"--name": "a b", "--quiet": null, "--lr": 0.5, "--sizes": [1, 2]}"#).unwrap();
        let line = CommandLine::of(&program(dir.path(), "sh -u", "train.py"), &job, "/nowhere:/bin").unwrap();
        assert_eq!(line.program, Path::new("/bin/sh"));
        let expected =
            ["-u", "train.py", "--epochs", "5", "--name", "a b", "--quiet", "--lr", "0.5", "--sizes", "[1,2]"];
        assert_eq!(line.args, expected);
        assert!(CommandLine::of(&program(dir.path(), "sh -m", "pkg.train"), &job, "/bin").is_ok());
    }

    #[test]
    fn what_is_not_there_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("train.py"), "").unwrap();
        let refusal = |folder: &Path, command, entry| {
            CommandLine::of(&program(folder, command, entry), &Map::new(), "/bin").unwrap_err()
        };
        let cases = [
            (refusal(&dir.path().join("no"), "sh", "train.py"), Code::ScriptMissing, "script_path: there is no folder"),
            (refusal(dir.path(), "sh", "other.py"), Code::ScriptMissing, "entry: there is no file"),
            (refusal(dir.path(), "python9", "train.py"), Code::ScriptCommand, "'python9' is not installed"),
            (refusal(dir.path(), "./venv/python", "train.py"), Code::ScriptCommand, "there is no"),
            (refusal(dir.path(), "./train.py", "train.py"), Code::ScriptCommand, "may not be executed"),
        ];
        for (refusal, code, reason) in cases {
            assert!(refusal.code == code && refusal.reason.contains(reason), "{refusal:?}");
        }
    }

    #[test]
    fn a_worker_sees_its_task_and_of_the_daemon_only_what_is_let_through() {
        let all = ["PATH", "LC_ALL", "NSFL_SECRET", "PROXY", "TOKEN"].into_iter();
        let inherited = all.filter(|name| passes(name, &["PROXY".into()])).map(|name| (name.into(), "v".into()));
        let environment = Environment::new(&facts(Runtime::Tensorflow, 2), Path::new("/w"), inherited).unwrap();
        let (first, second) = (environment.of_worker(0), environment.of_worker(1));
        let names: Vec<&str> = second.keys().map(String::as_str).collect();
        let expected = "DATASETS LC_ALL LOCAL_RANK MASTER_ADDR MASTER_PORT OPTIMIZER_NAME OPTIMIZER_PARAMS PATH PROXY PYTHONUNBUFFERED \
             RANK TASK_MODE TASK_RUNTIME TASK_WORKSPACE TF_CONFIG WORKER_INDEX WORKER_NUM WORLD_SIZE";
        assert_eq!(names.join(" "), expected);
        let value = |name: &str| second[name].as_str();
        assert_eq!((value("OPTIMIZER_NAME"), value("OPTIMIZER_PARAMS")), ("fedprox", r#"{"mu":0.6}"#));
        assert_eq!((value("RANK"), value("WORKER_INDEX"), value("WORLD_SIZE")), ("1", "1", "2"));
        assert_eq!((value("DATASETS"), value("TASK_RUNTIME")), ("/w/datasets.json", "tensorflow"));
        let config: Value = serde_json::from_str(value("TF_CONFIG")).unwrap();
        assert_eq!(config["task"]["index"], 1);
        assert_eq!(config["cluster"]["worker"][0], format!("127.0.0.1:{}", first["MASTER_PORT"]));
        assert_ne!(config["cluster"]["worker"][0], config["cluster"]["worker"][1]);

        let alone = Environment::new(&facts(Runtime::Pytorch, 1), Path::new("/w"), []).unwrap();
        let names = alone.of_worker(0);
        assert!(!["WORLD_SIZE", "TF_CONFIG", "PATH"].iter().any(|name| names.contains_key(*name)));
    }
}
