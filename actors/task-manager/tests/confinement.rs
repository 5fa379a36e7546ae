//! What a site promises itself: it takes no task against its policy or beyond what it has, and scripts keep to what they
//! were given.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]
#![allow(clippy::print_stderr, reason = "says why something could not be shown")]

mod world;

use nsfl_messages::wire::{Scripts, TaskCommand, TaskOrder, TaskReport};
use nsfl_package::pack_entries;
use nsfl_store::{Owner, put_bytes};
use nsfl_task_manager::{Confinement, Processes, SandboxRules};
use nsfl_trainer::TrainerCommand;
use nsfl_trainer::launch::Bubblewrap;
use nsfl_types::{Cause, Code, Resource, Runtime, TaskKey};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use world::{TRAINS, TRAINS_ON_GO, World, order, train, world_with};

async fn failure(world: &mut World, key: &TaskKey) -> (Code, String, Cause) {
    match world.report_that(|report| matches!(report, TaskReport::Failed { .. })).await {
        TaskReport::Failed { key: failed, code, reason, cause } if failed == *key => {
            (code, reason, cause.map(|cause| *cause).unwrap_or_default())
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_the_policy_does_not_allow_is_refused_before_anything_is_fetched_or_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let policy = dir.path().join("policy.toml");
    std::fs::write(&policy, "authors = ['alice']").unwrap();
    let mut world = world_with(TRAINS, |site| site.admission.policy = Some(policy.clone())).await;
    let from = |author: &str, round: u32| TaskOrder { author: author.into(), ..order(&train(round), world.base) };
    let (mallory, alice) = (from("mallory", 1), from("alice", 2));
    world.command(&TaskCommand::Run(mallory.into())).await;
    let (code, reason, _) = failure(&mut world, &train(1)).await;
    assert_eq!(code, Code::Policy);
    let expected =
        format!("the site's policy does not allow the task: {}: authors: 'mallory' is not listed", policy.display());
    assert_eq!(reason, expected);
    world.until_nothing_is_held(&[]).await;
    assert_eq!(world.hub.read.load(Ordering::Relaxed), 0);
    world.command(&TaskCommand::Run(alice.into())).await;
    world.done(&train(2)).await;
}

#[tokio::test]
async fn tasks_run_beside_each_other_as_far_as_there_is_room() {
    let mut world = world_with(TRAINS_ON_GO, |site| site.info.max_tasks = 3).await;
    let asks = |round: u32, cpu: f64| {
        let resource = Resource { cpu, ..order(&train(round), world.base).resource };
        TaskOrder { resource: Resource { memory_mb: 10.0, ..resource }, ..order(&train(round), world.base) }
    };
    let orders = [asks(1, 0.5), asks(2, 0.6), asks(3, 0.1), asks(4, 1.5)];
    for order in orders {
        world.command(&TaskCommand::Run(order.into())).await;
    }
    let (code, reason, _) = failure(&mut world, &train(4)).await;
    assert_eq!((code, reason.as_str()), (Code::Unsupported, "the task asks for cpu 1.5, this client has 1 in all"));
    // what has started was told of before the refusal came, or not at all
    std::fs::write(world.path("go"), "").unwrap();
    world.report_that(|report| *report == TaskReport::Started { key: train(2) }).await;
    world.report_that(|report| *report == TaskReport::Started { key: train(3) }).await;
    world.report_that(|report| matches!(report, TaskReport::Done { .. })).await;
}

/// A client that runs this script for task `t`, confined so.
async fn site(script: &str, confinement: impl FnOnce(&std::path::Path) -> Confinement) -> World {
    world_with("exit 1", |site| {
        let folder = site.workspace.parent().unwrap().to_owned();
        std::fs::create_dir_all(folder.join("scripts")).unwrap();
        std::fs::write(folder.join("scripts/train.py"), script).unwrap();
        let stage = r#"{"command": "python3", "entry": "train.py"}"#;
        let text = format!(r#"{{"script_path": "scripts", "train": {stage}, "evaluate": {stage}}}"#);
        std::fs::write(folder.join("task.json"), text).unwrap();
        site.info.runtimes = vec![Runtime::Pytorch];
        let mut config = world::processes(&folder);
        config.tasks = [("t".to_owned(), folder.join("task.json"))].into();
        config.scripts.confinement = confinement(&folder);
        site.trainer = Arc::new(Processes::new(config));
    })
    .await
}

async fn fails(mut world: World, memory_mb: f64) -> (Code, String, Cause) {
    let mut order = TaskOrder { runtime: Runtime::Pytorch, task_entry: "t".into(), ..order(&train(1), world.base) };
    order.resource.memory_mb = memory_mb;
    world.command(&TaskCommand::Run(order.into())).await;
    failure(&mut world, &train(1)).await
}

#[tokio::test]
async fn a_script_that_uses_more_memory_than_its_job_asked_for_fails_of_that() {
    let script = "x = []\nwhile len(x) < 250: x.append(bytearray(4 << 20))";
    let (code, reason, cause) = fails(site(script, |_| Confinement::default()).await, 100.0).await;
    assert_eq!((code, cause.limit.as_deref()), (Code::ScriptMemory, Some("memory 100 MB")), "{reason}");
    assert_eq!(cause.exit.as_deref(), Some("signal 9 (SIGKILL)"));
}

#[tokio::test]
async fn a_script_in_a_sandbox_finds_its_data_and_scripts_and_none_of_the_clients_own() {
    let program = match Bubblewrap::probe() {
        Ok(program) => program,
        Err(reason) => return eprintln!("skipped: {reason}"),
    };
    let script = "
import json, os
data = json.load(open(os.environ['DATASETS']))['digits']
print('data', os.path.exists(data), 'script', os.path.exists(__file__))
print('key', os.path.exists(os.path.join(os.path.dirname(__file__), '../client.key')))
print('local', os.path.exists(os.path.join(os.path.dirname(__file__), '../local.safetensors')))
raise SystemExit(3)";
    let world = site(script, |folder| {
        std::fs::write(folder.join("client.key"), "secret").unwrap();
        let hidden = vec![folder.join("client.key")];
        let sandbox = SandboxRules { program, read_only: vec![], hidden, network: false };
        Confinement { sandbox: Some(sandbox), ..Confinement::default() }
    })
    .await;
    let (code, reason, cause) = fails(world, 500.0).await;
    assert_eq!(code, Code::ScriptExit, "{reason}");
    assert!(cause.log.contains("data True script True\nkey False\nlocal False"), "{}", cause.log);
}

#[tokio::test]
async fn a_script_of_a_package_imports_from_all_of_it_in_a_sandbox_too() {
    let program = match Bubblewrap::probe() {
        Ok(program) => program,
        Err(reason) => return eprintln!("skipped: {reason}"),
    };
    let mut world = site("", |folder| {
        let hidden = vec![folder.join("data")];
        let sandbox = SandboxRules { program, read_only: vec![], hidden, network: false };
        Confinement { sandbox: Some(sandbox), ..Confinement::default() }
    })
    .await;
    let config = r#"{"script_path": "../src", "train": {"command": "python3", "entry": "main.py"}}"#;
    let script = "
import os, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
from lib.answer import ANSWER
try: open('../lib/more.py', 'w')
except OSError as error: print(error)
raise SystemExit(ANSWER)";
    let files = [("conf/task.json", config), ("src/main.py", script), ("lib/answer.py", "ANSWER = 42")];
    let zip = pack_entries(files.map(|(name, text)| (name, text.as_bytes()))).unwrap();
    let package = put_bytes(&world.hub.blobs, zip.into(), &Owner::new("job").unwrap()).await.unwrap();
    let scripts = Some(Scripts { package, config_file: "conf/task.json".into() });
    let order = TaskOrder { runtime: Runtime::Pytorch, scripts, ..order(&train(1), world.base) };
    world.command(&TaskCommand::Run(order.into())).await;
    let (code, _, cause) = failure(&mut world, &train(1)).await;
    assert_eq!((code, cause.exit.as_deref()), (Code::ScriptExit, Some("exit code 42")), "{}", cause.log);
    assert!(cause.log.contains("Read-only file system"), "{}", cause.log);
}

/// A client whose trainer for `torchscript`, which works on the module of task `t`, is this Python script, confined so.
async fn torchscript(trainer: &str, confinement: impl FnOnce(&std::path::Path) -> Confinement) -> World {
    world_with("exit 1", |site| {
        let folder = site.workspace.parent().unwrap().to_owned();
        std::fs::create_dir_all(folder.join("modules")).unwrap();
        std::fs::write(folder.join("modules/model.pt"), "module").unwrap();
        std::fs::write(folder.join("task.json"), r#"{"script_path": "modules", "train": {"entry": "model.pt"}}"#)
            .unwrap();
        // beside the module, where it is seen in a sandbox too
        let program = folder.join("modules/trainer.py");
        std::fs::write(&program, trainer).unwrap();
        site.info.runtimes = vec![Runtime::Torchscript];
        let mut config = world::processes(&folder);
        config.torchscript =
            TrainerCommand { program: "python3".into(), args: vec![program.to_str().unwrap().to_owned()] };
        config.tasks = [("t".to_owned(), folder.join("task.json"))].into();
        config.scripts.confinement = confinement(&folder);
        site.trainer = Arc::new(Processes::new(config));
    })
    .await
}

async fn torchscript_fails(world: &mut World, adjust: impl FnOnce(&mut TaskOrder)) -> (Code, String, Cause) {
    let base = world.base;
    let mut order = TaskOrder { runtime: Runtime::Torchscript, task_entry: "t".into(), ..order(&train(1), base) };
    adjust(&mut order);
    world.command(&TaskCommand::Run(order.into())).await;
    failure(world, &train(1)).await
}

#[tokio::test]
async fn a_module_that_uses_more_memory_than_its_job_asked_for_fails_of_that_and_its_output_is_kept() {
    let trainer = "
import sys
print('epoch 1', sys.argv[1:], flush=True)
x = []
while len(x) < 250: x.append(bytearray(4 << 20))";
    let mut world = torchscript(trainer, |_| Confinement::default()).await;
    let (code, reason, cause) = torchscript_fails(&mut world, |order| order.resource.memory_mb = 100.0).await;
    assert_eq!((code, cause.limit.as_deref()), (Code::ScriptMemory, Some("memory 100 MB")), "{reason}");
    let printed = "epoch 1 ['--task', 'task.json']";
    assert_eq!((cause.exit.as_deref(), cause.log.as_str()), (Some("signal 9 (SIGKILL)"), printed));
    let kept = world.path("data/logs").join(train(1).folder()).join("worker-0.log");
    assert_eq!(std::fs::read_to_string(kept).unwrap().trim(), printed);
}

#[tokio::test]
async fn a_trainer_of_modules_is_held_to_disk_and_time_and_tells_what_failed() {
    let fills = "
for i in range(100): open(f'out/{i}', 'wb').write(b'x' * 1_000_000)
import time; time.sleep(1000)";
    let deaf = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: time.sleep(1)";
    let tells = "open('result.json', 'w').write('{\"version\":1,\"outcome\":\"failed\",\"code\":\"bad-dataset\",\"reason\":\"no rows\"}')\nraise SystemExit(1)";
    let links = "import os\nos.symlink('/etc/hostname', 'result.json')";
    let cases = [
        (fills, 60_000, Code::ScriptDisk, "the trainer ran into a limit: file size 0.5 MB"),
        ("import time; time.sleep(1000)", 2000, Code::TrainerTimeout, "the trainer did not end within 2 s"),
        (
            deaf,
            2000,
            Code::TrainerKilled,
            "the trainer did not end within 2 s, nor when it was asked to, and was killed",
        ),
        (tells, 60_000, Code::BadDataset, "the trainer failed: no rows"),
        (links, 60_000, Code::TrainerFailed, "the trainer ended without a result: exit code 0"),
        (
            "import os; os.kill(os.getpid(), 11)",
            60_000,
            Code::ScriptSignal,
            "the trainer was killed: signal 11 (SIGSEGV)",
        ),
    ];
    for (trainer, timeout_ms, expected, told) in cases {
        let confinement = |_: &std::path::Path| Confinement { file: Some(500_000), ..Confinement::default() };
        let mut world = torchscript(trainer, confinement).await;
        let (code, reason, _) = torchscript_fails(&mut world, |order| order.timeout_ms = timeout_ms).await;
        assert_eq!((code, reason.as_str()), (expected, told));
    }
}

#[tokio::test]
async fn a_trainer_of_modules_in_a_sandbox_finds_module_model_and_data_and_none_of_the_clients_own() {
    let program = match Bubblewrap::probe() {
        Ok(program) => program,
        Err(reason) => return eprintln!("skipped: {reason}"),
    };
    let trainer = "
import json, os
task = json.load(open('task.json'))
print('module', os.path.exists(task['task_entry']), 'data', os.path.exists(task['datasets']['digits']))
print('model', os.path.exists('base.safetensors'), os.stat('base.safetensors').st_nlink)
own = os.path.dirname(os.path.dirname(task['task_entry']))
print('key', os.path.exists(own + '/client.key'), 'local', os.path.exists(own + '/local.safetensors'))
print('others', len([pid for pid in os.listdir('/proc') if pid.isdigit()]) > 4, sorted(os.listdir('/sys/class/net')) if os.path.exists('/sys/class/net') else 'no net')
try: open(task['task_entry'], 'w')
except OSError as error: print(error.strerror)
raise SystemExit(3)";
    let mut world = torchscript(trainer, |folder| {
        std::fs::write(folder.join("client.key"), "secret").unwrap();
        let sandbox =
            SandboxRules { program, read_only: vec![], hidden: vec![folder.join("client.key")], network: false };
        Confinement { sandbox: Some(sandbox), ..Confinement::default() }
    })
    .await;
    let (code, reason, cause) = torchscript_fails(&mut world, |_| {}).await;
    assert_eq!((code, reason.as_str()), (Code::TrainerFailed, "the trainer ended without a result: exit code 3"));
    let expected =
        "module True data True\nmodel True 1\nkey False local False\nothers False no net\nRead-only file system";
    assert_eq!(cause.log, expected);
}
