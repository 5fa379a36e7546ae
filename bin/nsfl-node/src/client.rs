//! `client`: opens the stores, dials the server, starts the client's tree.

use crate::cli::ClientArgs;
use crate::server::trainer;
use crate::{check, confine, exit, newer, node};
use nsfl_actor::{Supervisor, now_ms};
use nsfl_config::{ClientConfig, Count, Scripts};
use nsfl_messages::wire::{ClientInfo, EXPORT_OBSERVE, EXPORT_TASKS, VERSION};
use nsfl_store_posix::{PosixBlobStore, PosixConfig};
use nsfl_store_sled::SledTaskStore;
use nsfl_task_manager::{Admission, ProcessConfig, Processes, ScriptRules, SiteConfig, client_tree};
use nsfl_trainer::TrainerCommand;
use nsfl_trainer::launch::{Cgroups, Launcher};
use nsfl_transport::{Credentials, Export, Limits, Redial};
use nsfl_types::Resource;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Between two removals of blobs that no task needs.
const SWEEP: Duration = Duration::from_secs(60);

pub(crate) fn main(args: ClientArgs) -> anyhow::Result<()> {
    let config = ClientConfig::load(args.config.as_deref(), args.flags())
        .map_err(|e| exit::coded(exit::CONFIG, e.to_string()))?;
    nsfl_telemetry::init(&config.log)?;
    let _lock = node::lock_folder(&config.data_dir)?;
    let shutdown = config.shutdown_ms.duration();
    let credentials = check::credentials(&config.tls)?;
    let identity = credentials.identity();
    let _export = node::export(&config.telemetry, "nsfl-client", identity.name.as_str(), &identity.federation)?;
    node::run(async {
        let ready = json!({"ready": "client", "client": credentials.identity().name});
        let root = start(&config, credentials).await?;
        node::live(root, ready, &args.node, shutdown, async { Ok(()) }).await
    })
}

async fn start(config: &ClientConfig, credentials: Credentials) -> anyhow::Result<Supervisor> {
    let blobs = PosixBlobStore::open(PosixConfig {
        root: config.data_dir.join("blobs"),
        max_blob_bytes: config.limits.max_blob_bytes.get(),
        fsync: config.store.fsync,
    })
    .map_err(exit::store)?;
    let tasks = SledTaskStore::open(config.data_dir.join("tasks")).map_err(exit::store)?;
    newer::refuse_tasks(&tasks).await?;
    let processes = processes(config)?;
    confine::sweep(&processes.launcher, &config.data_dir.join("workspace"));
    let admission = Admission {
        policy: confine::policy(config)?,
        cap_resources: config.scripts.cap_resources,
        sandboxed: processes.scripts.confinement.sandbox.is_some(),
    };
    let site = SiteConfig {
        observable: config.console.observe,
        admission,
        info: info(config, &credentials),
        heartbeat: config.heartbeat_ms.duration(),
        workspace: config.data_dir.join("workspace"),
        residuals: config.data_dir.join("residuals"),
        trainer: Arc::new(Processes::new(processes)),
        datasets: config.datasets.clone(),
        blobs: Arc::new(blobs),
        tasks: Arc::new(tasks),
        sweep: SWEEP,
    };
    let connection = nsfl_transport::connect(nsfl_transport::ClientConfig {
        server: config.server.to_string(),
        credentials,
        claimed: None,
        incarnation: now_ms(),
        exports: exports(config),
        limits: Limits {
            blob_bytes: config.limits.max_blob_bytes.get(),
            handshake: config.link.connect_timeout_ms.duration(),
            ..Limits::default()
        },
        redial: Redial { first: config.link.retry_base_ms.duration(), max: config.link.retry_max_ms.duration() },
    });
    Supervisor::start(client_tree(site, connection)).await.map_err(|failure| exit::failure(&failure, 1))
}

/// What the server may address here.
fn exports(config: &ClientConfig) -> Vec<Export> {
    let export = |index, name: &str| Export { index, name: name.to_owned(), version: VERSION };
    let mut exports = vec![export(EXPORT_TASKS, "tasks")];
    if config.console.observe {
        exports.push(export(EXPORT_OBSERVE, "observe"));
    }
    exports
}

fn processes(config: &ClientConfig) -> anyhow::Result<ProcessConfig> {
    let (scripts, builtin) = (&config.scripts, trainer());
    Ok(ProcessConfig {
        torchscript: beside(&builtin.program, &config.runtime.torchscript.command),
        launcher: Launcher {
            program: builtin.program.clone(),
            args: vec!["warden".into()],
            cgroups: Cgroups::detect(),
        },
        builtin,
        tasks: config.tasks.clone(),
        data: config.data_dir.clone(),
        scripts: ScriptRules {
            quota: mb(scripts.quota_mb),
            log: mb(scripts.log_mb),
            logs: scripts.log_files.get() as usize,
            package: package(scripts),
            extra: mb(scripts.extra_mb),
            grace: scripts.grace_ms.duration(),
            state: Duration::from_secs(u64::from(scripts.state_days.get()) * 24 * 3600),
            environment: scripts.environment.clone(),
            confinement: confine::confinement(config)?,
        },
    })
}

/// What the scripts of a job may be here.
fn package(scripts: &Scripts) -> nsfl_package::Limits {
    nsfl_package::Limits { packed: mb(scripts.package_mb), bytes: mb(scripts.unpacked_mb), ..Default::default() }
}

fn mb(count: Count) -> u64 {
    u64::from(count.get()) * 1_000_000
}

/// A program by its name, beside this one where it is there, else on `PATH`.
fn beside(own: &Path, command: &[String]) -> TrainerCommand {
    let (name, args) = command.split_first().map_or(("", &[][..]), |(name, args)| (name.as_str(), args));
    let near = own.with_file_name(name);
    let program = if !name.contains('/') && near.is_file() { near } else { name.into() };
    TrainerCommand { program, args: args.to_vec() }
}

fn info(config: &ClientConfig, credentials: &Credentials) -> ClientInfo {
    ClientInfo {
        client: credentials.identity().name.clone(),
        address: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        os: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        runtimes: config.runtimes.clone(),
        label: config.label.clone(),
        max_tasks: config.max_tasks.get(),
        resource: Resource {
            worker_num: config.resource.worker_num.get(),
            cpu: config.resource.cpu,
            gpu: config.resource.gpu,
            memory_mb: config.resource.memory_mb,
        },
        datasets: config.datasets.iter().map(|(name, path)| (name.clone(), samples(path))).collect::<BTreeMap<_, _>>(),
    }
}

/// Number of training samples of a data set, for ranking; 0 when it cannot be told.
fn samples(path: &Path) -> u64 {
    if path.join(nsfl_trainer::dataset::DRILL).exists() {
        tracing::warn!(dataset = %path.display(), "this data set is for drills: what is trained on it is slowed or disturbed");
    }
    nsfl_trainer::sample_count(path).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_is_not_told_otherwise_takes_the_packages_that_a_server_takes() {
        assert_eq!(package(&Scripts::default()), nsfl_package::Limits::default());
    }
}
