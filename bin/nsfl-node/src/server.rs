//! `server`: opens the stores, wires the roles' addresses, starts the tree.
//!
//! ```text
//! server ─┬─ selector
//!         ├─ core ─┬─ jobs ── <namespace>/<job> ─┬─ aggregator
//!         │        │                             ├─ extender, when the job has one
//!         │        │                             └─ coordinator
//!         │        └─ scheduler
//!         ├─ gateway ─┬─ sessions ── <client>
//!         │           └─ gateway
//!         ├─ sweeper
//!         └─ api-server
//! ```
//! A failed supervisor `jobs` takes the scheduler with it (rest for one), which starts every running job's
//! coordinator again. The gateway listens after the coordinators are there, so that a client that comes back finds
//! its job.

use crate::backup::Backups;
use crate::cli::ServerArgs;
use crate::sweeper::{Sweeper, SweeperArgs};
use crate::{check, exit, newer, node};
use nsfl_actor::{Address, ChildSpec, Directory, Restart, Strategy, Supervisor, SupervisorSpec};
use nsfl_aggregate::Rules;
use nsfl_api_server::{ApiServer, ApiServerArgs};
use nsfl_config::ServerConfig;
use nsfl_coordinator::{AggregationConfig, CoordinatorStarter, ExtenderConfig, Surroundings};
use nsfl_gateway::{GatewayConfig, gateway_tree};
use nsfl_messages::{CoordinatorMsg, GatewayMsg, LiveEvent, SchedulerMsg, SelectorMsg};
use nsfl_scheduler::{Scheduler, SchedulerArgs};
use nsfl_selector::{Selector, SelectorArgs};
use nsfl_store::{AccessStore, BlobStore, JobStore};
use nsfl_store_posix::{PosixBlobStore, PosixConfig};
use nsfl_store_sqlite::SqliteJobStore;
use nsfl_telemetry::LogTail;
use nsfl_trainer::TrainerCommand;
use nsfl_transport::{Limits, Liveness};
use nsfl_types::JobKey;
use nsfl_workflow::RetryPolicy;
use serde_json::json;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, watch};

/// Room in a role's mailbox: above it senders wait or are told that it is full.
const MAILBOX: usize = 4096;
/// Upper bound for looking at the tree.
const OBSERVE: Duration = Duration::from_secs(2);
/// Live events that a slow reader of a stream may be behind; older ones it misses.
const LIVE: usize = 256;

pub(crate) fn main(args: ServerArgs, rules: Rules) -> anyhow::Result<()> {
    let config = ServerConfig::load(args.config.as_deref(), args.flags())
        .map_err(|e| exit::coded(exit::CONFIG, e.to_string()))?;
    let logs = nsfl_telemetry::init(&config.log)?;
    let _lock = node::lock_folder(&config.data_dir)?;
    let shutdown = config.shutdown_ms.duration();
    let _export = node::export(&config.telemetry, "nsfl-server", "server", &config.federation)?;
    node::run(async {
        let started = start(config, logs, rules).await?;
        let ready = json!({"ready": "server", "rest": started.rest, "link": started.link});
        let fold = async { Ok(started.store.fold_log().await?) };
        node::live(started.root, ready, &args.node, shutdown, fold).await
    })
}

/// A restore that was interrupted has left a part of the state.
fn refuse_unfinished(data_dir: &Path) -> anyhow::Result<()> {
    let left = data_dir.join(nsfl_backup::UNFINISHED);
    if left.exists() {
        let how = "a restore was interrupted: empty the data folder and restore again";
        return Err(exit::coded(exit::DAMAGED, format!("{}: {how}", left.display())));
    }
    Ok(())
}

struct Started {
    root: Supervisor,
    store: Arc<SqliteJobStore>,
    rest: String,
    link: String,
}

/// The addresses of the roles: they outlive the actors behind them, so every role can be given those it needs.
struct Addresses {
    selector: Address<SelectorMsg>,
    scheduler: Address<SchedulerMsg>,
    gateway: Address<GatewayMsg>,
    api: Address<nsfl_api_server::ApiServerMsg>,
    coordinators: Directory<JobKey, CoordinatorMsg>,
    jobs: Supervisor,
    root: Supervisor,
    live: broadcast::Sender<LiveEvent>,
}

async fn start(config: ServerConfig, logs: LogTail, rules: Rules) -> anyhow::Result<Started> {
    let credentials = check::server_credentials(&config)?;
    refuse_unfinished(&config.data_dir)?;
    let database =
        Arc::new(SqliteJobStore::open(config.data_dir.join("nsfl.sqlite"), config.store.fsync).map_err(exit::store)?);
    newer::refuse_jobs(database.as_ref()).await?;
    let store: Arc<dyn JobStore> = database.clone();
    let blobs: Arc<dyn BlobStore> = Arc::new(
        PosixBlobStore::open(PosixConfig {
            root: config.data_dir.join("blobs"),
            max_blob_bytes: config.limits.max_blob_bytes.get(),
            fsync: config.store.fsync,
        })
        .map_err(exit::store)?,
    );
    let access: Arc<dyn AccessStore> = database.clone();
    first_token(&config, access.as_ref()).await?;
    let backups = Backups::new(&config.data_dir, database.clone(), blobs.clone())?;
    let storage = config.data_dir.join("storage");
    for namespace in &config.namespaces {
        std::fs::create_dir_all(storage.join(namespace.as_str()))?;
    }
    let addresses = Addresses {
        selector: Address::new("selector", MAILBOX),
        scheduler: Address::new("core/scheduler", MAILBOX),
        gateway: Address::new("gateway/gateway", MAILBOX),
        api: Address::new("api-server", MAILBOX),
        coordinators: Directory::new(),
        jobs: Supervisor::unbound("core/jobs"),
        root: Supervisor::unbound("server"),
        live: broadcast::channel(LIVE).0,
    };
    let (link, mut link_address) = watch::channel(None);
    let root = SupervisorSpec::new("server")
        .bind(&addresses.root)
        .child(selector(&config, &addresses, &access))
        .child(core(&config, &addresses, &store, &blobs, (storage.clone(), rules)))
        .child(gateway(&config, &addresses, &blobs, &access, credentials, link))
        .child(sweeper(&blobs, &backups))
        .child(api_server(&config, &addresses, &store, access, logs, backups, storage));
    let root = Supervisor::start(root).await.map_err(|failure| exit::failure(&failure, 1))?;
    let link = link_address.wait_for(Option::is_some).await?.map_or_else(String::new, |a: SocketAddr| a.to_string());
    let api = addresses.api.observe(OBSERVE).await;
    let rest = api.and_then(|view| view.detail["address"].as_str().map(str::to_owned)).unwrap_or_default();
    tracing::info!(rest, link, "server ready");
    Ok(Started { root, store: database, rest, link })
}

/// Without one nobody could ask this server, unless this machine needs none.
async fn first_token(config: &ServerConfig, access: &dyn AccessStore) -> anyhow::Result<()> {
    let file = config.data_dir.join("admin.token");
    if config.rest.loopback_without_token {
        return Ok(());
    }
    let made = nsfl_api_server::first_token(access, &file).await.map_err(|failure| exit::failure(&failure, 1))?;
    if made {
        tracing::info!(file = %file.display(), "an admin's token was written");
    }
    Ok(())
}

fn selector(config: &ServerConfig, addresses: &Addresses, access: &Arc<dyn AccessStore>) -> ChildSpec {
    let args = SelectorArgs {
        scheduler: addresses.scheduler.clone(),
        access: access.clone(),
        expiry_ms: config.link.expiry_ms.get(),
    };
    ChildSpec::role::<Selector>("selector", &addresses.selector, args, Restart::Permanent)
}

fn core(
    config: &ServerConfig,
    addresses: &Addresses,
    store: &Arc<dyn JobStore>,
    blobs: &Arc<dyn BlobStore>,
    (storage, rules): (PathBuf, Rules),
) -> ChildSpec {
    let surroundings = Surroundings {
        store: store.clone(),
        blobs: blobs.clone(),
        scheduler: addresses.scheduler.clone(),
        selector: addresses.selector.clone(),
        gateway: addresses.gateway.clone(),
        storage: storage.clone(),
        scratch: config.data_dir.join("scratch"),
        trainer: trainer(),
        link_grace: config.link.unreachable_ms.duration(),
        retry: RetryPolicy {
            max_attempts: config.rounds.retry_attempts.get(),
            backoff_base_ms: config.rounds.retry_base_ms.get(),
            backoff_max_ms: config.rounds.retry_max_ms.get(),
        },
        aggregation: AggregationConfig {
            memory_bytes: config.aggregation.memory_bytes.get(),
            keep_rounds: config.aggregation.keep_rounds,
        },
        rules: rules.clone(),
        extender: ExtenderConfig {
            enabled: config.extender.enabled,
            python: config.extender.python.clone().into(),
            timeout: config.extender.timeout_ms.duration(),
            memory_bytes: config.extender.memory_bytes.get(),
        },
        live: live(addresses.live.clone()),
    };
    let starter = CoordinatorStarter::new(addresses.jobs.clone(), addresses.coordinators.clone(), surroundings);
    let jobs = starter.supervisor();
    let args = SchedulerArgs {
        store: store.clone(),
        blobs: blobs.clone(),
        selector: addresses.selector.clone(),
        starter: Arc::new(starter),
        namespaces: config.namespaces.clone(),
        rules,
        storage,
        max_running: config.limits.max_running_jobs.get() as usize,
    };
    let core = SupervisorSpec::new("core")
        .strategy(Strategy::RestForOne)
        .child(ChildSpec::supervisor(jobs, Restart::Permanent))
        .child(ChildSpec::role::<Scheduler>("scheduler", &addresses.scheduler, args, Restart::Permanent));
    ChildSpec::supervisor(core, Restart::Permanent)
}

fn gateway(
    config: &ServerConfig,
    addresses: &Addresses,
    blobs: &Arc<dyn BlobStore>,
    access: &Arc<dyn AccessStore>,
    credentials: nsfl_transport::Credentials,
    link: watch::Sender<Option<SocketAddr>>,
) -> ChildSpec {
    let limits = Limits {
        connections: config.link.max_connections.get() as usize,
        blob_bytes: config.limits.max_blob_bytes.get(),
        ..Limits::default()
    };
    let liveness = Liveness {
        heartbeat: config.link.heartbeat_ms.duration(),
        unreachable: config.link.unreachable_ms.duration(),
        ttl: config.link.expiry_ms.duration(),
    };
    let server = nsfl_transport::ServerConfig { listen: config.link.listen, credentials, limits, liveness };
    let args = GatewayConfig {
        server,
        blobs: blobs.clone(),
        access: access.clone(),
        selector: addresses.selector.clone(),
        coordinators: addresses.coordinators.clone(),
        max_update_bytes: config.limits.max_blob_bytes.get(),
        uploads: config.limits.max_uploads.get() as usize,
        upload_wait: config.limits.max_upload_wait_ms.duration(),
        carrier: None,
        local: Arc::new(link),
    };
    ChildSpec::supervisor(gateway_tree(args, &addresses.gateway), Restart::Permanent)
}

fn sweeper(blobs: &Arc<dyn BlobStore>, backups: &Backups) -> ChildSpec {
    let (every, idle) = (Duration::from_secs(2), Duration::from_secs(600));
    let args = SweeperArgs { blobs: blobs.clone(), sweeping: backups.sweeping(), every, idle };
    ChildSpec::role::<Sweeper>("sweeper", &Address::new("sweeper", 16), args, Restart::Permanent)
}

fn api_server(
    config: &ServerConfig,
    addresses: &Addresses,
    store: &Arc<dyn JobStore>,
    access: Arc<dyn AccessStore>,
    logs: LogTail,
    backups: Backups,
    storage: PathBuf,
) -> ChildSpec {
    let tls = config.rest.tls.as_ref();
    let args = ApiServerArgs {
        listen: config.rest.listen,
        tls: tls.map(|t| nsfl_api_server::Tls { certificate: t.certificate.clone(), key: t.key.clone() }),
        scheduler: addresses.scheduler.clone(),
        selector: addresses.selector.clone(),
        coordinators: addresses.coordinators.clone(),
        store: store.clone(),
        live: addresses.live.clone(),
        gateway: addresses.gateway.clone(),
        root: addresses.root.clone(),
        access,
        audit: nsfl_api_server::AuditKept {
            age: Duration::from_secs(24 * 3600 * u64::from(config.audit.keep_days.get())),
            records: u64::from(config.audit.keep_records.get()),
        },
        loopback_without_token: config.rest.loopback_without_token,
        logs,
        backup: Arc::new(move || {
            let backups = backups.clone();
            Box::pin(async move { backups.take().await })
        }),
        storage,
        namespaces: config.namespaces.clone(),
        limits: nsfl_api_server::Limits {
            file_bytes: config.limits.max_blob_bytes.get(),
            ..nsfl_api_server::Limits::default()
        },
    };
    ChildSpec::role::<ApiServer>("api-server", &addresses.api, args, Restart::Permanent)
}

/// To those who watch; without any it goes nowhere.
fn live(watchers: broadcast::Sender<LiveEvent>) -> nsfl_messages::Live {
    Arc::new(move |event| drop(watchers.send(event)))
}

/// This program again, as a trainer. It starts no others and ends with its standard input: it needs no warden.
pub(crate) fn trainer() -> TrainerCommand {
    TrainerCommand { program: this_program(), args: vec!["trainer".into()] }
}

fn this_program() -> PathBuf {
    std::env::current_exe().unwrap_or_else(|_| PathBuf::from("nsfl-node"))
}
