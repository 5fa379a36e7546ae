//! A task of a builtin trainer: our own program on our own parameters, so a process group and a pipe are enough for it. The
//! trainer of runtime `torchscript` reads and writes the same files.

use super::{not_started, optimizer, tell};
use crate::trainer::{Assignment, Failure};
use nsfl_trainer::script::{TaskFolder, watching};
use nsfl_trainer::{TrainerCommand, TrainerError, TrainerTask, spawn};
use nsfl_types::{Cause, Refusal, TaskKind};
use nsfl_workflow::UpdateRef;
use serde_json::{Map, Value};

pub(super) const BASE: &str = "base.safetensors";
pub(super) const WEIGHTS: &str = "weights.safetensors";
const RESULT: &str = "result.json";

/// The task as the trainer reads it.
pub(super) fn describe(task: &Assignment, entry: &str, parameters: Map<String, Value>) -> Result<TrainerTask, Refusal> {
    Ok(TrainerTask {
        work: match task.key.kind {
            TaskKind::Train => nsfl_trainer::Work::Train { base: BASE.into(), out_weights: WEIGHTS.into() },
            TaskKind::Evaluate => nsfl_trainer::Work::Evaluate { base: BASE.into() },
        },
        task_entry: entry.to_owned(),
        parameters,
        optimizer: optimizer(&task.work)?,
        gpu: task.work.resource.gpu > 0.0,
        seed: task.work.seed,
        datasets: task.datasets.clone(),
        result: RESULT.into(),
    })
}

/// Runs the trainer in the task's folder, which is there, and makes the update of what it wrote.
pub(super) async fn run(
    command: &TrainerCommand,
    task: &Assignment,
    described: TrainerTask,
) -> Result<UpdateRef, Failure> {
    // These trainers only read it.
    let lent = task.blobs.lend(task.base.digest, &task.folder.join(BASE)).await;
    lent.map_err(|e| not_started("the model was not handed to the trainer", &e))?;
    let mut child = spawn(command, &task.folder, &described, task.timeout).map_err(|e| why(&e))?;
    let ended = watching(&TaskFolder::at(&task.folder), tell(task), child.wait()).await;
    let metrics = ended.map_err(|e| why(&e))?.metrics;
    let blob = match task.key.kind {
        TaskKind::Train => Some(task.update(&task.folder, WEIGHTS).await?),
        TaskKind::Evaluate => None,
    };
    let weight = metrics.weight();
    Ok(UpdateRef { blob, extra: None, metrics, weight })
}

fn why(error: &TrainerError) -> Failure {
    let causes = std::iter::successors(std::error::Error::source(error), |e| e.source());
    let reason = causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
    let cause = match error {
        TrainerError::Ended { how, stderr } => {
            Some(Cause { exit: Some(how.clone()), log: stderr.clone(), ..Cause::default() })
        }
        TrainerError::Timeout { after, stderr } => {
            let limit = format!("time {} s", after.as_secs_f64());
            Some(Cause { limit: Some(limit), log: stderr.clone(), ..Cause::default() })
        }
        _ => None,
    };
    Failure { code: error.code(), reason, cause: cause.map(Box::new) }
}
