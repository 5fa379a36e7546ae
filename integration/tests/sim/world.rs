//! One simulated federation: a server's and its clients' real actors, wired as `nsfl-node` wires them, on disks that last
//! and a network that does not. It starts nodes and ends them; what happens when is decided elsewhere.

use crate::dice::{Dice, NodeLife};
use crate::disk::{Disk, Mounted};
use crate::learning::{CLIENTS, SimTrainer, initial};
use crate::net::Net;
use crate::oracle::Oracle;
use crate::trace::Trace;
use nsfl_actor::{Address, ChildSpec, Directory, Restart, Simulation, Strategy, Supervisor, SupervisorSpec, now_ms};
use nsfl_aggregate::Rules;
use nsfl_coordinator::{AggregationConfig, CoordinatorStarter, ExtenderConfig, Surroundings};
use nsfl_gateway::{GatewayConfig, gateway_tree};
use nsfl_messages::SchedulerMsg;
use nsfl_messages::wire::{ClientInfo, EXPORT_TASKS, VERSION};
use nsfl_scheduler::{Scheduler, SchedulerArgs};
use nsfl_selector::{Selector, SelectorArgs};
use nsfl_store::memory::{MemoryAccessStore, MemoryBlobStore, MemoryJobStore, MemoryTaskStore};
use nsfl_store::{BlobStore, JobStore};
use nsfl_task_manager::{Admission, SiteConfig, client_tree};
use nsfl_trainer::TrainerCommand;
use nsfl_transport::provision::{Authority, Validity};
use nsfl_transport::{ClientConfig, Credentials, Export, Limits, Liveness, Redial, ServerConfig, connect_over};
use nsfl_types::{Namespace, Resource, Runtime};
use nsfl_workflow::RetryPolicy;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::watch;

pub const SERVER: &str = "server";
pub const MAX_TASKS: u32 = 2;
const MAILBOX: usize = 4096;
const EXPIRY: Duration = Duration::from_secs(20);

pub struct World {
    pub simulation: Simulation,
    pub dice: Dice,
    pub trace: Trace,
    pub net: Net,
    pub oracle: Oracle,
    pub jobs: Arc<MemoryJobStore>,
    blobs: Arc<MemoryBlobStore>,
    pub scheduler: Option<Address<SchedulerMsg>>,
    pub disks: BTreeMap<String, Arc<Disk>>,
    tasks: BTreeMap<String, Arc<MemoryTaskStore>>,
    site_blobs: BTreeMap<String, Arc<MemoryBlobStore>>,
    lives: BTreeMap<String, NodeLife>,
    storage: tempfile::TempDir,
    pub failing: u64,
}

impl World {
    pub fn new(seed: u64, clients: usize, print: bool) -> Self {
        let simulation = Simulation::enter(seed, 1_800_000_000_000);
        let (dice, trace) = (Dice::new(seed), Trace::new(print));
        let names: Vec<String> = (0..clients).map(|n| format!("c{n}")).collect();
        let (jobs, blobs) = (Arc::new(MemoryJobStore::default()), Arc::new(MemoryBlobStore::default()));
        let tasks: BTreeMap<_, _> = names.iter().map(|n| (n.clone(), Arc::new(MemoryTaskStore::default()))).collect();
        let oracle = Oracle::new(trace.clone(), jobs.clone(), blobs.clone(), tasks.clone(), MAX_TASKS as usize);
        let disk = |node: &str| (node.to_owned(), Disk::new(node, dice.clone(), trace.clone(), oracle.clone()));
        let disks = names.iter().map(String::as_str).chain([SERVER]).map(disk).collect();
        let storage = in_memory_folder();
        std::fs::create_dir_all(storage.path().join("default")).unwrap();
        std::fs::write(storage.path().join("default/m.safetensors"), initial()).unwrap();
        Self {
            net: Net::new(dice.clone(), trace.clone(), oracle.clone()),
            site_blobs: names.iter().map(|n| (n.clone(), Arc::new(MemoryBlobStore::default()))).collect(),
            simulation,
            dice,
            trace,
            oracle,
            jobs,
            blobs,
            scheduler: None,
            disks,
            tasks,
            lives: BTreeMap::new(),
            storage,
            failing: 0,
        }
    }

    /// Every node, clients first.
    pub fn nodes(&self) -> Vec<String> {
        self.disks.keys().cloned().collect()
    }

    pub fn clients(&self) -> Vec<String> {
        self.tasks.keys().cloned().collect()
    }

    /// Whether the node was started and its tree has not given up.
    pub fn is_up(&self, node: &str) -> bool {
        self.lives.contains_key(node) && self.simulation.lives().iter().any(|life| life.node == node)
    }

    pub async fn start(&mut self, node: &str) {
        self.crash(node).await;
        let life = NodeLife::begin(node);
        self.trace.note(format_args!("{node} starts"));
        self.lives.insert(node.to_owned(), life.clone());
        self.simulation.on_node(node);
        let root = if node == SERVER { self.server(&life) } else { self.client(&life) };
        let started = Supervisor::start(root).await;
        if let Err(failure) = started {
            self.trace.note(format_args!("{node} does not start: {failure}"));
            self.crash(node).await;
        }
    }

    /// At once and without a word, as a power cut.
    pub async fn crash(&mut self, node: &str) {
        let Some(life) = self.lives.remove(node) else { return };
        self.trace.note(format_args!("{node} crashes"));
        life.end();
        self.net.node_died(&life);
        if node == SERVER {
            self.scheduler = None;
        }
        for life in self.simulation.lives().iter().filter(|life| life.node == node) {
            self.simulation.kill(life.number);
        }
        // the dead are gone before anyone takes their place
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    /// What nobody owns goes, as the server's sweeper has it.
    pub fn sweep(&self) {
        let swept = crate::oracle::now(self.blobs.sweep(Duration::from_secs(600)));
        self.trace.note(format_args!("swept: {:?}", swept.ok()));
    }

    fn mounted<S>(&self, inner: &Arc<S>, life: &NodeLife) -> Mounted<S> {
        Mounted { inner: inner.clone(), disk: self.disks[life.node()].clone(), life: life.clone() }
    }

    fn server(&mut self, life: &NodeLife) -> SupervisorSpec {
        let store: Arc<dyn JobStore> = Arc::new(self.mounted(&self.jobs, life));
        let blobs: Arc<dyn BlobStore> = Arc::new(self.mounted(&self.blobs, life));
        let selector = Address::new("selector", MAILBOX);
        let scheduler = Address::new("core/scheduler", MAILBOX);
        let gateway = Address::new("gateway/gateway", MAILBOX);
        let coordinators = Directory::new();
        let jobs = Supervisor::unbound("core/jobs");
        self.scheduler = Some(scheduler.clone());

        let selector_args = SelectorArgs {
            scheduler: scheduler.clone(),
            access: Arc::new(MemoryAccessStore::default()),
            expiry_ms: EXPIRY.as_millis() as u64,
        };
        let surroundings = Surroundings {
            store: store.clone(),
            blobs: blobs.clone(),
            scheduler: scheduler.clone(),
            selector: selector.clone(),
            gateway: gateway.clone(),
            storage: self.storage.path().to_owned(),
            scratch: self.storage.path().join("scratch"),
            trainer: no_process(),
            link_grace: Duration::from_secs(15),
            retry: RetryPolicy { max_attempts: 1000, backoff_base_ms: 200, backoff_max_ms: 5_000 },
            aggregation: AggregationConfig { memory_bytes: 64 << 20, keep_rounds: 0 },
            rules: Rules::default(),
            extender: ExtenderConfig {
                enabled: false,
                python: "python3".into(),
                timeout: Duration::from_secs(60),
                memory_bytes: 1 << 30,
            },
            live: Arc::new(drop),
        };
        let starter = CoordinatorStarter::new(jobs.clone(), coordinators.clone(), surroundings);
        let jobs = starter.supervisor();
        let scheduler_args = SchedulerArgs {
            store,
            blobs: blobs.clone(),
            selector: selector.clone(),
            starter: Arc::new(starter),
            namespaces: vec![namespace()],
            rules: Rules::default(),
            storage: self.storage.path().to_owned(),
            max_running: 4,
        };
        let core = SupervisorSpec::new("core")
            .strategy(Strategy::RestForOne)
            .child(ChildSpec::supervisor(jobs, Restart::Permanent))
            .child(ChildSpec::role::<Scheduler>("scheduler", &scheduler, scheduler_args, Restart::Permanent));
        let gateway_config = GatewayConfig {
            server: ServerConfig {
                listen: ([127, 0, 0, 1], 0).into(),
                credentials: identities().server.clone(),
                limits: limits(),
                liveness: Liveness {
                    heartbeat: Duration::from_secs(2),
                    unreachable: Duration::from_secs(5),
                    ttl: EXPIRY,
                },
            },
            blobs,
            access: Arc::new(MemoryAccessStore::default()),
            selector: selector.clone(),
            coordinators,
            max_update_bytes: 1 << 20,
            uploads: 2,
            upload_wait: Duration::from_secs(5),
            carrier: Some(self.net.carrier(life)),
            local: Arc::new(watch::Sender::new(None)),
        };
        SupervisorSpec::new(SERVER)
            .child(ChildSpec::role::<Selector>("selector", &selector, selector_args, Restart::Permanent))
            .child(ChildSpec::supervisor(core, Restart::Permanent))
            .child(ChildSpec::supervisor(gateway_tree(gateway_config, &gateway), Restart::Permanent))
    }

    fn client(&self, life: &NodeLife) -> SupervisorSpec {
        let name = life.node();
        let blobs: Arc<dyn BlobStore> = Arc::new(self.mounted(&self.site_blobs[name], life));
        let trainer = SimTrainer {
            life: life.clone(),
            blobs: blobs.clone(),
            dice: self.dice.clone(),
            oracle: self.oracle.clone(),
            failing: self.failing,
        };
        let site = SiteConfig {
            observable: false,
            info: ClientInfo {
                client: name.parse().unwrap(),
                address: "10.0.0.1".into(),
                os: "linux".into(),
                version: "0".into(),
                runtimes: vec![Runtime::Builtin],
                label: String::new(),
                max_tasks: MAX_TASKS,
                resource: Resource { worker_num: 1, cpu: 1.0, gpu: 0.0, memory_mb: 1024.0 },
                datasets: BTreeMap::new(),
            },
            heartbeat: Duration::from_secs(3),
            workspace: self.storage.path().join("workspace"),
            residuals: self.storage.path().join("residuals"),
            admission: Admission::default(),
            trainer: Arc::new(trainer),
            datasets: BTreeMap::new(),
            blobs,
            tasks: Arc::new(self.mounted(&self.tasks[name], life)),
            sweep: Duration::from_secs(10),
        };
        let ids = identities();
        let credentials = ids.clients[name].clone();
        let dial = self.net.dial(life, credentials.identity().clone(), ids.server.identity().clone());
        let connection = connect_over(
            dial,
            ClientConfig {
                server: String::new(),
                credentials,
                claimed: None,
                incarnation: now_ms(),
                exports: vec![Export { index: EXPORT_TASKS, name: "tasks".into(), version: VERSION }],
                limits: limits(),
                redial: Redial { first: Duration::from_millis(50), max: Duration::from_secs(2) },
            },
        );
        client_tree(site, connection)
    }
}

pub fn namespace() -> Namespace {
    "default".parse().unwrap()
}

fn limits() -> Limits {
    Limits {
        chunk_bytes: 64,
        handshake: Duration::from_secs(3),
        blob_idle: Duration::from_secs(5),
        ..Limits::default()
    }
}

/// No task and no model is made by a process here.
fn no_process() -> TrainerCommand {
    TrainerCommand { program: PathBuf::from("/nonexistent/no-process-in-a-simulation"), args: Vec::new() }
}

struct Identities {
    server: Credentials,
    clients: BTreeMap<String, Credentials>,
}

/// Made once for all simulations: who is who does not depend on the seed.
fn identities() -> &'static Identities {
    static MADE: OnceLock<Identities> = OnceLock::new();
    MADE.get_or_init(|| {
        let validity = || Validity::days(time::OffsetDateTime::now_utc(), 1);
        let authority = Authority::create("lab", validity()).unwrap();
        let credentials = |pair: nsfl_transport::provision::PemPair| {
            Credentials::from_pem(&authority.pem().certificate, &pair.certificate, &pair.key).unwrap()
        };
        let client = |n: usize| {
            let name = format!("c{n}");
            let pair = authority.issue_client(&name.parse().unwrap(), validity()).unwrap();
            (name, credentials(pair))
        };
        let server = credentials(authority.issue_server(&"hub".parse().unwrap(), validity()).unwrap());
        Identities { server, clients: (0..CLIENTS).map(client).collect() }
    })
}

/// A folder that needs no disk, where there is such.
fn in_memory_folder() -> tempfile::TempDir {
    let shared_memory = std::path::Path::new("/dev/shm");
    if shared_memory.is_dir() { tempfile::tempdir_in(shared_memory) } else { tempfile::tempdir() }.unwrap()
}
