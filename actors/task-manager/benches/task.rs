//! What a script's task costs on its client beside the script: a client as a process of its own, with its stores on the
//! disk, a hub on loopback, a Python script that changes nothing. Judges nothing; figures are in docs/performance.md.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement that cannot be set up fails")]

#[path = "../tests/world/mod.rs"]
mod world;

use nsfl_messages::wire::{EXPORT_TASKS, TaskCommand, TaskOrder, TaskReport, VERSION};
use nsfl_store::{Owner, put_bytes};
use nsfl_store_posix::{PosixBlobStore, PosixConfig};
use nsfl_store_sled::SledTaskStore;
use nsfl_task_manager::{ProcessConfig, Processes, client_tree};
use nsfl_trainer::launch::Launcher;
use nsfl_transport::{ClientConfig, Credentials, Export, Limits, Redial, connect};
use nsfl_types::{Runtime, TaskKey};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};
use world::{World, order, train, world};

const TASKS: u32 = 15;
const SIZES_MB: [usize; 2] = [10, 100];

/// Reads the model, writes it back, and says how long that took from its first line on.
const SCRIPT: &str = "
import time; begin = time.monotonic()
import json, os, shutil
W = os.environ['TASK_WORKSPACE']
shutil.copyfile(W + '/base.safetensors', W + '/out/part')
os.rename(W + '/out/part', W + '/out/weights.safetensors')
json.dump({'inside': time.monotonic() - begin}, open(W + '/out/metrics.json', 'w'))
";

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("--warden") => {
            let rest: Vec<_> = std::env::args_os().skip(2).collect();
            std::process::exit(i32::from(nsfl_trainer::launch::warden_main(&rest) != std::process::ExitCode::SUCCESS));
        }
        Some("--client") => runtime().block_on(client(args[1].clone(), Path::new(&args[2]))),
        _ => runtime().block_on(measure()),
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

async fn measure() {
    let start = interpreter();
    println!("the interpreter alone: {:.1} ms, taken off below", start.as_secs_f64() * 1e3);
    println!("model MB | beside the script, ms (median) | least | client's peak MB | idle MB");
    for size in SIZES_MB {
        let mut world = world("").await;
        world.stop_client().await;
        let model = world::model(&vec![0.5; size * 1_000_000 / 4]);
        world.base = put_bytes(&world.hub.blobs, model.into(), &Owner::new("model").unwrap()).await.unwrap();
        let client = Client::start(&world);
        world.report_that(|report| matches!(report, TaskReport::Inventory { .. })).await;
        let idle = client.memory("VmHWM");
        let mut beside: Vec<Duration> = Vec::new();
        for round in 1..=TASKS {
            let key = train(round);
            let began = Instant::now();
            world.command(&TaskCommand::Run(task(&world, &key).into())).await;
            let inside = inside(world.report_that(|r| !matches!(r, TaskReport::Started { .. })).await);
            beside.push(began.elapsed().saturating_sub(inside).saturating_sub(start));
            world.command(&TaskCommand::Ack { key }).await;
        }
        // the first fetches the model, the others have it or fetch it anew: as in a job's rounds
        beside.remove(0);
        beside.sort();
        let ms = |at: usize| beside[at].as_secs_f64() * 1e3;
        let peak = client.memory("VmHWM");
        println!("{size} | {:.1} | {:.1} | {peak:.0} | {idle:.0}", ms(beside.len() / 2), ms(0));
    }
}

fn inside(report: TaskReport) -> Duration {
    match report {
        TaskReport::Done { metrics, .. } => Duration::from_secs_f64(metrics.get("inside").unwrap()),
        other => panic!("{other:?}"),
    }
}

fn task(world: &World, key: &TaskKey) -> TaskOrder {
    TaskOrder { runtime: Runtime::Pytorch, task_entry: "t".into(), datasets: vec![], ..order(key, world.base) }
}

/// From the start of an interpreter that imports the same to its end: the median.
fn interpreter() -> Duration {
    let mut times: Vec<Duration> = (0..15)
        .map(|_| {
            let began = Instant::now();
            let imports = ["-c", "import time, json, os, shutil"];
            assert!(Command::new("python3").args(imports).status().unwrap().success());
            began.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}

struct Client(Child);

impl Client {
    fn start(world: &World) -> Self {
        let folder = world.folder.path();
        let (ca, pair) = world.client_pem();
        for (name, text) in
            [("ca.pem", &ca), ("c.pem", &pair.certificate), ("k.pem", &pair.key), ("train.py", &SCRIPT.into())]
        {
            std::fs::write(folder.join(name), text).unwrap();
        }
        let config = r#"{"script_path": ".", "train": {"command": "python3", "entry": "train.py"}}"#;
        std::fs::write(folder.join("task.json"), config).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        Self(command.arg("--client").arg(world.address()).arg(folder).spawn().unwrap())
    }

    /// In MB.
    fn memory(&self, field: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1000.0
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The client's side, as the node composes it.
async fn client(server: String, folder: &Path) {
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let credentials = Credentials::from_pem(&read("ca.pem"), &read("c.pem"), &read("k.pem")).unwrap();
    let data = folder.join("client");
    let blobs = PosixConfig { root: data.join("blobs"), max_blob_bytes: 1 << 34, fsync: true };
    let mut site = world::site(&data);
    site.info.runtimes = vec![Runtime::Pytorch];
    site.blobs = Arc::new(PosixBlobStore::open(blobs).unwrap());
    site.tasks = Arc::new(SledTaskStore::open(data.join("tasks")).unwrap());
    site.trainer = Arc::new(Processes::new(ProcessConfig {
        tasks: [("t".to_owned(), folder.join("task.json"))].into(),
        launcher: Launcher { program: own(), args: vec!["--warden".into()], cgroups: None },
        ..world::processes(&data)
    }));
    let connection = connect(ClientConfig {
        server,
        credentials,
        claimed: None,
        incarnation: nsfl_actor::now_ms(),
        exports: vec![Export { index: EXPORT_TASKS, name: "tasks".into(), version: VERSION }],
        limits: Limits::default(),
        redial: Redial { first: Duration::from_millis(10), max: Duration::from_millis(100) },
    });
    let _tree = nsfl_actor::Supervisor::start(client_tree(site, connection)).await.unwrap();
    std::future::pending::<()>().await;
}

fn own() -> PathBuf {
    std::env::current_exe().unwrap()
}
