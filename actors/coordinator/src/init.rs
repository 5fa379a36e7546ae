//! The initial model of a run: a file of the namespace's storage, a checkpoint of the job, or made by the builtin
//! trainer from the job's seed, in a child process like any training.

use crate::{CoordinatorArgs, scaffold};
use nsfl_actor::Failure;
use nsfl_store::{Owner, StoreError};
use nsfl_tensor::WeightsView;
use nsfl_trainer::{TrainerError, TrainerTask, Work, spawn};
use nsfl_types::{BlobRef, Code, ModelSource, Refusal, seed_for};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

const INIT_TIMEOUT: Duration = Duration::from_secs(600);

pub(crate) async fn initial_model(args: CoordinatorArgs, owner: Owner) -> Result<BlobRef, Refusal> {
    let run = &args.run;
    let storage = args.surroundings.storage.join(run.key.namespace.as_str());
    let model = match &run.spec.model {
        ModelSource::Path(path) => import(&args, &storage.join(path), &owner).await?,
        ModelSource::Checkpoint(id) => {
            let checkpoints = args.surroundings.store.checkpoints(&run.key).await.map_err(|e| refusal(&e))?;
            let Some(record) = checkpoints.into_iter().find(|c| c.id == *id) else {
                let reason = format!("checkpoint_id '{id}' is not a checkpoint of job {}", run.key);
                return Err(Refusal::new(Code::NotFound, reason));
            };
            import(&args, &storage.join(&record.path), &owner).await?
        }
        ModelSource::Init => made_by_trainer(&args, &owner).await?,
    };
    let model = check(&args, model).await?;
    match &run.spec.optimizer {
        Some(optimizer) if optimizer.is_scaffold() => {
            let both = scaffold::add_controls(&args.surroundings.blobs, model, &owner).await?;
            args.surroundings.blobs.release(model.digest, &owner).await.map_err(|e| own(&e))?;
            Ok(both)
        }
        _ => Ok(model),
    }
}

async fn import(args: &CoordinatorArgs, path: &Path, owner: &Owner) -> Result<BlobRef, Refusal> {
    args.surroundings.blobs.import(path, owner).await.map_err(|e| refusal(&e))
}

/// A file that is no model fails the run here and not on every client.
async fn check(args: &CoordinatorArgs, model: BlobRef) -> Result<BlobRef, Refusal> {
    let bytes = args.surroundings.blobs.open(model.digest).await.map_err(|e| own(&e))?;
    match WeightsView::parse(&bytes) {
        Ok(view) if view.layout().tensors().is_empty() => {
            Err(Refusal::new(Code::WrongShape, "the initial model holds no tensors"))
        }
        Ok(_) => Ok(model),
        Err(error) => Err(Refusal::new(error.code(), format!("initial model: {}", Failure::from_error(&error)))),
    }
}

async fn made_by_trainer(args: &CoordinatorArgs, owner: &Owner) -> Result<BlobRef, Refusal> {
    let run = &args.run;
    let folder = format!("init+{}+{}+r{}", run.key.namespace, run.key.id, run.run);
    let workspace = args.surroundings.scratch.join(folder);
    let broken = |error: std::io::Error| {
        let full = error.kind() == std::io::ErrorKind::StorageFull;
        let code = if full { Code::DiskFull } else { Code::Store };
        Refusal::new(code, format!("cannot prepare {}: {error}", args.surroundings.scratch.display()))
    };
    match tokio::fs::remove_dir_all(&workspace).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(broken(error)),
        _ => {}
    }
    tokio::fs::create_dir_all(&workspace).await.map_err(broken)?;
    let weights = workspace.join("weights.safetensors");
    let task = TrainerTask {
        work: Work::Init { out_weights: weights.clone() },
        task_entry: run.spec.task_entry.clone(),
        parameters: run.spec.parameters.clone(),
        optimizer: None,
        gpu: false,
        seed: seed_for(run.spec.seed, &["init"]),
        datasets: BTreeMap::new(),
        result: workspace.join("result.json"),
    };
    let failed = |e: TrainerError| {
        // one that ends without a word was killed, or could not write it
        let code = if matches!(e, TrainerError::Ended { .. }) { Code::Internal } else { e.code() };
        Refusal::new(code, Failure::from_error(&e).to_string())
    };
    let mut child = spawn(&args.surroundings.trainer, &workspace, &task, INIT_TIMEOUT).map_err(failed)?;
    child.wait().await.map_err(failed)?;
    let model = import(args, &weights, owner).await?;
    tokio::fs::remove_dir_all(&workspace).await.map_err(broken)?;
    Ok(model)
}

fn refusal(error: &StoreError) -> Refusal {
    Refusal::new(error.code(), Failure::from_error(error).to_string())
}

/// Of a blob that was there a moment ago: if it is gone, the store has found it damaged.
fn own(error: &StoreError) -> Refusal {
    match error {
        StoreError::NotFound(_) => Refusal { code: Code::Store, ..refusal(error) },
        other => refusal(other),
    }
}
