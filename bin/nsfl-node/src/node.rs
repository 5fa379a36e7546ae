//! What server and client have in common as processes: one per data folder, a runtime, signals, an orderly end.

use crate::cli::NodeArgs;
use crate::exit;
use anyhow::Context as _;
use nsfl_actor::{Exit, Supervisor};
use nsfl_config::Telemetry;
use nsfl_telemetry::{Collector, Export, Service};
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// Makes the folder and takes its lock; it is held until the file is dropped.
pub(crate) fn lock_folder(folder: &Path) -> anyhow::Result<File> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make the data folder {}", folder.display()))?;
    let path = folder.join("node.lock");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(_) => {
            let message = format!(
                "the data folder {} is in use by another node; stop it or give another data_dir",
                folder.display()
            );
            Err(exit::coded(exit::FOLDER_IN_USE, message))
        }
    }
}

/// The collector that is configured, if there is one.
pub(crate) fn collector(telemetry: &Telemetry) -> Option<Collector> {
    let otlp = telemetry.otlp.as_ref()?;
    let (timeout, interval) = (otlp.timeout_ms.duration(), otlp.interval_ms.duration());
    Some(Collector { endpoint: otlp.endpoint.clone(), ca: otlp.ca.clone(), timeout, interval })
}

/// Has this process send its spans there, until it is dropped.
pub(crate) fn export(
    telemetry: &Telemetry,
    name: &'static str,
    instance: &str,
    federation: &str,
) -> anyhow::Result<Option<Export>> {
    let service = Service {
        name,
        instance: instance.to_owned(),
        version: env!("CARGO_PKG_VERSION"),
        federation: federation.to_owned(),
    };
    collector(telemetry).map(|collector| collector.open(service)).transpose().map_err(exit::telemetry)
}

/// Kept of the time for an orderly end for what follows the actors' end, a third each: the database, work on the blocking
/// pool, the last spans.
const AFTER_ACTORS: Duration = Duration::from_millis(1500);

/// Runs a daemon's life on a runtime of its own: as many threads as cores, at most four, since the heavy work is
/// elsewhere. Work on the blocking pool that does not end in time is left behind.
pub(crate) fn run<T>(life: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.clamp(2, 4))
        .thread_name("nsfl")
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    let done = runtime.block_on(life);
    runtime.shutdown_timeout(AFTER_ACTORS / 3);
    done
}

/// One line on standard output for whoever started the node, then its life until a signal, the end of standard input
/// or an escalation. An orderly end takes no more than `shutdown`: the actors end in reverse order of their start, so
/// that nothing new comes in while what is there is brought to its end, then comes `last`.
pub(crate) async fn live(
    root: Supervisor,
    ready: serde_json::Value,
    args: &NodeArgs,
    shutdown: Duration,
    last: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    announce(&ready);
    let reason = tokio::select! {
        exit = root.wait() => return match exit {
            Exit::Stopped => Ok(()),
            Exit::Escalated(failure) => Err(exit::failure(&failure, exit::GAVE_UP)),
        },
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
        () = stdin_closed(args.until_stdin_closes) => "standard input closed",
    };
    tracing::info!(reason, "node stops");
    let (began, kept) = (Instant::now(), AFTER_ACTORS.min(shutdown / 2));
    root.shutdown(shutdown.saturating_sub(kept)).await;
    match tokio::time::timeout(kept / 3, last).await {
        Ok(Ok(())) => {}
        // Nothing is lost: what is committed is in the log, which is read at the next start.
        Ok(Err(error)) => tracing::warn!(error = format!("{error:#}"), "end not quite orderly"),
        Err(_) => tracing::warn!("end not quite orderly: the time for it was over"),
    }
    tracing::info!(ms = began.elapsed().as_millis(), "node stopped");
    Ok(())
}

#[allow(clippy::print_stdout, reason = "the line a parent process waits for")]
fn announce(ready: &serde_json::Value) {
    use std::io::Write as _;
    println!("{ready}");
    if let Err(error) = std::io::stdout().flush() {
        tracing::debug!(%error, "nobody reads standard output");
    }
}

async fn stdin_closed(wanted: bool) {
    if !wanted {
        return std::future::pending().await;
    }
    let (closed, wait) = oneshot::channel();
    std::thread::spawn(move || {
        let mut rest = [0; 64];
        while matches!(std::io::stdin().read(&mut rest), Ok(n) if n > 0) {}
        let _ = closed.send(());
    });
    let _ = wait.await;
}
