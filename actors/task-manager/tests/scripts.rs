//! What a client promises on tasks that run a Python script: from the order to the update, and each way to fail.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod world;

use bytes::Bytes;
use nsfl_messages::wire::{Scripts, TaskCommand, TaskOrder, TaskReport};
use nsfl_package::{Limits, pack_entries, unpack};
use nsfl_store::{BlobStore as _, Owner, put_bytes};
use nsfl_task_manager::{ProcessConfig, Processes};
use nsfl_types::{BlobRef, Cause, Code, Runtime, TaskKey, TaskKind};
use std::path::Path;
use std::sync::Arc;
use world::{DELTA, World, key, model, order, read_when_there, runs, soon, train, world_with};

/// What a script needs of safetensors, by hand: one F32 tensor, or any bytes.
const PRELUDE: &str = "
import json, os, struct, sys, time
W = os.environ['TASK_WORKSPACE']
def load(path):
    data = open(path, 'rb').read(); n = struct.unpack('<Q', data[:8])[0]
    return list(struct.unpack('<%df' % ((len(data) - 8 - n) // 4), data[8 + n:]))
def save(values, path, name='w'):
    head = json.dumps({name: {'dtype': 'F32', 'shape': [len(values)], 'data_offsets': [0, 4 * len(values)]}}).encode()
    with open(path + '.part', 'wb') as f: f.write(struct.pack('<Q', len(head)) + head + struct.pack('<%df' % len(values), *values))
    os.rename(path + '.part', path)
def commit(values=None, name='w', **metrics):
    if values is None: values = [b + d for b, d in zip(load(W + '/base.safetensors'), [0.5, 0.0, -1.0])]
    save(values, W + '/out/weights.safetensors', name)
    json.dump(metrics, open(W + '/out/metrics.json', 'w'))
";

/// A client with the task `t`, which runs this script for both kinds of work.
async fn site(script: &str) -> World {
    site_with(script, |_| {}).await
}

async fn site_with(script: &str, adjust: impl FnOnce(&mut ProcessConfig)) -> World {
    let script = format!("{PRELUDE}{script}");
    world_with("exit 1", |site| {
        let folder = site.workspace.parent().unwrap().to_owned();
        configure(&folder, &script);
        site.info.runtimes = vec![Runtime::Builtin, Runtime::Pytorch, Runtime::Tensorflow, Runtime::Torchscript];
        let mut config = world::processes(&folder);
        config.tasks = [("t".to_owned(), folder.join("task.json"))].into();
        adjust(&mut config);
        site.trainer = Arc::new(Processes::new(config));
    })
    .await
}

fn configure(folder: &Path, script: &str) {
    std::fs::create_dir_all(folder.join("scripts")).unwrap();
    std::fs::write(folder.join("scripts/train.py"), script).unwrap();
    let stage = r#"{"command": "python3", "entry": "train.py"}"#;
    let text = format!(r#"{{"script_path": "scripts", "train": {stage}, "evaluate": {stage}}}"#);
    std::fs::write(folder.join("task.json"), text).unwrap();
}

fn task(world: &World, key: &TaskKey) -> TaskOrder {
    TaskOrder { runtime: Runtime::Pytorch, task_entry: "t".into(), ..order(key, world.base) }
}

async fn run(world: &World, order: TaskOrder) {
    world.command(&TaskCommand::Run(order.into())).await;
}

/// The end of this task; an outcome that was not answered yet is told again meanwhile.
async fn end(world: &mut World, of: &TaskKey) -> TaskReport {
    let ended = |report: &TaskReport| match report {
        TaskReport::Done { key, .. } | TaskReport::Failed { key, .. } => key == of,
        _ => false,
    };
    world.report_that(ended).await
}

async fn failure(world: &mut World, order: TaskOrder) -> (Code, String, Cause) {
    let key = order.key.clone();
    run(world, order).await;
    match end(world, &key).await {
        TaskReport::Failed { code, reason, cause, .. } => (code, reason, cause.map(|c| *c).unwrap_or_default()),
        other => panic!("{other:?}"),
    }
}

async fn fails(script: &str) -> (Code, String, Cause) {
    let mut world = site(script).await;
    let order = task(&world, &train(1));
    failure(&mut world, order).await
}

async fn blob(world: &World, bytes: Vec<u8>) -> BlobRef {
    put_bytes(&world.hub.blobs, bytes.into(), &Owner::new("job").unwrap()).await.unwrap()
}

/// A name that becomes `../evil` in the zip: packing refuses that one.
const OUTSIDE: &str = "xx/evil";

fn zip(files: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = pack_entries(files.iter().map(|(name, text)| (*name, text.as_bytes()))).unwrap();
    // in the entry and in the directory
    while let Some(at) = zip.windows(OUTSIDE.len()).position(|window| window == OUTSIDE.as_bytes()) {
        zip[at..at + 2].copy_from_slice(b"..");
    }
    zip
}

#[tokio::test]
async fn a_script_trains_and_its_delta_arrives_and_after_the_ack_nothing_is_left() {
    let mut world = site("commit(sample_num=30, loss=0.5)").await;
    run(&world, task(&world, &train(1))).await;
    let TaskReport::Done { update: Some(update), extra: None, metrics, .. } = end(&mut world, &train(1)).await else {
        panic!()
    };
    assert_eq!(world.hub.blobs.open(update.digest).await.unwrap(), model(&DELTA));
    assert_eq!((metrics.weight(), metrics.get("loss")), (30.0, Some(0.5)));
    world.command(&TaskCommand::Ack { key: train(1) }).await;
    world.until_nothing_is_held(&[update.digest, world.base.digest]).await;
}

#[tokio::test]
async fn an_evaluation_reports_its_metrics() {
    let mut world = site("json.dump({'accuracy': 0.75}, open(W + '/out/metrics.json', 'w'))").await;
    let evaluate = key(1, TaskKind::Evaluate);
    run(&world, TaskOrder { runtime: Runtime::Tensorflow, ..task(&world, &evaluate) }).await;
    let TaskReport::Done { update: None, metrics, .. } = end(&mut world, &evaluate).await else { panic!() };
    assert_eq!(metrics.get("accuracy"), Some(0.75));
}

#[tokio::test]
async fn scripts_that_come_with_the_job_are_unpacked_once_and_run() {
    let mut world = site("raise SystemExit(9)").await;
    let stage = r#"{"command": "python3", "entry": "main.py"}"#;
    let config = format!(r#"{{"script_path": "src", "train": {stage}}}"#);
    let script = format!("{PRELUDE}from lib.weights import WEIGHTS\ncommit(WEIGHTS)");
    let files = [
        ("conf/task.json", config.replace("src", "../src")),
        ("src/main.py", script),
        ("src/lib/weights.py", "WEIGHTS = [1.5, 2.0, 2.0]".into()),
    ];
    let package = blob(&world, zip(&files.each_ref().map(|(name, text)| (*name, text.as_str())))).await;
    let scripts = Scripts { package, config_file: "conf/task.json".into() };
    for round in 1..3 {
        run(
            &world,
            TaskOrder { scripts: Some(scripts.clone()), task_entry: String::new(), ..task(&world, &train(round)) },
        )
        .await;
        let ended = end(&mut world, &train(round)).await;
        let TaskReport::Done { update: Some(update), .. } = ended else { panic!("{ended:?}") };
        assert_eq!(update, BlobRef::of(&model(&DELTA)));
        world.command(&TaskCommand::Ack { key: train(round) }).await;
        world.until_nothing_is_held(&[update.digest, world.base.digest]).await;
    }
    let read = world.hub.read.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(read, 2 * world.base.len + package.len, "the package was fetched once");
}

#[tokio::test]
async fn a_package_that_would_do_harm_is_refused_and_the_next_task_runs() {
    let mut world = site("commit()").await;
    let config = r#"{"script_path": ".", "train": {"command": "sh", "entry": "a"}}"#;
    let outside = r#"{"script_path": "../../..", "train": {"command": "sh", "entry": "trainer.sh"}}"#;
    let bomb = "0".repeat(30_000_000);
    type Packages<'a> = [(&'a [(&'a str, &'a str)], &'a str, Code, &'a str); 5];
    let packages: Packages<'_> = [
        (&[("task.json", config), (OUTSIDE, "x")], "task.json", Code::BadPackage, "leaves"),
        (&[("task.json", config), ("a", &bomb)], "task.json", Code::PackageTooLarge, "times its size"),
        (&[("task.json", config)], "../task.json", Code::BadPackage, "leaves"),
        (&[("task.json", outside)], "task.json", Code::BadPackage, "script_path: leaves the package"),
        (&[("task.json", config)], "other.json", Code::ScriptMissing, "other.json"),
    ];
    for (round, (files, config_file, expected, words)) in (1..).zip(packages) {
        let scripts = Scripts { package: blob(&world, zip(files)).await, config_file: config_file.into() };
        let order = TaskOrder { scripts: Some(scripts), ..task(&world, &train(round)) };
        let (code, reason, _) = failure(&mut world, order).await;
        assert!(code == expected && reason.contains(words), "{code} {reason}");
    }
    let scripts = Scripts { package: blob(&world, b"no zip".to_vec()).await, config_file: "task.json".into() };
    let order = TaskOrder { scripts: Some(scripts), ..task(&world, &train(8)) };
    assert_eq!(failure(&mut world, order).await.0, Code::BadPackage);
    assert!(!world.path("data/evil").exists() && !world.path("data/scripts/evil").exists());
    for round in 1..9 {
        world.command(&TaskCommand::Ack { key: train(round) }).await;
    }
    run(&world, task(&world, &train(9))).await;
    world.done(&train(9)).await;
}

#[tokio::test]
async fn a_task_that_is_not_configured_is_refused_at_once_with_those_that_are() {
    let mut world = site("commit()").await;
    let order = TaskOrder { task_entry: "u".into(), ..task(&world, &train(1)) };
    let (code, reason, _) = failure(&mut world, order).await;
    assert_eq!(code, Code::ScriptMissing);
    assert_eq!(reason, "task_entry: 'u' is not among the tasks configured here: t");
    std::fs::write(world.path("task.json"), r#"{"script_path": ".", "train": {"comand": "x"}}"#).unwrap();
    let order = task(&world, &train(2));
    let (code, reason, _) = failure(&mut world, order).await;
    assert!(code == Code::BadDocument && reason.contains("task.json: train.comand: unknown field"), "{reason}");
}

#[tokio::test]
async fn weights_that_are_not_the_models_are_told_by_their_code() {
    let cases = [
        ("commit([float('nan'), 0, 0])", Code::NotFinite),
        ("commit([1, 2])", Code::WrongShape),
        ("commit([1, 2, 3], name='v')", Code::WrongNames),
        ("import pickle; pickle.dump([1.0], open(W + '/out/weights.safetensors', 'wb'))", Code::BadUpdate),
        ("commit(loss=float('inf'))", Code::NotFinite),
        ("pass", Code::CommitMissing),
    ];
    for (script, expected) in cases {
        let (code, reason, cause) = fails(&format!("print('trained')\n{script}")).await;
        assert_eq!((code, cause.log.as_str()), (expected, "trained"), "{script}: {reason}");
    }
}

#[tokio::test]
async fn a_failed_script_is_reported_with_its_cause_and_its_output_is_kept_at_the_site() {
    let mut world = site("print('epoch 1', flush=True)\nraise ValueError('no such column')").await;
    let order = task(&world, &train(1));
    let (code, reason, cause) = failure(&mut world, order).await;
    assert_eq!((code, reason.as_str()), (Code::ScriptException, "ValueError: no such column"));
    assert_eq!(cause.exit.as_deref(), Some("exit code 1"));
    assert!(cause.traceback.unwrap().contains("train.py") && cause.log.starts_with("epoch 1"));
    world.command(&TaskCommand::Ack { key: train(1) }).await;
    world.until_nothing_is_held(&[world.base.digest]).await;
    let kept = world.path("data/logs").join(train(1).folder()).join("worker-0.log");
    assert!(std::fs::read_to_string(kept).unwrap().starts_with("epoch 1"));
}

#[tokio::test]
async fn a_script_that_never_ends_is_reported_with_its_cause_and_the_next_task_runs() {
    let mut world = site("print('waiting', flush=True)\nif os.environ['TASK_MODE'] == 'train': time.sleep(1000)").await;
    let order = TaskOrder { timeout_ms: 5000, ..task(&world, &train(1)) };
    let (code, _, cause) = failure(&mut world, order).await;
    assert_eq!((code, cause.limit.as_deref(), cause.log.as_str()), (Code::TrainerTimeout, Some("time 5 s"), "waiting"));
    run(&world, task(&world, &key(2, TaskKind::Evaluate))).await;
    assert!(matches!(
        end(&mut world, &key(2, TaskKind::Evaluate)).await,
        TaskReport::Failed { code: Code::CommitMissing, .. }
    ));
}

#[tokio::test]
async fn a_cancelled_script_is_gone_with_all_it_has_started() {
    let world = site("import subprocess\np = subprocess.Popen(['sleep', '1000'], start_new_session=True)\nopen('../pid', 'w').write(f'{p.pid}\\n')\ntime.sleep(1000)").await;
    run(&world, task(&world, &train(1))).await;
    let pid = read_when_there(&world.path("pid")).await;
    assert!(runs(&pid));
    world.command(&TaskCommand::Cancel { key: train(1) }).await;
    soon("its end", async {
        while runs(&pid) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    world.until_nothing_is_held(&[world.base.digest]).await;
}

#[tokio::test]
async fn what_the_extender_broadcasts_is_there_and_what_the_script_puts_arrives() {
    let mut world = site(
        "
n = json.load(open(W + '/in/parameters.json'))['n']
text = open(W + '/in/files/words').read()
json.dump({'m': n + 1}, open(W + '/out/parameters.json', 'w'))
open(W + '/out/files/answer', 'w').write(text.upper())
commit()
",
    )
    .await;
    let zeros = "\0".repeat(3_000_000);
    let files = [("parameters.json", r#"{"n": 41}"#), ("files/words", "hello"), ("files/zeros", &zeros)];
    let inputs = blob(&world, zip(&files)).await;
    run(&world, TaskOrder { inputs: Some(inputs), ..task(&world, &train(1)) }).await;
    let ended = end(&mut world, &train(1)).await;
    let TaskReport::Done { extra: Some(extra), .. } = ended else { panic!("{ended:?}") };
    let zip: Bytes = world.hub.blobs.open(extra.digest).await.unwrap();
    let to = tempfile::tempdir().unwrap();
    unpack(&zip, to.path(), &Limits::default()).unwrap();
    assert_eq!(std::fs::read_to_string(to.path().join("parameters.json")).unwrap(), r#"{"m": 42}"#);
    assert_eq!(std::fs::read_to_string(to.path().join("files/answer")).unwrap(), "HELLO");
}

/// Counts its rounds in its state.
const COUNTS: &str = "
path = W + '/state/scaffold.safetensors'
n = int(load(path)[0]) if os.path.exists(path) else 0
save([n + 1], W + '/out/state/scaffold.safetensors')
commit(n=n)
";

async fn count(world: &mut World, round: u32) -> f64 {
    run(world, task(world, &train(round))).await;
    let ended = end(world, &train(round)).await;
    let TaskReport::Done { metrics, .. } = ended else { panic!("{ended:?}") };
    metrics.get("n").unwrap()
}

#[tokio::test]
async fn state_is_there_in_the_next_round_if_the_update_was_accepted() {
    let mut world = site(COUNTS).await;
    assert_eq!(count(&mut world, 1).await, 0.0);
    world.command(&TaskCommand::Ack { key: train(1) }).await;
    world.until_nothing_is_held(&[]).await;
    assert_eq!(count(&mut world, 2).await, 1.0);
    world.command(&TaskCommand::Refuse { key: train(2), code: Code::Late, reason: String::new() }).await;
    world.until_nothing_is_held(&[]).await;
    assert_eq!(count(&mut world, 3).await, 1.0, "the update of round 2 was not accepted");
    // the result waits for its answer while the client dies
    world.stop_client().await;
    world.start_client().await;
    world.done(&train(3)).await;
    world.command(&TaskCommand::Ack { key: train(3) }).await;
    world.until_nothing_is_held(&[]).await;
    assert_eq!(count(&mut world, 4).await, 2.0);
}

#[tokio::test]
async fn progress_reaches_the_server_while_the_script_runs() {
    let mut world = site(
        "
json.dump({'done': 0.4, 'message': 'epoch 2 of 5', 'metrics': {'loss': 0.5}}, open(W + '/out/p', 'w'))
os.rename(W + '/out/p', W + '/out/progress.json')
while not os.path.exists('../go'): time.sleep(0.02)
commit()
",
    )
    .await;
    run(&world, task(&world, &train(1))).await;
    let progress = world.report_that(|report| matches!(report, TaskReport::Progress { .. })).await;
    let TaskReport::Progress { done, message, metrics, .. } = progress else { panic!() };
    assert_eq!((done, message.as_str(), metrics.get("loss")), (Some(0.4), "epoch 2 of 5", Some(0.5)));
    std::fs::write(world.path("go"), "").unwrap();
    world.done(&train(1)).await;
}

#[tokio::test]
async fn a_torchscript_task_is_done_by_its_own_trainer_with_module_and_parameters() {
    let mut world = site("").await;
    let trainer = r#"cp task.json ../../seen.json; cp ../../local.safetensors weights.safetensors
echo '{"version":1,"outcome":"done","metrics":{"sample_num":30}}' > result.json"#;
    std::fs::write(world.path("torchscript.sh"), trainer).unwrap();
    std::fs::write(world.path("scripts/model.pt"), "module").unwrap();
    let config =
        r#"{"script_path": "scripts", "train": {"entry": "model.pt", "params": {"epochs": 5, "loss": "mse"}}}"#;
    std::fs::write(world.path("task.json"), config).unwrap();
    let parameters = r#"{"epochs": 7}"#.to_owned();
    let optimizer = Some(r#"{"name": "fedprox", "mu": 0.6}"#.to_owned());
    run(&world, TaskOrder { runtime: Runtime::Torchscript, parameters, optimizer, ..task(&world, &train(1)) }).await;
    world.done(&train(1)).await;
    let seen: serde_json::Value = serde_json::from_slice(&std::fs::read(world.path("seen.json")).unwrap()).unwrap();
    assert_eq!(seen["task_entry"], world.path("scripts/model.pt").to_str().unwrap());
    assert_eq!(seen["parameters"], serde_json::json!({"epochs": 7, "loss": "mse"}));
    assert_eq!(seen["optimizer"], serde_json::json!({"name": "fedprox", "mu": 0.6}));
}
