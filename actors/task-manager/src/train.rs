//! One run of a task's trainer: its working folder, its child process, and for train tasks the delta of what it made.
//! Dropping the future kills the child with everything it has started.

use crate::delta;
use crate::order::Work;
use crate::site::{Site, owner, remove_folder};
use nsfl_fault_point::Step;
use nsfl_store::StoreError;
use nsfl_trainer::{TrainerError, TrainerTask, spawn};
use nsfl_types::{BlobRef, Code, Refusal, TaskKind};
use nsfl_workflow::{Outcome, TaskOrder, UpdateRef};
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;
use tokio::runtime::Handle;

const BASE: &str = "base.safetensors";
const WEIGHTS: &str = "weights.safetensors";
const RESULT: &str = "result.json";
/// Characters of a failure's reason that are kept and sent.
const MAX_REASON: usize = 6000;

/// Runs the trainer to its end. The base model is in the store.
pub(crate) async fn run(site: &Site, order: &TaskOrder) -> Outcome {
    match attempt(site, order).await {
        Ok(update) => Outcome::Done { update },
        Err(Refusal { code, reason }) => {
            tracing::warn!(task = %order.key, %code, reason, "task failed");
            Outcome::Failed { code, reason: reason.chars().take(MAX_REASON).collect(), cause: None }
        }
    }
}

async fn attempt(site: &Site, order: &TaskOrder) -> Result<UpdateRef, Refusal> {
    let folder = site.folder(&order.key);
    let task = describe(site, order)?;
    let start =
        |what: &str, error: &dyn std::fmt::Display| Refusal::new(Code::TrainerStart, format!("{what}: {error}"));
    remove_folder(&folder).await;
    tokio::fs::create_dir_all(&folder).await.map_err(|e| start("the task's folder was not made", &e))?;
    // The builtin trainers only read it.
    let lent = site.config.blobs.lend(order.base.digest, &folder.join(BASE)).await;
    lent.map_err(|e| start("the model was not handed to the trainer", &e))?;

    let mut child =
        spawn(&site.config.trainer, &folder, &task, Duration::from_millis(order.timeout_ms)).map_err(|e| why(&e))?;
    let metrics = child.wait().await.map_err(|e| why(&e))?.metrics;
    let blob = match order.key.kind {
        TaskKind::Train => Some(result(site, order, &folder.join(WEIGHTS)).await?),
        TaskKind::Evaluate => None,
    };
    let weight = metrics.weight();
    Ok(UpdateRef { blob, extra: None, metrics, weight })
}

/// The task as the trainer reads it.
fn describe(site: &Site, order: &TaskOrder) -> Result<TrainerTask, Refusal> {
    let bad = |what: &str, error: serde_json::Error| Refusal::new(Code::BadDocument, format!("{what}: {error}"));
    let work: Work = serde_json::from_str(&order.spec).map_err(|e| bad("the task's record", e))?;
    let configured = site.config.datasets.iter().filter(|(name, _)| work.datasets.contains(name));
    Ok(TrainerTask {
        work: match order.key.kind {
            TaskKind::Train => nsfl_trainer::Work::Train { base: BASE.into(), out_weights: WEIGHTS.into() },
            TaskKind::Evaluate => nsfl_trainer::Work::Evaluate { base: BASE.into() },
        },
        task_entry: work.task_entry,
        parameters: serde_json::from_str(&work.parameters).map_err(|e| bad("the job's parameters", e))?,
        seed: work.seed,
        datasets: configured.map(|(name, path)| (name.clone(), path.clone())).collect(),
        result: RESULT.into(),
    })
}

/// Makes the delta and stores it, owned by the task. The trainer's weights are read, not mapped: a process that escaped
/// the trainer's group could cut a mapped file short, and reading it would then kill this one. The trainer, which had
/// them in memory too, has ended.
async fn result(site: &Site, order: &TaskOrder, weights: &Path) -> Result<BlobRef, Refusal> {
    let blobs = &site.config.blobs;
    let local = tokio::fs::read(weights).await.map_err(|e| match e.kind() {
        ErrorKind::NotFound => Refusal::new(Code::BadUpdate, "the trainer wrote no weights"),
        _ => Refusal::new(Code::Internal, format!("the trainer's weights were not read: {e}")),
    })?;
    let base = blobs.open(order.base.digest).await.map_err(|e| stored(&e))?;
    let writer = blobs.create().await.map_err(|e| stored(&e))?;
    let runtime = Handle::current();
    let written = tokio::task::spawn_blocking(move || delta::write(&base, &local, writer, &runtime)).await;
    let delta = written.map_err(|e| internal(&e))??;
    let step = Step::new("executor", &"delta");
    step.reach("before-commit");
    let blob = delta.commit(&owner(&order.key)).await.map_err(|e| stored(&e))?;
    step.reach("after-commit");
    Ok(blob)
}

fn why(error: &TrainerError) -> Refusal {
    Refusal::new(error.code(), with_causes(error))
}

fn stored(error: &StoreError) -> Refusal {
    Refusal::new(error.code(), format!("the result was not stored: {}", with_causes(error)))
}

fn internal(error: &dyn std::error::Error) -> Refusal {
    Refusal::new(Code::Internal, with_causes(error))
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |e| e.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
