//! What a job's rule keeps, beside a checkpoint: where it is saved, and taken up by a run that begins with one.

use crate::CoordinatorArgs;
use crate::aggregator::{blocking, stored, tensor};
use nsfl_actor::Failure;
use nsfl_store::Owner;
use nsfl_tensor::WeightsView;
use nsfl_types::{BlobRef, Code, ModelSource, Refusal};
use std::path::{Path, PathBuf};

/// Of `checkpoint_3.safetensors`: `checkpoint_3.state.safetensors` in the same folder.
pub(crate) fn beside(checkpoint: &Path) -> PathBuf {
    checkpoint.with_extension("state.safetensors")
}

/// The state that goes with the checkpoint that the job starts from. None when the job starts from no checkpoint, its rule
/// keeps nothing, or what is there is another rule's: then the rule begins afresh.
pub(crate) async fn of_checkpoint(
    args: CoordinatorArgs,
    model: BlobRef,
    owner: Owner,
) -> Result<Option<BlobRef>, Refusal> {
    let run = &args.run;
    let ModelSource::Checkpoint(id) = &run.spec.model else { return Ok(None) };
    let blobs = &args.surroundings.blobs;
    let aggregation = args.surroundings.rules.of_job(&run.spec).map_err(|e| Refusal::new(e.code, e.to_string()))?;
    let base = blobs.open(model.digest).await.map_err(|e| stored(&e))?;
    let expected = {
        let base = WeightsView::parse(&base).map_err(|e| tensor(&e))?;
        aggregation.state_layout(base.layout()).map_err(|e| Refusal::new(e.code(), e.to_string()))?
    };
    let Some(expected) = expected else { return Ok(None) };
    let checkpoints = args.surroundings.store.checkpoints(&run.key).await.map_err(|e| stored(&e))?;
    let Some(record) = checkpoints.into_iter().find(|c| c.id == *id) else { return Ok(None) };
    let file = beside(&args.surroundings.storage.join(run.key.namespace.as_str()).join(&record.path));
    let there = file.clone();
    let exists = blocking(move || match there.try_exists() {
        Ok(exists) => Ok(exists),
        Err(e) => Err(Refusal::new(Code::Store, format!("cannot look at {}: {e}", there.display()))),
    });
    if !exists.await? {
        return Ok(None);
    }
    let state = blobs.import(&file, &owner).await.map_err(|e| stored(&e))?;
    let bytes = blobs.open(state.digest).await.map_err(|e| stored(&e))?;
    let fits = match WeightsView::parse(&bytes) {
        Ok(view) => *view.layout() == expected,
        Err(error) => {
            let reason = format!("{}: {}", file.display(), Failure::from_error(&error));
            return Err(Refusal::new(error.code(), reason));
        }
    };
    if fits {
        return Ok(Some(state));
    }
    tracing::warn!(job = %run.key, file = %file.display(), "state of another rule or model left aside");
    blobs.release(state.digest, &owner).await.map_err(|e| stored(&e))?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_named_after_its_checkpoint() {
        let path = beside(Path::new("out/fl_j_output_V1/checkpoint_3.safetensors"));
        assert_eq!(path, Path::new("out/fl_j_output_V1/checkpoint_3.state.safetensors"));
    }
}
