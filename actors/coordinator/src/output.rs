//! The output folder of a run in the namespace's storage: checkpoints, `metrics.json` and the same for TensorBoard.

mod tensorboard;

use crate::{Surroundings, scaffold, state};
use nsfl_actor::{Failure, blocking};
use nsfl_store::{CheckpointRecord, Owner, RoundRecord, RoundState};
use nsfl_types::{BlobRef, Code, JobSpec, Refusal, TaskKind};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// The folder within the namespace's storage: `<output>/fl_<job id>_output_V<run>`.
pub(crate) fn folder(spec: &JobSpec, run: u32) -> String {
    format!("{}/fl_{}_output_V{run}", spec.output, spec.id)
}

/// Saves the model as the record says, beside it what its rule has `kept`, and brings `metrics.json` up to date. With `strip`, under whose name it
/// is made: the model's own tensors only; `content` receives what they hash to.
pub(crate) async fn save(
    surroundings: Surroundings,
    record: CheckpointRecord,
    kept: Option<BlobRef>,
    strip: Option<Owner>,
    content: Arc<OnceLock<BlobRef>>,
) -> Result<(), Refusal> {
    let storage = surroundings.storage.join(record.job.namespace.as_str());
    let path = storage.join(&record.path);
    let Some(folder) = path.parent().map(Path::to_owned) else {
        return Err(Refusal::new(Code::Internal, format!("checkpoint path '{}' has no folder", record.path)));
    };
    let rounds = surroundings.store.rounds(&record.job, record.run).await.map_err(|e| refusal(&e))?;
    let made = folder.clone();
    blocking(move || std::fs::create_dir_all(&made).map_err(|e| unwritable(&made, &e))).await.map_err(broken)??;
    if let Some(kept) = kept {
        surroundings.blobs.export(kept.digest, &state::beside(&path)).await.map_err(|e| refusal(&e))?;
    }
    match strip {
        None => surroundings.blobs.export(record.model.digest, &path).await.map_err(|e| refusal(&e))?,
        Some(owner) => {
            let model = scaffold::strip_controls(&surroundings.blobs, record.model, &owner).await?;
            surroundings.blobs.export(model.digest, &path).await.map_err(|e| refusal(&e))?;
            if model != record.model {
                surroundings.blobs.release(model.digest, &owner).await.map_err(|e| refusal(&e))?;
            }
            content.get_or_init(|| model);
        }
    }
    let metrics = serde_json::to_vec_pretty(&metrics(&rounds)).expect("numbers in lists can be written");
    let events = tensorboard::events(&rounds);
    let (lists, board) = (folder.join("metrics.json"), folder.join(tensorboard::name(record.run)));
    blocking(move || {
        write_atomically(&lists, &metrics).map_err(|e| unwritable(&lists, &e))?;
        go_on(&board, &events).map_err(|e| unwritable(&board, &e))
    })
    .await
    .map_err(broken)?
}

/// Adds to a file what is not in it yet, so that who reads it meanwhile reads on; one with anything else in it is replaced.
fn go_on(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    match std::fs::read(path) {
        Ok(written) if bytes.starts_with(&written) => {
            let mut file = std::fs::OpenOptions::new().append(true).open(path)?;
            file.write_all(&bytes[written.len()..])?;
            file.sync_all()
        }
        _ => write_atomically(path, bytes),
    }
}

/// One list per metric, a value per round that was completed, `null` where a round did not measure it. Evaluation
/// metrics have their own names; those of training are prefixed `train_`.
fn metrics(rounds: &[RoundRecord]) -> Value {
    let complete = rounds.iter().filter(|r| r.state == RoundState::Complete);
    let mut by_round: BTreeMap<u32, BTreeMap<String, f64>> = BTreeMap::new();
    for record in complete {
        let prefix = if record.kind == TaskKind::Train { "train_" } else { "" };
        let values = by_round.entry(record.round).or_default();
        values.extend(record.metrics.0.iter().map(|(name, value)| (format!("{prefix}{name}"), *value)));
    }
    let mut names: Vec<&String> = by_round.values().flat_map(BTreeMap::keys).collect();
    names.sort();
    names.dedup();
    let list = |name: &String| by_round.values().map(|values| json!(values.get(name))).collect::<Value>();
    let mut lists = Map::from_iter([("round".to_owned(), json!(by_round.keys().collect::<Vec<_>>()))]);
    lists.extend(names.into_iter().map(|name| (name.clone(), list(name))));
    Value::Object(lists)
}

pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let partial = path.with_extension("json.part");
    let mut file = std::fs::File::create(&partial)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&partial, path)
}

fn broken(failure: Failure) -> Refusal {
    Refusal::new(Code::Internal, failure.to_string())
}

fn refusal(error: &nsfl_store::StoreError) -> Refusal {
    Refusal::new(error.code(), Failure::from_error(error).to_string())
}

fn unwritable(path: &Path, error: &std::io::Error) -> Refusal {
    let code = if error.kind() == std::io::ErrorKind::StorageFull { Code::DiskFull } else { Code::Store };
    Refusal::new(code, format!("cannot write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nsfl_types::{JobKey, Metrics, Timestamp};

    #[test]
    fn metrics_have_a_list_each_and_null_where_a_round_was_not_evaluated() {
        let record = |round, kind, name: &str, value| RoundRecord {
            job: JobKey::new("default".parse().unwrap(), "j".parse().unwrap()),
            run: 1,
            round,
            attempt: 1,
            kind,
            state: RoundState::Complete,
            opened: Timestamp(0),
            closed: None,
            cohort: 1,
            accepted: 1,
            metrics: Metrics([(name.to_owned(), value)].into()),
            model: None,
            reason: String::new(),
            cause: None,
        };
        let rounds = [
            record(1, TaskKind::Train, "loss", 2.0),
            record(2, TaskKind::Train, "loss", 1.0),
            record(2, TaskKind::Evaluate, "accuracy", 0.5),
        ];
        let expected = json!({"round": [1, 2], "accuracy": [null, 0.5], "train_loss": [2.0, 1.0]});
        assert_eq!(metrics(&rounds), expected);
    }
}
