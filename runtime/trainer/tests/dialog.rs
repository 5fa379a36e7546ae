//! A program in conversation, with a real shell: answers, an end, silence, and children that outlive nothing.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use nsfl_trainer::{Dialog, DialogError};
use serde_json::json;
use std::path::Path;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

fn shell(script: &str, folder: &Path, timeout: Duration) -> Dialog {
    Dialog::start(&"sh".into(), &["-c".into(), script.into()], folder, timeout).unwrap()
}

#[tokio::test]
async fn each_question_has_its_answer() {
    let folder = tempfile::tempdir().unwrap();
    let mut echo = shell(r#"while read -r line; do echo "{\"got\":$line}"; done"#, folder.path(), MINUTE);
    for n in 0..3 {
        assert_eq!(echo.ask(&json!({"n": n})).await.unwrap(), json!({"got": {"n": n}}));
    }
}

#[tokio::test]
async fn one_that_ends_is_told_with_its_exit_code_and_last_words() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = shell("read -r line; echo 'no more' >&2; exit 3", folder.path(), MINUTE);
    let error = child.ask(&json!(1)).await.unwrap_err();
    assert!(matches!(&error, DialogError::Ended { how } if how == "exit code 3"), "{error}");
    assert_eq!(child.last_words(100), "no more");
    assert_eq!(child.last_words(5), "more");
}

#[tokio::test]
async fn one_that_is_silent_is_killed_with_all_it_has_started() {
    let folder = tempfile::tempdir().unwrap();
    let script = "sleep 1000 & echo $! > pid; echo 1; wait";
    let mut child = shell(script, folder.path(), Duration::from_secs(1));
    assert_eq!(child.ask(&json!(1)).await.unwrap(), json!(1), "the sleeper is there");
    let error = child.ask(&json!(2)).await.unwrap_err();
    assert!(matches!(error, DialogError::Timeout { .. }), "{error}");
    let pid = std::fs::read_to_string(folder.path().join("pid")).unwrap();
    let status = format!("/proc/{}/status", pid.trim());
    // killed: its end takes a moment, and then nobody has to reap it in a container
    for _ in 0..1000 {
        match std::fs::read_to_string(&status) {
            Ok(text) if !text.contains("State:\tZ") => tokio::time::sleep(Duration::from_millis(10)).await,
            _ => return,
        }
    }
    panic!("process {pid} lives");
}

#[tokio::test]
async fn what_is_no_answer_is_refused_and_what_cannot_start_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = shell("read -r line; echo hello", folder.path(), MINUTE);
    assert!(matches!(child.ask(&json!(1)).await, Err(DialogError::BadAnswer(_))));
    let error = Dialog::start(&"/nonexistent".into(), &[], folder.path(), MINUTE).unwrap_err();
    assert!(error.to_string().contains("/nonexistent"), "{error}");
}
