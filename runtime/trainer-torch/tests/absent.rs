//! A build without libtorch says how to get one, as a task's failure that the daemon passes on.
#![cfg(not(feature = "torch"))]
#![allow(clippy::unwrap_used, reason = "a test")]

use nsfl_trainer::{TrainerCommand, TrainerTask, Work, spawn};
use nsfl_types::Code;
use std::time::Duration;

#[tokio::test]
async fn a_build_without_libtorch_says_how_to_get_one() {
    let dir = tempfile::tempdir().unwrap();
    let task = TrainerTask {
        work: Work::Init { out_weights: "w.safetensors".into() },
        task_entry: "model.pt".into(),
        parameters: serde_json::from_str(r#"{"loss": "mse"}"#).unwrap(),
        optimizer: None,
        gpu: false,
        seed: 1,
        datasets: [].into(),
        result: "result.json".into(),
    };
    let command = TrainerCommand { program: env!("CARGO_BIN_EXE_nsfl-trainer-torch").into(), args: vec![] };
    let mut child = spawn(&command, dir.path(), &task, Duration::from_secs(60)).unwrap();
    let e = child.wait().await.unwrap_err();
    assert_eq!(e.code(), Code::TrainerStart);
    for part in ["LIBTORCH", "LD_LIBRARY_PATH", "pip install torch==2.13.0", "--features torch"] {
        assert!(e.to_string().contains(part), "{e}");
    }
}
