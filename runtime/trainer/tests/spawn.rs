//! A trainer as a process: it gives a result or a reason, and nothing of it outlives a kill, a timeout or the daemon.
#![allow(clippy::unwrap_used, reason = "a test")]

use nsfl_trainer::{TrainerChild, TrainerCommand, TrainerError, TrainerTask, Work, spawn};
use nsfl_types::Code;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const LONG: Duration = Duration::from_secs(3600);
const TRAINER: &str = env!("CARGO_BIN_EXE_nsfl-trainer");

fn builtin() -> TrainerCommand {
    TrainerCommand { program: TRAINER.into(), args: vec![] }
}

fn shell(script: &str) -> TrainerCommand {
    TrainerCommand { program: "/bin/sh".into(), args: vec!["-c".into(), script.into()] }
}

fn task(task_entry: &str, work: Work, parameters: &str) -> TrainerTask {
    TrainerTask {
        work,
        task_entry: task_entry.into(),
        parameters: serde_json::from_str(parameters).unwrap(),
        optimizer: None,
        gpu: false,
        seed: 1,
        datasets: [("digits".to_owned(), "digits.csv".into())].into(),
        result: "result.json".into(),
    }
}

fn init() -> TrainerTask {
    task("echo", Work::Init { out_weights: "base.safetensors".into() }, r#"{"size_mb": 0.001}"#)
}

fn start(command: &TrainerCommand, dir: &TempDir, task: &TrainerTask) -> TrainerChild {
    spawn(command, dir.path(), task, LONG).unwrap()
}

/// A named pipe: its reader sees the end when the last process that holds the other side is gone.
fn fifo(dir: &Path) -> std::path::PathBuf {
    let path = dir.join("fifo");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    path
}

/// Holds the pipe in the shell and in a grandchild, says so, and never ends.
const FAMILY: &str = "exec > fifo; sleep 100000 & echo ready; sleep 100000";

fn await_ready(fifo: &Path) -> BufReader<File> {
    let mut reader = BufReader::new(File::open(fifo).unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    reader
}

fn await_all_gone(mut reader: BufReader<File>) {
    reader.read_to_end(&mut Vec::new()).unwrap();
}

#[tokio::test]
async fn a_task_is_done_in_a_child_and_its_result_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    start(&builtin(), &dir, &init()).wait().await.unwrap();
    let work = Work::Train { base: "base.safetensors".into(), out_weights: "weights.safetensors".into() };
    let train = task("echo", work, r#"{"sample_num": 42, "size_mb": 0.001}"#);
    let result = start(&builtin(), &dir, &train).wait().await.unwrap();
    assert_eq!(result.metrics.get("sample_num"), Some(42.0));
    assert!(result.metrics.get("spend_time").is_some());
    assert!(dir.path().join("weights.safetensors").exists());
}

#[tokio::test]
async fn a_reason_given_by_the_trainer_keeps_its_code() {
    let dir = tempfile::tempdir().unwrap();
    let parameters = r#"{"features": 2, "classes": 2}"#;
    start(&builtin(), &dir, &task("classifier", Work::Init { out_weights: "b".into() }, parameters))
        .wait()
        .await
        .unwrap();
    let work = Work::Train { base: "b".into(), out_weights: "w".into() };
    let e = start(&builtin(), &dir, &task("classifier", work, parameters)).wait().await.unwrap_err();
    assert_eq!(e.code(), Code::BadDataset);
    assert_eq!(e.to_string(), "the trainer failed: digits.csv: cannot be read: No such file or directory (os error 2)");
}

#[tokio::test]
async fn an_end_without_a_result_is_told_with_exit_code_and_last_words() {
    let dir = tempfile::tempdir().unwrap();
    let e = start(&shell("echo boom >&2; exit 3"), &dir, &init()).wait().await.unwrap_err();
    assert_eq!(e.code(), Code::TrainerFailed);
    assert_eq!(e.to_string(), "the trainer ended without a result: exit code 3; its last words:\nboom");
    let e = start(&shell("kill -TERM $$"), &dir, &init()).wait().await.unwrap_err();
    assert_eq!(e.to_string(), "the trainer ended without a result: killed by signal 15");
}

#[tokio::test]
async fn the_result_of_an_earlier_try_does_not_pass_for_this_one() {
    let dir = tempfile::tempdir().unwrap();
    start(&builtin(), &dir, &init()).wait().await.unwrap();
    assert!(dir.path().join("result.json").exists());
    let e = start(&shell("exit 0"), &dir, &init()).wait().await.unwrap_err();
    assert_eq!(e.to_string(), "the trainer ended without a result: exit code 0");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_a_failed_start() {
    let dir = tempfile::tempdir().unwrap();
    let nothing = TrainerCommand { program: dir.path().join("nothing"), args: vec![] };
    assert_eq!(spawn(&nothing, dir.path(), &init(), LONG).unwrap_err().code(), Code::TrainerStart);
    let nowhere = dir.path().join("nowhere");
    assert_eq!(spawn(&builtin(), &nowhere, &init(), LONG).unwrap_err().code(), Code::TrainerStart);
}

#[tokio::test]
async fn a_kill_reaches_grandchildren() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = fifo(dir.path());
    let mut child = start(&shell(FAMILY), &dir, &init());
    let reader = await_ready(&fifo);
    child.kill();
    let e = child.wait().await.unwrap_err();
    assert!(matches!(&e, TrainerError::Ended { how, .. } if how.starts_with("killed by signal 9")), "{e}");
    await_all_gone(reader);
}

#[tokio::test]
async fn a_dropped_child_takes_its_grandchildren_along() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = fifo(dir.path());
    let child = start(&shell(FAMILY), &dir, &init());
    let reader = await_ready(&fifo);
    drop(child);
    await_all_gone(reader);
}

#[tokio::test]
async fn what_a_trainer_leaves_running_is_killed_when_it_ends() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = fifo(dir.path());
    let mut child = start(&shell("exec > fifo; sleep 100000 & echo ready"), &dir, &init());
    let reader = await_ready(&fifo);
    child.wait().await.unwrap_err();
    await_all_gone(reader);
}

#[tokio::test]
async fn a_trainer_that_takes_too_long_is_killed_with_all_it_started() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = fifo(dir.path());
    let mut child = spawn(&shell(FAMILY), dir.path(), &init(), Duration::from_millis(1)).unwrap();
    let reader = await_ready(&fifo);
    let e = child.wait().await.unwrap_err();
    assert_eq!(e.code(), Code::TrainerTimeout);
    await_all_gone(reader);
}

/// The daemon stands for whoever holds the other end of the child's standard input.
#[test]
fn a_builtin_trainer_dies_when_the_daemon_does() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("digits.csv"), "0,1,0\n1,0,1\n").unwrap();
    let parameters = r#"{"features": 2, "classes": 2, "epochs": 4000000000}"#;
    let run = |work: Work| {
        task("classifier", work, parameters).write(&dir.path().join("task.json")).unwrap();
        let mut command = Command::new(TRAINER);
        command.args(["--task", "task.json"]).current_dir(dir.path()).process_group(0);
        command.env("NSFL_TRAINER_TETHER", "stdin").stdin(Stdio::piped()).spawn().unwrap()
    };
    let mut init = run(Work::Init { out_weights: "b".into() });
    let tether = init.stdin.take();
    assert!(init.wait().unwrap().success());
    drop(tether);
    let mut endless = run(Work::Train { base: "b".into(), out_weights: "w".into() });
    drop(endless.stdin.take());
    assert_eq!(endless.wait().unwrap().signal(), Some(9));
}
