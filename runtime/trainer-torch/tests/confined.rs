//! The program under a warden and in a sandbox, as a client starts it: it finds its libraries, its module and its data,
//! learns, and is held to the memory of its task.
#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test; it says why something could not be shown")]

mod support;

use nsfl_trainer::launch::{Bubblewrap, Launcher, Limits, Sandbox};
use nsfl_trainer::script::{ConfinedTask, ScriptFailure, TaskFolder};
use nsfl_trainer::{TrainerCommand, TrainerResult, Work, digits};
use nsfl_types::Code;
use std::path::Path;
use std::time::Duration;
use support::Bench;

const DIGITS: &[u8] = include_bytes!("../../../data/digits/digits.csv.gz");
const MLP: &str = r#"{"loss": "cross_entropy", "learning_rate": 0.1, "epochs": 2, "scale": 16}"#;

/// Trains `base.safetensors` of a bench, whose folder is the task's.
fn trains(memory: u64, sandbox: Option<Bubblewrap>) -> Result<TrainerResult, ScriptFailure> {
    let data = tempfile::tempdir().unwrap();
    let folder = digits::split(DIGITS, 1, 1, data.path()).unwrap().remove(0);
    let mut bench = Bench::begun("mlp.pt", MLP);
    bench.task.datasets = [("digits".to_owned(), folder)].into();
    bench.task.work = Work::Train { base: "base.safetensors".into(), out_weights: "weights.safetensors".into() };
    let modules = Path::new(&bench.task.task_entry).parent().unwrap().to_owned();
    let sandbox = sandbox.map(|program| Sandbox {
        program,
        writable: vec![bench.dir.path().to_owned()],
        tmp: bench.path("tmp"),
        read_only: vec![modules, data.path().to_owned()],
        hidden: vec![],
        network: false,
        gpu: false,
    });
    let task = ConfinedTask {
        command: TrainerCommand { program: env!("CARGO_BIN_EXE_nsfl-trainer-torch").into(), args: vec![] },
        folder: TaskFolder::at(bench.dir.path()),
        task: bench.task.clone(),
        timeout: Duration::from_secs(600),
        grace: Duration::from_secs(5),
        environment: vec![],
        limits: Limits { memory: Some(memory), ..Limits::default() },
        sandbox,
    };
    // beside the tests, see examples/torch_warden.rs
    let tests = std::env::current_exe().unwrap();
    let program = tests.parent().and_then(Path::parent).unwrap().join("examples/torch_warden");
    let launcher = Launcher { program, args: vec![], cgroups: None };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let done = runtime.block_on(task.run(&launcher, |_| {}));
    assert_eq!(done.is_ok(), bench.path("weights.safetensors").exists());
    done
}

#[test]
fn a_module_is_trained_in_a_sandbox() {
    match Bubblewrap::probe() {
        Ok(program) => {
            let metrics = trains(2_000_000_000, Some(program)).unwrap().metrics;
            assert_eq!(metrics.get("sample_num"), Some(1442.0));
        }
        Err(reason) => eprintln!("skipped: {reason}"),
    }
}

#[test]
fn a_module_that_needs_more_memory_than_its_task_has_fails_of_that() {
    let failure = trains(20_000_000, None).unwrap_err();
    assert_eq!(failure.code, Code::ScriptMemory, "{}", failure.reason);
    assert_eq!(failure.cause.unwrap().limit.as_deref(), Some("memory 20 MB"));
}
