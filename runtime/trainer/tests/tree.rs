//! Nothing that a kept trainer has started outlives it: on cancel, on timeout, at its own end, when the daemon or the
//! keeper is killed. What is started here leaves its group and its session, loses its parent and clears its environment.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use nsfl_trainer::{Keeper, TrainerChild, TrainerCommand, TrainerError, TrainerTask, Work, kill_marked, spawn};
use nsfl_types::Code;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const LONG: Duration = Duration::from_secs(3600);
/// Names the folder to the test binary that is started again as the daemon.
const DAEMON: &str = "NSFL_TEST_DAEMON";

/// Holds the named pipe in a process that has escaped twice; then says so and never ends.
const FAMILY: &str = "exec > fifo; env -i setsid sh -c 'sh -c \"(setsid sleep 100000 &) ; echo ready; sleep 100000\" &'; \
                      sleep 100000";
/// The same, but the trainer itself ends.
const DESERTER: &str = "exec > fifo; env -i setsid sh -c '(setsid sleep 100000 &) ; echo ready'";

fn kept(script: &str) -> TrainerCommand {
    let keeper = Keeper { program: env!("CARGO_BIN_EXE_nsfl-trainer").into(), args: vec!["--keep".into()] };
    TrainerCommand { program: "/bin/sh".into(), args: vec!["-c".into(), script.into()], keeper: Some(keeper) }
}

fn task() -> TrainerTask {
    TrainerTask {
        work: Work::Init { out_weights: "base.safetensors".into() },
        task_entry: "echo".into(),
        parameters: serde_json::Map::new(),
        seed: 1,
        datasets: BTreeMap::new(),
        result: "result.json".into(),
    }
}

fn start(script: &str, dir: &TempDir, timeout: Duration) -> (TrainerChild, BufReader<File>) {
    fifo(dir.path());
    let child = spawn(&kept(script), dir.path(), &task(), timeout).unwrap();
    (child, await_ready(dir.path()))
}

/// A named pipe: its reader sees the end when the last process that holds the other side is gone.
fn fifo(dir: &Path) {
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, dir.join("fifo"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
}

fn await_ready(dir: &Path) -> BufReader<File> {
    let mut reader = BufReader::new(File::open(dir.join("fifo")).unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    reader
}

fn await_all_gone(mut reader: BufReader<File>) {
    reader.read_to_end(&mut Vec::new()).unwrap();
}

#[tokio::test]
async fn a_cancelled_task_takes_along_what_escaped_its_group() {
    let dir = tempfile::tempdir().unwrap();
    let (mut child, reader) = start(FAMILY, &dir, LONG);
    child.kill();
    let e = child.wait().await.unwrap_err();
    assert!(matches!(&e, TrainerError::Ended { how, .. } if how.starts_with("killed by signal 9")), "{e}");
    await_all_gone(reader);
}

#[tokio::test]
async fn a_tree_that_goes_on_forking_while_it_is_killed_comes_to_an_end() {
    const FORKING: &str = "exec > fifo; echo ready; i=0; while [ $i -lt 300 ]; do i=$((i+1)); setsid sleep 100000 & done; \
                           sleep 100000";
    let dir = tempfile::tempdir().unwrap();
    let (mut child, reader) = start(FORKING, &dir, LONG);
    child.kill();
    assert!(child.wait().await.is_err());
    await_all_gone(reader);
}

#[tokio::test]
async fn a_dropped_task_takes_along_what_escaped_its_group() {
    let dir = tempfile::tempdir().unwrap();
    let (child, reader) = start(FAMILY, &dir, LONG);
    drop(child);
    await_all_gone(reader);
}

#[tokio::test]
async fn a_task_whose_time_is_over_takes_along_what_escaped_its_group() {
    let dir = tempfile::tempdir().unwrap();
    let (mut child, reader) = start(FAMILY, &dir, Duration::from_millis(1));
    assert_eq!(child.wait().await.unwrap_err().code(), Code::TrainerTimeout);
    await_all_gone(reader);
}

#[tokio::test]
async fn a_task_is_over_when_all_it_has_started_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (mut child, reader) = start(DESERTER, &dir, LONG);
    let e = child.wait().await.unwrap_err();
    assert_eq!(e.to_string(), "the trainer ended without a result: exit code 0");
    await_all_gone(reader);
}

#[tokio::test]
async fn a_kept_trainer_ends_as_it_would_alone() {
    let dir = tempfile::tempdir().unwrap();
    for (script, how) in [
        ("echo boom >&2; exit 3", "exit code 3; its last words:\nboom"),
        ("kill -SEGV $$", "killed by signal 11"),
        ("read line; echo $? > stdin", "exit code 0"),
    ] {
        let mut child = spawn(&kept(script), dir.path(), &task(), LONG).unwrap();
        let said = child.wait().await.unwrap_err().to_string();
        assert_eq!(said, format!("the trainer ended without a result: {how}"), "{script}");
    }
    assert_eq!(std::fs::read_to_string(dir.path().join("stdin")).unwrap(), "1\n", "its standard input is empty");
    let nothing = TrainerCommand { program: "/nonexistent".into(), args: vec![], ..kept("") };
    let e = spawn(&nothing, dir.path(), &task(), LONG).unwrap().wait().await.unwrap_err();
    assert!(e.to_string().contains("'/nonexistent' could not be started: No such file"), "{e}");
}

/// The daemon is this test binary again, killed without a chance to do anything.
#[tokio::test]
async fn a_killed_daemon_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    fifo(dir.path());
    let mut daemon = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "daemon", "--nocapture"])
        .env(DAEMON, dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let reader = await_ready(dir.path());
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    await_all_gone(reader);
}

#[tokio::test]
async fn daemon() {
    let Some(dir) = std::env::var_os(DAEMON) else { return };
    let mut child = spawn(&kept(FAMILY), Path::new(&dir), &task(), LONG).unwrap();
    let _ = child.wait().await;
}

/// What the mark is for: a keeper that was killed can see to nothing.
#[tokio::test]
async fn what_a_killed_keeper_leaves_behind_is_found_by_its_mark() {
    const MARKED: &str = "exec > fifo; setsid sh -c '(setsid sleep 100000 &) ; echo ready; sleep 100000' & \
                          echo $PPID > keeper; sleep 100000";
    let dir = tempfile::tempdir().unwrap();
    let (mut child, reader) = start(MARKED, &dir, LONG);
    let keeper: i32 = loop {
        // written by the trainer, perhaps not yet
        if let Ok(pid) = std::fs::read_to_string(dir.path().join("keeper")).unwrap_or_default().trim().parse() {
            break pid;
        }
        tokio::task::yield_now().await;
    };
    let keeper = rustix::process::Pid::from_raw(keeper).unwrap();
    rustix::process::kill_process(keeper, rustix::process::Signal::KILL).unwrap();
    assert!(child.wait().await.is_err());
    await_all_gone(reader);
}

/// As a node does before it starts.
#[test]
fn a_mark_finds_what_was_left_by_an_earlier_life_and_nothing_else() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let start = |folder: &Path| {
        Command::new("sleep").arg("100000").env("NSFL_TASK_TREE", folder).stdin(Stdio::null()).spawn().unwrap()
    };
    let (mut ours, mut theirs) = (start(&dir.path().join("task")), start(other.path()));
    // exec has happened once its environment can be read
    while kill_marked(dir.path()) == 0 {}
    assert!(!ours.wait().unwrap().success());
    assert!(theirs.try_wait().unwrap().is_none());
    theirs.kill().unwrap();
    theirs.wait().unwrap();
}
