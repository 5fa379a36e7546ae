//! A gateway on loopback between stand-ins: a registry and coordinators that only note what they are told, and
//! clients that are bare links with certificates of their own.

#![allow(dead_code, unreachable_pub, reason = "each test program uses its part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use nsfl_actor::{Address, ChildSpec, Context, Directory, Failure, Next, Restart, Role, Supervisor, SupervisorSpec};
use nsfl_gateway::{GatewayConfig, gateway_tree};
use nsfl_messages::wire::{self, EXPORT_TASKS, TaskCommand, TaskOrder};
use nsfl_messages::{CoordinatorMsg, GatewayMsg, SelectorMsg};
use nsfl_store::memory::MemoryBlobStore;
use nsfl_store::{Owner, put_bytes};
use nsfl_transport::provision::{Authority, PemPair, Validity};
use nsfl_transport::{
    BlobClient, ClientConfig, Credentials, Delivery, Export, Limits, Link, LinkEvent, LinkEvents, Liveness, Redial,
    ServerConfig, connect,
};
use nsfl_types::{BlobRef, ClientId, JobKey, Resource, Runtime, TaskKey, TaskKind};
use serde::Serialize;
use serde_json::Value;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

pub const MAX_UPDATE: u64 = 1 << 20;

/// Each client is a process started later than those before.
static STARTS: AtomicU64 = AtomicU64::new(1);

/// Notes what it is told.
pub struct Notes<M>(mpsc::UnboundedSender<M>);

impl<M: Send + 'static> Role for Notes<M> {
    type Msg = M;
    type Args = mpsc::UnboundedSender<M>;
    const KIND: &'static str = "notes";

    async fn start(args: Self::Args, _: &Context<M>) -> Result<Self, Failure> {
        Ok(Self(args))
    }

    async fn handle(&mut self, msg: M, _: &Context<M>) -> Result<Next, Failure> {
        let _ = self.0.send(msg);
        Ok(Next::Continue)
    }

    fn observe(&self) -> Value {
        Value::Null
    }
}

pub struct World {
    pub tree: Supervisor,
    pub gateway: Address<GatewayMsg>,
    pub selector: mpsc::UnboundedReceiver<SelectorMsg>,
    pub coordinators: Directory<JobKey, CoordinatorMsg>,
    pub blobs: Arc<MemoryBlobStore>,
    pub config: GatewayConfig,
    pub at: SocketAddr,
    pub authority: Authority,
}

pub struct Client {
    pub link: Link,
    pub events: LinkEvents,
    pub blobs: BlobClient,
}

/// A client whose runtime can be brought to a stop, as SIGSTOP does to a process.
pub struct Frozen {
    pub link: Link,
    gate: std::sync::mpsc::Sender<std::sync::mpsc::Receiver<()>>,
    thaw: std::sync::Mutex<Option<std::sync::mpsc::Sender<()>>>,
}

impl Frozen {
    pub fn send<T: Serialize>(&self, export: u16, message: &T) {
        self.link.try_send(export, wire::encode(message).into(), Delivery::AtLeastOnce).unwrap();
    }

    pub fn freeze(&self) {
        let (thaw, until) = std::sync::mpsc::channel();
        *self.thaw.lock().unwrap() = Some(thaw);
        self.gate.send(until).unwrap();
    }

    pub fn thaw(&self) {
        self.thaw.lock().unwrap().take();
    }
}

/// A guard against hanging, not a measurement.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.unwrap_or_else(|_| panic!("{what} did not happen"))
}

pub async fn world() -> World {
    world_with(Liveness::default()).await
}

pub async fn world_with(liveness: Liveness) -> World {
    let authority = Authority::create("lab", validity()).unwrap();
    let server = authority.issue_server(&"hub".parse().unwrap(), validity()).unwrap();
    let (told, selector) = mpsc::unbounded_channel();
    let registry = Address::new("selector", 64);
    let blobs = Arc::new(MemoryBlobStore::default());
    let config = GatewayConfig {
        server: ServerConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            credentials: credentials(&authority, &server),
            limits: Limits::default(),
            liveness,
        },
        blobs: blobs.clone(),
        selector: registry.clone(),
        coordinators: Directory::new(),
        max_update_bytes: MAX_UPDATE,
        uploads: 2,
        upload_wait: Duration::from_secs(5),
        carrier: None,
        local: Arc::new(watch::Sender::new(None)),
    };
    let gateway = Address::new("gateway", 64);
    let spec = SupervisorSpec::new("server")
        .child(ChildSpec::role::<Notes<SelectorMsg>>("selector", &registry, told, Restart::Permanent))
        .child(ChildSpec::supervisor(gateway_tree(config.clone(), &gateway), Restart::Permanent));
    let tree = Supervisor::start(spec).await.unwrap();
    let at = config.local.borrow().expect("the gateway has started, so it listens");
    World { tree, gateway, selector, coordinators: config.coordinators.clone(), blobs, config, at, authority }
}

impl World {
    /// Dials as this client; returns once the link is up.
    pub async fn client(&self, name: &str) -> Client {
        let mut client = self.dial(name);
        let up = soon("the link", client.events.recv()).await;
        assert!(matches!(up, Some(LinkEvent::Up { .. })), "{up:?}");
        client
    }

    /// The same, on a thread of its own that can be frozen.
    pub async fn freezable(&self, name: &str) -> Frozen {
        let (up, is_up) = tokio::sync::oneshot::channel();
        let (gate, commands) = std::sync::mpsc::channel::<std::sync::mpsc::Receiver<()>>();
        let (name, dialled) = (name.to_owned(), self.dialling(name));
        std::thread::Builder::new()
            .name(name)
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async move {
                    let mut client = dialled();
                    let seen = soon("the link", client.events.recv()).await;
                    assert!(matches!(seen, Some(LinkEvent::Up { .. })), "{seen:?}");
                    let _ = up.send(client.link.clone());
                    // the one thread of this client's runtime, blocked: nothing of the client goes on
                    loop {
                        match commands.try_recv() {
                            Ok(until) => _ = until.recv(),
                            Err(std::sync::mpsc::TryRecvError::Disconnected) => return,
                            Err(std::sync::mpsc::TryRecvError::Empty) => {
                                tokio::time::sleep(Duration::from_millis(5)).await;
                            }
                        }
                    }
                });
            })
            .unwrap();
        Frozen { link: soon("the link", is_up).await.unwrap(), gate, thaw: std::sync::Mutex::default() }
    }

    pub fn dial(&self, name: &str) -> Client {
        self.dialling(name)()
    }

    fn dialling(&self, name: &str) -> impl FnOnce() -> Client + Send + use<> {
        let pair = self.authority.issue_client(&name.parse().unwrap(), validity()).unwrap();
        let config = ClientConfig {
            server: self.at.to_string(),
            credentials: credentials(&self.authority, &pair),
            claimed: None,
            incarnation: STARTS.fetch_add(1, Ordering::Relaxed),
            exports: vec![Export { index: EXPORT_TASKS, name: "tasks".into(), version: wire::VERSION }],
            limits: Limits::default(),
            redial: Redial::default(),
        };
        move || {
            let (link, events, blobs) = connect(config);
            Client { link, events, blobs }
        }
    }

    /// A job whose coordinator notes what it is told.
    pub async fn job(&self, id: &str) -> mpsc::UnboundedReceiver<CoordinatorMsg> {
        let (told, notes) = mpsc::unbounded_channel();
        let address = Address::new(format!("jobs/{id}"), 64);
        let child = ChildSpec::role::<Notes<CoordinatorMsg>>(id, &address, told, Restart::Temporary);
        self.tree.start_child(child).await.unwrap();
        self.coordinators.insert(job(id), address);
        notes
    }

    pub async fn to_client(&self, client: &str, command: TaskCommand) {
        let client: ClientId = client.parse().unwrap();
        self.gateway.tell(GatewayMsg::ToClient { client, command }).await.unwrap();
    }

    /// What the gateway tells of itself, once what it was told before is done.
    pub async fn view(&self) -> Value {
        soon("observe", self.gateway.observe(Duration::from_secs(5))).await.unwrap().detail
    }

    /// Waits until the gateway's view is so.
    pub async fn until(&self, what: &str, so: impl Fn(&Value) -> bool) {
        soon(what, async {
            while !so(&self.view().await) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    pub async fn put(&self, bytes: &'static [u8]) -> BlobRef {
        put_bytes(self.blobs.as_ref(), bytes.into(), &Owner::new("model").unwrap()).await.unwrap()
    }
}

impl Client {
    pub fn send<T: Serialize>(&self, export: u16, message: &T) {
        self.link.try_send(export, wire::encode(message).into(), Delivery::AtLeastOnce).unwrap();
    }

    /// The next command that comes in.
    pub async fn command(&mut self) -> TaskCommand {
        loop {
            match soon("a command", self.events.recv()).await {
                Some(LinkEvent::Message(incoming)) => {
                    let command = wire::decode(&incoming.payload).unwrap();
                    incoming.done();
                    return command;
                }
                Some(_) => {}
                None => panic!("the link is closed"),
            }
        }
    }
}

pub fn job(id: &str) -> JobKey {
    JobKey::new("default".parse().unwrap(), id.parse().unwrap())
}

pub fn key(id: &str, client: &str, round: u32) -> TaskKey {
    TaskKey { job: job(id), run: 1, round, attempt: 1, kind: TaskKind::Train, client: client.parse().unwrap() }
}

pub fn run(key: TaskKey, base: BlobRef) -> TaskCommand {
    TaskCommand::Run(
        TaskOrder {
            key,
            base,
            runtime: Runtime::Builtin,
            task_entry: "echo".into(),
            scripts: None,
            inputs: None,
            author: String::new(),
            optimizer: None,
            compression: None,
            parameters: "{}".into(),
            datasets: vec![],
            resource: Resource { worker_num: 1, cpu: 1.0, gpu: 0.0, memory_mb: 1.0 },
            seed: 1,
            timeout_ms: 60_000,
        }
        .into(),
    )
}

fn validity() -> Validity {
    Validity::days(time::OffsetDateTime::now_utc(), 1)
}

fn credentials(authority: &Authority, pair: &PemPair) -> Credentials {
    Credentials::from_pem(&authority.pem().certificate, &pair.certificate, &pair.key).unwrap()
}
