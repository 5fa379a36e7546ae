//! `replay`: makes a round of a stopped server's job again from what is stored, and compares the digests.

use crate::cli::ReplayArgs;
use crate::{exit, node};
use anyhow::{Context as _, anyhow, bail};
use nsfl_aggregate::Rules;
use nsfl_config::ServerConfig;
use nsfl_coordinator::{KeptRound, kept_round};
use nsfl_store::{BlobStore, JobStore as _, RoundState};
use nsfl_store_posix::{PosixBlobStore, PosixConfig};
use nsfl_store_sqlite::SqliteJobStore;
use nsfl_types::{JobKey, JobSpec, TaskKind};
use nsfl_workflow::JobMachine;
use serde_json::{Map, Value, json};
use std::sync::Arc;

pub(crate) fn main(args: &ReplayArgs, rules: &Rules) -> anyhow::Result<()> {
    let no_flags = Map::<String, Value>::new();
    let config =
        ServerConfig::load(args.config.as_deref(), no_flags).map_err(|e| exit::coded(exit::CONFIG, e.to_string()))?;
    if !config.data_dir.is_dir() {
        let message = format!("configuration: data_dir: there is no folder {}", config.data_dir.display());
        return Err(exit::coded(exit::CONFIG, message));
    }
    let _lock = node::lock_folder(&config.data_dir)?;
    let report = node::run(replay(args, rules, &config))?;
    show(args, &report);
    if report["equal"] == true { Ok(()) } else { bail!("round {} does not come out as it is stored", args.round) }
}

#[allow(clippy::print_stdout, reason = "the command's result")]
fn show(args: &ReplayArgs, report: &Value) {
    if args.json {
        return println!("{report}");
    }
    let text = |name: &str| report[name].as_str().unwrap_or("none").to_owned();
    println!(
        "job {}, run {}, round {} by {} of {} updates\nstored:     {}\nmade again: {}",
        text("job"),
        report["run"],
        report["round"],
        text("rule"),
        report["members"],
        text("model"),
        text("recomputed"),
    );
}

async fn replay(args: &ReplayArgs, rules: &Rules, config: &ServerConfig) -> anyhow::Result<Value> {
    let key = key(&args.job)?;
    let store = SqliteJobStore::open(config.data_dir.join("nsfl.sqlite"), config.store.fsync).map_err(exit::store)?;
    let jobs = store.jobs().await.map_err(exit::store)?;
    let job = jobs.into_iter().find(|job| job.key == key).ok_or_else(|| anyhow!("there is no job {key}"))?;
    let (_, spec) = JobSpec::parse(job.document.as_bytes())?;
    let run = JobMachine::restore(&job.snapshot)?.run();
    let file = kept_round(&spec, run, args.round);
    let kept = match std::fs::read(config.data_dir.join("storage").join(key.namespace.as_str()).join(&file)) {
        Ok(bytes) => KeptRound::parse(&bytes).map_err(|refusal| anyhow!("{}", refusal.reason))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!(
            "round {} of run {run} of job {key} is not held: a server holds the updates of the last rounds of a run only, as \
             many as [aggregation] keep_rounds says when they are made ({} now)",
            args.round,
            config.aggregation.keep_rounds
        ),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
    };
    let blobs: Arc<dyn BlobStore> = Arc::new(
        PosixBlobStore::open(PosixConfig {
            root: config.data_dir.join("blobs"),
            max_blob_bytes: config.limits.max_blob_bytes.get(),
            fsync: config.store.fsync,
        })
        .map_err(exit::store)?,
    );
    let memory = usize::try_from(config.aggregation.memory_bytes.get()).unwrap_or(usize::MAX);
    let again = kept.again(&spec, rules, blobs, memory, config.data_dir.join("scratch")).await;
    let (model, state) = again.map_err(|refusal| anyhow!("{} ({})", refusal.reason, refusal.code))?;
    let rounds = store.rounds(&key, run).await.map_err(exit::store)?;
    let wanted = |r: &&nsfl_store::RoundRecord| {
        (r.round, r.kind, r.state) == (args.round, TaskKind::Train, RoundState::Complete)
    };
    let recorded = rounds.iter().find(wanted).and_then(|record| record.model);
    // an extender's model is its own
    let stored = if spec.extender.is_some() { Some(kept.model) } else { recorded };
    let equal = stored == Some(model) && kept.model == model && kept.next_state == state;
    store.fold_log().await.map_err(exit::store)?;
    Ok(json!({
        "job": key.to_string(), "run": run, "round": args.round, "rule": spec.aggregator.name,
        "members": kept.members.len(), "model": stored.map(|m| m.digest), "recomputed": model.digest,
        "state": state.map(|s| s.digest), "equal": equal,
    }))
}

fn key(job: &str) -> anyhow::Result<JobKey> {
    let (namespace, id) = job.split_once('/').unwrap_or(("default", job));
    let wrong = |e: String| exit::coded(exit::CONFIG, format!("job '{job}': {e}"));
    let namespace = namespace.parse().map_err(|e: nsfl_types::IdError| wrong(e.to_string()))?;
    Ok(JobKey::new(namespace, id.parse().map_err(|e: nsfl_types::IdError| wrong(e.to_string()))?))
}
