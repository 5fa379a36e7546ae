//! What becomes of real Python scripts: those that do their task, and each of those that do not, with its code and cause.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod scene;

use nsfl_trainer::launch::Limits;
use nsfl_trainer::script::{Facts, Program, Progress, ScriptFailure, ScriptTask, Stage, TaskFolder};
use nsfl_types::{Cause, Code, Metrics, Runtime};
use scene::{Scene, await_all_gone, await_ready, fifo};
use std::path::PathBuf;
use std::time::Duration;

/// Writes something where the weights belong; what is in them is not looked at here.
const COMMIT: &str = "
import os, json
W = os.environ['TASK_WORKSPACE']
def commit(): open(W + '/out/weights.safetensors', 'w').write('weights')
";

struct Script {
    scene: Scene,
    task: ScriptTask,
    progress: Vec<Progress>,
}

impl Script {
    fn new(text: &str) -> Self {
        let scene = Scene::new();
        let scripts = scene.outside().join("scripts");
        std::fs::create_dir(&scripts).unwrap();
        std::fs::write(scripts.join("train.py"), format!("{COMMIT}{text}")).unwrap();
        let stage = Stage {
            command: Some("python3".into()),
            entry: "train.py".into(),
            params: serde_json::from_str(r#"{"--epochs": 5}"#).unwrap(),
            timeout: None,
        };
        let facts = Facts {
            mode: "train",
            job: "default/j".into(),
            run: 1,
            round: 1,
            attempt: 1,
            client: "c1".into(),
            runtime: Runtime::Pytorch,
            seed: 1,
            worker_num: 1,
            optimizer: None,
        };
        let task = ScriptTask {
            folder: TaskFolder::at(scene.folder()),
            facts,
            program: Program { folder: scripts, stage },
            parameters: serde_json::from_str(r#"{"--lr": 0.5, "--quiet": null}"#).unwrap(),
            datasets: [("digits".to_owned(), PathBuf::from("/data/digits"))].into(),
            timeout: Duration::from_secs(120),
            grace: Duration::from_millis(300),
            environment: Vec::new(),
            limits: Limits::default(),
            sandbox: None,
        };
        Self { scene, task, progress: Vec::new() }
    }

    async fn run(&mut self) -> Result<Metrics, ScriptFailure> {
        self.task.prepare().unwrap();
        let progress = &mut self.progress;
        self.task.run(&self.scene.launcher(), |told| progress.push(told)).await
    }

    async fn fails(&mut self) -> (Code, String, Cause) {
        let ScriptFailure { code, reason, cause } = self.run().await.unwrap_err();
        (code, reason, cause.map(|cause| *cause).unwrap_or_default())
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.scene.folder().join(name)).unwrap()
    }
}

async fn failure(text: &str) -> (Code, String, Cause) {
    Script::new(text).fails().await
}

#[tokio::test]
async fn a_script_sees_its_task_and_its_commits_are_taken() {
    let mut script = Script::new(
        "
import sys
json.dump({'args': sys.argv, 'cwd': os.getcwd(), 'env': sorted(os.environ)}, open(W + '/out/files/seen', 'w'))
json.dump(json.load(open(os.environ['DATASETS'])), open(W + '/out/files/datasets', 'w'))
json.dump({'sample_num': 30, 'loss': 0.25}, open(W + '/out/metrics.json', 'w'))
print('trained'); commit()
",
    );
    let metrics = script.run().await.unwrap();
    assert_eq!((metrics.weight(), metrics.get("loss")), (30.0, Some(0.25)));
    let seen: serde_json::Value = serde_json::from_str(&script.file("out/files/seen")).unwrap();
    assert_eq!(seen["args"], serde_json::json!(["train.py", "--epochs", "5", "--lr", "0.5", "--quiet"]));
    assert_eq!(seen["cwd"], script.task.program.folder.to_str().unwrap());
    assert!(!seen["env"].as_array().unwrap().iter().any(|name| name == "CARGO_MANIFEST_DIR"), "{}", seen["env"]);
    assert_eq!(script.file("out/files/datasets"), r#"{"digits": "/data/digits"}"#);
    assert_eq!(script.file("log/worker-0.log"), "trained\n");
}

#[tokio::test]
async fn an_exception_is_told_with_its_traceback_and_the_last_lines() {
    let (code, reason, cause) =
        failure("print('epoch 1')\ndef f():\n    raise ValueError('no such column')\nf()").await;
    assert_eq!((code, reason.as_str()), (Code::ScriptException, "ValueError: no such column"));
    assert_eq!((cause.exit.as_deref(), cause.worker), (Some("exit code 1"), None));
    let traceback = cause.traceback.unwrap();
    assert!(
        traceback.starts_with("Traceback") && traceback.contains(" in f\n") && traceback.ends_with("no such column")
    );
    assert!(cause.log.starts_with("epoch 1\n"), "{}", cause.log);
}

#[tokio::test]
async fn what_is_no_python_is_told_apart_from_an_exception_and_a_missing_module_is_one() {
    for text in ["def (", "if True:\npass", "if True:\n\tx = 1\n        y = 2"] {
        let (code, reason, cause) = failure(text).await;
        assert_eq!(code, Code::ScriptSyntax, "{reason}");
        assert!(cause.traceback.unwrap().contains("train.py"));
    }
    let (code, reason, _) = failure("import no_such_module").await;
    assert!(code == Code::ScriptException && reason.contains("no_such_module"), "{reason}");
}

#[tokio::test]
async fn an_exit_code_and_a_signal_are_told() {
    let (code, reason, cause) = failure("print('bye')\nimport sys; sys.exit(3)").await;
    assert_eq!((code, reason.as_str()), (Code::ScriptExit, "the script ended with exit code 3"));
    assert_eq!((cause.exit.as_deref(), cause.log.as_str(), cause.traceback), (Some("exit code 3"), "bye", None));
    let (code, _, cause) = failure("os.kill(os.getpid(), 11)").await;
    assert_eq!((code, cause.exit.as_deref()), (Code::ScriptSignal, Some("signal 11 (SIGSEGV)")));
}

#[tokio::test]
async fn what_is_missing_is_told_before_anything_starts() {
    let mut script = Script::new("");
    script.task.program.stage.entry = "other.py".into();
    assert_eq!(script.fails().await.0, Code::ScriptMissing);
    let mut script = Script::new("");
    script.task.program.stage.command = Some("no-such-python".into());
    assert_eq!(script.fails().await.0, Code::ScriptCommand);
    let mut script = Script::new("");
    script.task.program.folder = "/nowhere".into();
    assert_eq!(script.fails().await.0, Code::ScriptMissing);
}

#[tokio::test]
async fn too_much_memory_is_told_with_its_limit() {
    for take in ["x = []\nwhile True: x.append(bytearray(10_000_000))", "raise MemoryError"] {
        let mut script = Script::new(take);
        script.task.limits.memory = Some(300_000_000);
        let (code, reason, cause) = script.fails().await;
        assert_eq!(code, Code::ScriptMemory, "{reason}");
        assert_eq!(cause.limit.as_deref(), Some("memory 300 MB"));
    }
}

#[tokio::test]
async fn a_folder_that_is_filled_is_told_with_its_quota() {
    let mut script = Script::new(
        "
i = 0
while True:
    open(W + f'/out/files/{i}', 'wb').write(b'x' * 1_000_000)
    i += 1
",
    );
    script.task.limits.folder = Some(20_000_000);
    let (code, _, cause) = script.fails().await;
    assert_eq!((code, cause.limit.as_deref()), (Code::ScriptDisk, Some("disk 20 MB")));
}

#[tokio::test]
async fn a_script_that_never_ends_is_killed_even_when_it_ignores_the_request() {
    let ignores = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('waiting')\nwhile True: time.sleep(1)";
    let mut script = Script::new(ignores);
    script.task.program.stage.timeout = Some(Duration::from_secs(5));
    let (code, reason, cause) = script.fails().await;
    let late = "the script did not end within 5 s, nor when it was asked to, and was killed";
    assert_eq!((code, reason.as_str()), (Code::TrainerKilled, late));
    assert_eq!((cause.limit.as_deref(), cause.exit.as_deref()), (Some("time 5 s"), Some("signal 9 (SIGKILL)")));
    assert_eq!(cause.log, "waiting");
    let mut script = Script::new(
        "import signal, time, sys\nsignal.signal(signal.SIGTERM, lambda *_: (print('told'), sys.exit(0)))\nprint('waiting')\nwhile True: time.sleep(1)",
    );
    script.task.timeout = Duration::from_secs(5);
    script.task.grace = Duration::from_secs(20);
    let (code, reason, cause) = script.fails().await;
    assert_eq!((code, reason.as_str()), (Code::TrainerTimeout, "the script did not end within 5 s"));
    assert_eq!(cause.log, "waiting\ntold", "it was asked to end first");
}

#[tokio::test]
async fn what_a_script_forks_does_not_outlive_it_and_a_script_that_leaves_it_has_failed() {
    let mut script = Script::new("");
    let fifo = fifo(script.scene.outside());
    let text = format!(
        "{COMMIT}
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        pipe = open('{}', 'w')
        pipe.write('ready\\n'); pipe.flush()
        open(W + '/ready', 'w').close()
        import time
        while True: time.sleep(1)
    os._exit(0)
import time
while not os.path.exists(W + '/ready'): time.sleep(0.01)
commit()
",
        fifo.display()
    );
    std::fs::write(script.task.program.folder.join("train.py"), text).unwrap();
    let reader = std::thread::spawn(move || await_ready(&fifo));
    let (code, reason, cause) = script.fails().await;
    assert_eq!((code, cause.exit.as_deref()), (Code::ScriptForks, Some("exit code 0")));
    assert!(
        reason.starts_with("the script ended and left processes running: ") && reason.contains("train.py"),
        "{reason}"
    );
    await_all_gone(reader.join().unwrap());
}

#[tokio::test]
async fn a_script_that_commits_nothing_is_told_so() {
    let (code, reason, cause) = failure("print('done')").await;
    assert_eq!((code, cause.log.as_str()), (Code::CommitMissing, "done"));
    assert_eq!(reason, "the script ended well but committed no weights");
    let mut script = Script::new("print('done')");
    script.task.facts.mode = "evaluate";
    let (code, reason, _) = script.fails().await;
    assert_eq!((code, reason.as_str()), (Code::CommitMissing, "the script ended well but committed no metrics"));
    let linked = "os.symlink('/etc/hostname', W + '/out/weights.safetensors')";
    assert_eq!(failure(linked).await.0, Code::BadUpdate);
}

#[tokio::test]
async fn metrics_that_are_no_numbers_are_refused() {
    let metrics = |value: &str| format!("commit()\njson.dump({{'loss': {value}}}, open(W + '/out/metrics.json', 'w'))");
    assert_eq!(failure(&metrics("float('nan')")).await.0, Code::NotFinite);
    assert_eq!(failure(&metrics("'low'")).await.0, Code::BadUpdate);
}

#[tokio::test]
async fn what_the_script_says_of_its_own_error_counts_whatever_its_exit_code() {
    let says = "commit()\njson.dump({'code': 'commit-twice', 'reason': 'weights were committed twice', 'traceback': 'Traceback'}, open(W + '/out/error.json', 'w'))";
    let (code, reason, cause) = failure(says).await;
    assert_eq!((code, reason.as_str()), (Code::CommitTwice, "weights were committed twice"));
    assert_eq!(cause.traceback.as_deref(), Some("Traceback"));
}

#[tokio::test]
async fn progress_is_told_while_the_script_runs_and_not_more_often_than_every_second() {
    let mut script = Script::new(
        "
import time
begin = time.monotonic()
i = 0
while time.monotonic() - begin < 3:
    i += 1
    json.dump({'done': min(1, i / 100), 'message': f'step {i}', 'metrics': {'loss': 1 / i}}, open(W + '/out/p', 'w'))
    os.rename(W + '/out/p', W + '/out/progress.json')
    time.sleep(0.02)
commit()
",
    );
    let began = std::time::Instant::now();
    script.run().await.unwrap();
    let told = &script.progress;
    assert!(!told.is_empty() && told.len() as u64 <= began.elapsed().as_secs() + 1, "{}", told.len());
    assert!(told[0].message.starts_with("step ") && told[0].metrics.get("loss").is_some());
    assert!(told.windows(2).all(|pair| pair[0].done <= pair[1].done));
}

#[tokio::test]
async fn workers_find_each_other_and_the_first_that_fails_ends_all() {
    let meet = "
import socket
rank, size = int(os.environ['RANK']), int(os.environ['WORLD_SIZE'])
at = (os.environ['MASTER_ADDR'], int(os.environ['MASTER_PORT']))
if rank == 0:
    server = socket.create_server(at)
    others = [server.accept()[0] for _ in range(size - 1)]
    print(sorted(other.recv(9).decode() for other in others))
    commit()
else:
    import time
    while True:
        try: connection = socket.create_connection(at); break
        except ConnectionRefusedError: time.sleep(0.02)
    connection.sendall(os.environ['WORKER_INDEX'].encode())
    print('sent')
";
    let mut script = Script::new(meet);
    script.task.facts.worker_num = 3;
    script.run().await.unwrap();
    assert_eq!(script.file("log/worker-0.log"), "['1', '2']\n");
    assert_eq!(script.file("log/worker-2.log"), "sent\n");

    let one_fails = "import time\nif os.environ['RANK'] == '1': raise KeyError('lost')\nwhile True: time.sleep(1)";
    let mut script = Script::new(one_fails);
    script.task.facts.worker_num = 2;
    let (code, reason, cause) = script.fails().await;
    assert_eq!((code, reason.as_str(), cause.worker), (Code::ScriptException, "KeyError: 'lost'", Some(1)));
}

#[tokio::test]
async fn a_script_that_prints_without_end_leaves_a_bounded_log() {
    let mut script = Script::new("for i in range(200_000): print('line', i)\ncommit()");
    script.task.limits.output = 100_000;
    script.run().await.unwrap();
    let logs = std::fs::read_dir(script.scene.folder().join("log")).unwrap();
    let size: u64 = logs.map(|log| log.unwrap().metadata().unwrap().len()).sum();
    assert!(size <= 100_000, "{size}");
    assert!(script.file("log/worker-0.log").ends_with("line 199999\n"));
}
