//! What tests of launched processes share: a task's folder, shell scripts as workers, pipes that tell when all is gone.
#![allow(dead_code, unreachable_pub, reason = "each test program uses its part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use nsfl_trainer::launch::{Cgroups, Ending, LaunchSpec, Launcher, Limits, Worker, log_tail};
use rustix::process::Pid;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

pub const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

pub struct Scene {
    dir: tempfile::TempDir,
    folder: PathBuf,
    pub cgroups: Option<Cgroups>,
}

impl Scene {
    /// Without control groups, so that the plain mechanisms are what is tested.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("task");
        std::fs::create_dir(&folder).unwrap();
        Self { dir, folder, cgroups: None }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Outside of the task's folder.
    pub fn outside(&self) -> &Path {
        self.dir.path()
    }

    pub fn launcher(&self) -> Launcher {
        let program = env!("CARGO_BIN_EXE_nsfl-trainer").into();
        Launcher { program, args: vec!["--warden".into()], cgroups: self.cgroups.clone() }
    }

    /// A worker a script.
    pub fn spec(&self, scripts: &[&str]) -> LaunchSpec {
        LaunchSpec {
            workers: scripts.iter().enumerate().map(|(index, script)| shell(script, self, index)).collect(),
            cwd: self.folder.clone(),
            folder: self.folder.clone(),
            limits: Limits::default(),
            sandbox: None,
        }
    }

    pub async fn run(&self, spec: LaunchSpec) -> Ending {
        self.launcher().launch(spec).unwrap().wait().await.unwrap()
    }

    pub fn log(&self, worker: usize) -> String {
        log_tail(&self.folder, &PathBuf::from(format!("log/worker-{worker}.log")), 1 << 20)
    }

    /// The warden of this scene's task.
    pub fn warden(&self) -> Pid {
        let mark = format!("NSFL_TASK_TREE={}", self.folder.display());
        let ours = children(rustix::process::getpid()).into_iter().find(|pid| {
            let environment = std::fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes())
        });
        ours.unwrap()
    }
}

pub fn shell(script: &str, scene: &Scene, index: usize) -> Worker {
    Worker {
        program: "sh".into(),
        args: vec!["-c".into(), script.into()],
        env: [("PATH".to_owned(), PATH.to_owned())].into(),
        output: scene.folder.join(format!("log/worker-{index}.log")),
    }
}

pub fn only_child(pid: Pid) -> Pid {
    let children = children(pid);
    assert_eq!(children.len(), 1);
    children[0]
}

fn children(pid: Pid) -> Vec<Pid> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero())).unwrap();
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("children")).ok());
    let pids: Vec<String> = lists.flat_map(|list| list.split(' ').map(str::to_owned).collect::<Vec<_>>()).collect();
    pids.iter().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
}

/// A named pipe: its reader sees the end when the last process that holds the other side is gone.
pub fn fifo(dir: &Path) -> PathBuf {
    let path = dir.join("fifo");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    path
}

pub fn await_ready(fifo: &Path) -> BufReader<File> {
    let mut reader = BufReader::new(File::open(fifo).unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    reader
}

pub fn await_all_gone(mut reader: BufReader<File>) {
    reader.read_to_end(&mut Vec::new()).unwrap();
}
