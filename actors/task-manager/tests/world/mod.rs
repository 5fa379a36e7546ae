//! A client on loopback against a stand-in for the server: a bare transport server that notes what it is told, hands
//! out one model and takes every upload. Trainers are shell scripts.

#![allow(dead_code, unreachable_pub, reason = "each test program uses its part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use async_trait::async_trait;
use bytes::Bytes;
use nsfl_actor::Supervisor;
use nsfl_messages::wire::{
    self, ClientInfo, EXPORT_REGISTRY, EXPORT_TASKS, RegistryReport, TaskCommand, TaskOrder, TaskReport,
};
use nsfl_store::memory::{MemoryBlobStore, MemoryTaskStore};
use nsfl_store::{BlobStore, BlobWriter, Owner, put_bytes};
use nsfl_task_manager::{Admission, ProcessConfig, Processes, ScriptRules, SiteConfig, client_tree};
use nsfl_tensor::{DType, Layout};
use nsfl_trainer::TrainerCommand;
use nsfl_trainer::launch::Launcher;
use nsfl_transport::provision::{Authority, PemPair, Validity};
use nsfl_transport::{
    BlobService, ClientConfig, Credentials, Delivery, Export, Limits, Link, LinkAcceptor, LinkEvent, LinkEvents,
    Liveness, PeerId, Redial, Refusal, Server, ServerConfig, connect, serve,
};
use nsfl_types::{BlobRef, Code, Digest, JobKey, Resource, Runtime, TaskKey, TaskKind};
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;

/// What the client told, in order.
#[derive(Debug, PartialEq)]
pub enum Heard {
    Registry(RegistryReport),
    Task(TaskReport),
}

/// The server's side.
pub struct Hub {
    pub blobs: MemoryBlobStore,
    /// Bytes of blobs that were read.
    pub read: AtomicU64,
    link: Mutex<Option<Link>>,
    told: mpsc::UnboundedSender<Heard>,
}

pub struct World {
    pub hub: Arc<Hub>,
    pub heard: mpsc::UnboundedReceiver<Heard>,
    pub site: SiteConfig,
    pub blobs: Arc<MemoryBlobStore>,
    pub base: BlobRef,
    pub tree: Option<Supervisor>,
    pub folder: tempfile::TempDir,
    server: Option<Server>,
    at: SocketAddr,
    authority: Authority,
}

/// The global model, what a trainer makes of it, and the difference.
pub const BASE: [f32; 3] = [1.0, 2.0, 3.0];
pub const LOCAL: [f32; 3] = [1.5, 2.0, 2.0];
pub const DELTA: [f32; 3] = [0.5, 0.0, -1.0];

/// Hands in `LOCAL`.
pub const TRAINS: &str = r#"cp ../../local.safetensors weights.safetensors
echo '{"version":1,"outcome":"done","metrics":{"sample_num":30}}' > result.json"#;
/// The same once the file `go` is there.
pub const TRAINS_ON_GO: &str = r#"while [ ! -e ../../go ]; do sleep 0.02; done
cp ../../local.safetensors weights.safetensors
echo '{"version":1,"outcome":"done","metrics":{"sample_num":30}}' > result.json"#;

/// A guard against hanging, not a measurement.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.unwrap_or_else(|_| panic!("{what} did not happen"))
}

/// A client that is up and has said what it holds: nothing.
pub async fn world(script: &str) -> World {
    world_with(script, |_| {}).await
}

pub async fn world_with(script: &str, adjust: impl FnOnce(&mut SiteConfig)) -> World {
    let authority = Authority::create("lab", validity()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("trainer.sh"), script).unwrap();
    std::fs::write(folder.path().join("local.safetensors"), model(&LOCAL)).unwrap();
    let (told, heard) = mpsc::unbounded_channel();
    let hub = Hub { blobs: MemoryBlobStore::default(), read: AtomicU64::new(0), link: Mutex::default(), told };
    let hub = Arc::new(hub);
    let owner = Owner::new("model").unwrap();
    let base = put_bytes(&hub.blobs, model(&BASE).into(), &owner).await.unwrap();
    let blobs = Arc::new(MemoryBlobStore::default());
    let mut site = SiteConfig { blobs: blobs.clone(), ..site(folder.path()) };
    adjust(&mut site);
    let mut world = World {
        hub,
        heard,
        site,
        blobs,
        base,
        tree: None,
        folder,
        server: None,
        at: "127.0.0.1:0".parse().unwrap(),
        authority,
    };
    world.start_server().await;
    world.start_client().await;
    assert_eq!(world.report().await, TaskReport::Inventory { tasks: vec![] });
    world
}

/// A client that keeps all in memory but its tasks' folders, which are below this one.
pub fn site(folder: &Path) -> SiteConfig {
    SiteConfig {
        info: info(),
        heartbeat: Duration::from_millis(50),
        workspace: folder.join("tasks"),
        residuals: folder.join("residuals"),
        trainer: Arc::new(Processes::new(processes(folder))),
        datasets: [("digits".to_owned(), PathBuf::from("/dev/null"))].into(),
        blobs: Arc::new(MemoryBlobStore::default()),
        tasks: Arc::new(MemoryTaskStore::default()),
        sweep: Duration::from_millis(50),
        admission: Admission::default(),
    }
}

impl World {
    /// The authority's certificate and the client's pair, for a client that is another process.
    pub fn client_pem(&self) -> (String, PemPair) {
        let pair = self.authority.issue_client(&"c1".parse().unwrap(), validity()).unwrap();
        (self.authority.pem().certificate.clone(), pair)
    }

    /// Where the server listens.
    pub fn address(&self) -> String {
        self.at.to_string()
    }

    pub async fn start_server(&mut self) {
        let pair = self.authority.issue_server(&"hub".parse().unwrap(), validity()).unwrap();
        let config = ServerConfig {
            listen: self.at,
            credentials: self.credentials(&pair),
            limits: Limits::default(),
            liveness: Liveness::default(),
        };
        // the server before may still hold the address for a moment
        let server = soon("a server", async {
            loop {
                match serve(config.clone(), self.hub.clone(), self.hub.clone()).await {
                    Ok(server) => return server,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        })
        .await;
        self.at = server.local_addr();
        self.server = Some(server);
    }

    /// Ends the server with all it knows of links.
    pub async fn stop_server(&mut self) {
        self.server.take().unwrap().shutdown(Duration::ZERO).await;
        *self.hub.link.lock().unwrap() = None;
    }

    pub async fn start_client(&mut self) {
        let (_, pair) = self.client_pem();
        let connection = connect(ClientConfig {
            server: self.at.to_string(),
            credentials: self.credentials(&pair),
            claimed: None,
            incarnation: nsfl_actor::now_ms(),
            exports: vec![Export { index: EXPORT_TASKS, name: "tasks".into(), version: wire::VERSION }],
            limits: Limits::default(),
            redial: Redial { first: Duration::from_millis(10), max: Duration::from_millis(100) },
        });
        self.tree = Some(Supervisor::start(client_tree(self.site.clone(), connection)).await.unwrap());
    }

    /// Ends the client's actors as its node's end would; records and blobs stay.
    pub async fn stop_client(&mut self) {
        self.tree.take().unwrap().shutdown(Duration::from_secs(10)).await;
    }

    pub async fn command(&self, command: &TaskCommand) {
        let link = self.hub.link.lock().unwrap().clone().expect("a client is linked");
        let payload = Bytes::from(wire::encode(command));
        link.send(EXPORT_TASKS, payload, Delivery::AtLeastOnce, Duration::from_secs(10)).await.unwrap();
    }

    pub async fn order(&self, key: &TaskKey) {
        self.command(&TaskCommand::Run(order(key, self.base).into())).await;
    }

    /// The next report on tasks.
    pub async fn report(&mut self) -> TaskReport {
        self.report_that(|_| true).await
    }

    /// The next report that is so; others are passed over.
    pub async fn report_that(&mut self, so: impl Fn(&TaskReport) -> bool) -> TaskReport {
        soon("such a report", async {
            loop {
                match self.heard.recv().await.unwrap() {
                    Heard::Task(report) if so(&report) => return report,
                    _ => {}
                }
            }
        })
        .await
    }

    pub async fn done(&mut self, key: &TaskKey) -> TaskReport {
        let key = key.clone();
        self.report_that(move |report| matches!(report, TaskReport::Done { key: done, .. } if *done == key)).await
    }

    /// Waits until the client holds nothing: no record, no file, no blob.
    pub async fn until_nothing_is_held(&self, blobs: &[Digest]) {
        soon("the end of everything held", async {
            loop {
                let mut held = self.site.tasks.all().await.unwrap().len();
                held += std::fs::read_dir(&self.site.workspace).map_or(0, Iterator::count);
                for digest in blobs {
                    held += usize::from(self.blobs.stat(*digest).await.unwrap().is_some());
                }
                if held == 0 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn credentials(&self, pair: &PemPair) -> Credentials {
        Credentials::from_pem(&self.authority.pem().certificate, &pair.certificate, &pair.key).unwrap()
    }
}

#[async_trait]
impl LinkAcceptor for Hub {
    fn exports(&self, _: &PeerId) -> Result<Vec<Export>, Refusal> {
        let export = |index, name: &str| Export { index, name: name.to_owned(), version: wire::VERSION };
        Ok(vec![export(EXPORT_REGISTRY, "registry"), export(EXPORT_TASKS, "tasks")])
    }

    async fn opened(&self, _: PeerId, link: Link, mut events: LinkEvents) {
        *self.link.lock().unwrap() = Some(link);
        let told = self.told.clone();
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                if let LinkEvent::Message(incoming) = event {
                    let heard = match incoming.export {
                        EXPORT_REGISTRY => Heard::Registry(wire::decode(&incoming.payload).unwrap()),
                        _ => Heard::Task(wire::decode(&incoming.payload).unwrap()),
                    };
                    incoming.done();
                    let _ = told.send(heard);
                }
            }
        });
    }

    fn refused(&self, _: Option<&PeerId>, _: SocketAddr, _: Code, _: &str) {}
}

#[async_trait]
impl BlobService for Hub {
    async fn read(&self, _: &PeerId, digest: Digest) -> Result<Bytes, Refusal> {
        let bytes = self.blobs.open(digest).await?;
        self.read.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(bytes)
    }

    async fn write(&self, peer: &PeerId, blob: BlobRef) -> Result<(Box<dyn BlobWriter>, Owner), Refusal> {
        Ok((self.blobs.begin(peer.name.as_str(), blob).await?, Owner::new("uploads").unwrap()))
    }

    async fn held(&self, peer: &PeerId, digest: Digest) -> Result<u64, Refusal> {
        Ok(self.blobs.held(peer.name.as_str(), digest).await?)
    }
}

pub fn model(values: &[f32]) -> Vec<u8> {
    let mut file = Layout::new([("w".to_owned(), DType::F32, vec![values.len()])]).unwrap().header_bytes();
    values.iter().for_each(|value| file.extend_from_slice(&value.to_le_bytes()));
    file
}

pub fn key(round: u32, kind: TaskKind) -> TaskKey {
    let job = JobKey::new("default".parse().unwrap(), "j".parse().unwrap());
    TaskKey { job, run: 1, round, attempt: 1, kind, client: "c1".parse().unwrap() }
}

pub fn train(round: u32) -> TaskKey {
    key(round, TaskKind::Train)
}

pub fn order(key: &TaskKey, base: BlobRef) -> TaskOrder {
    TaskOrder {
        key: key.clone(),
        base,
        runtime: Runtime::Builtin,
        task_entry: "echo".into(),
        scripts: None,
        inputs: None,
        author: String::new(),
        optimizer: None,
        compression: None,
        parameters: "{}".into(),
        datasets: vec!["digits".into()],
        resource: info().resource,
        seed: 1,
        timeout_ms: 60_000,
    }
}

/// A trainer that runs `trainer.sh` of this folder for its builtin tasks.
pub fn processes(folder: &Path) -> ProcessConfig {
    let shell = |name: &str| TrainerCommand {
        program: PathBuf::from("/bin/sh"),
        args: vec![folder.join(name).to_str().unwrap().to_owned()],
    };
    // beside the tests, see examples/warden.rs
    let tests = std::env::current_exe().unwrap();
    let warden = tests.parent().and_then(Path::parent).unwrap().join("examples/warden");
    ProcessConfig {
        builtin: shell("trainer.sh"),
        torchscript: shell("torchscript.sh"),
        launcher: Launcher { program: warden, args: Vec::new(), cgroups: None },
        tasks: [].into(),
        data: folder.join("data"),
        scripts: ScriptRules { grace: Duration::from_millis(200), ..ScriptRules::default() },
    }
}

/// Whether a process runs: there, and no zombie.
pub fn runs(pid: &str) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.trim()).join("stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z ") && !stat.contains(") X "))
}

/// The text of a file as soon as there is one.
pub async fn read_when_there(path: &Path) -> String {
    soon("a file", async {
        loop {
            match std::fs::read_to_string(path) {
                Ok(text) if text.ends_with('\n') => return text,
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    })
    .await
}

fn info() -> ClientInfo {
    ClientInfo {
        client: "c1".parse().unwrap(),
        address: "here".into(),
        os: "linux".into(),
        version: "0".into(),
        runtimes: vec![Runtime::Builtin],
        label: String::new(),
        max_tasks: 1,
        resource: Resource { worker_num: 1, cpu: 1.0, gpu: 0.0, memory_mb: 1000.0 },
        datasets: [("digits".to_owned(), 30)].into(),
    }
}

fn validity() -> Validity {
    Validity::days(time::OffsetDateTime::now_utc(), 1)
}
