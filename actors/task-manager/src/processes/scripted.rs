//! A task of a script, from the order to the update: its folder filled, its processes run, what it handed over stored.

use super::{Processes, blocking, not_started, optimizer, parameters, tell};
use crate::trainer::{Assignment, Failure};
use bytes::Bytes;
use nsfl_package::{Limits, PackageError, pack_files, unpack};
use nsfl_store::{BlobStore, StoreError};
use nsfl_trainer::script::{Facts, ScriptFailure, ScriptTask, TaskFolder};
use nsfl_types::{BlobRef, Refusal, TaskKind};
use nsfl_workflow::UpdateRef;
use std::fs::{File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// What comes from the job's extender, in a sentence on what is wrong with it.
const BROADCAST: &str = "the extender's broadcast";
/// Packed in the task's folder before it is stored.
const EXTRA: &str = "extra.zip";
/// Bytes of the model copied at once.
const PIECE: usize = 1 << 20;

pub(super) async fn run(trainer: &Processes, task: &Assignment) -> Result<UpdateRef, Failure> {
    let script = describe(trainer, task).await?;
    let script = fill(trainer, task, script).await?;
    let log = trainer.logs.of(&task.key, script.folder.logs());
    let metrics = script.run(&trainer.config.launcher, tell(task)).await?;
    let handed = hand_over(trainer, task, &script.folder).await;
    let (blob, extra) = handed.map_err(|Refusal { code, reason }| Failure {
        code,
        reason,
        cause: Some(Box::new(script.last_words())),
    })?;
    drop(log);
    let weight = metrics.weight();
    Ok(UpdateRef { blob, extra, metrics, weight })
}

/// Stores what the script has left: update and extra of a training.
async fn hand_over(
    trainer: &Processes,
    task: &Assignment,
    folder: &TaskFolder,
) -> Result<(Option<BlobRef>, Option<BlobRef>), Refusal> {
    if task.key.kind == TaskKind::Evaluate {
        return Ok((None, None));
    }
    let update = task.update(&task.folder, TaskFolder::WEIGHTS).await?;
    let extra = extra(task, folder, trainer.config.scripts.extra).await?;
    // the folder lives on for what is to be kept; these are the large part of it
    for large in [folder.base(), task.folder.join(TaskFolder::WEIGHTS)] {
        let _ = tokio::fs::remove_file(large).await;
    }
    Ok((Some(update), extra))
}

async fn describe(trainer: &Processes, task: &Assignment) -> Result<ScriptTask, Refusal> {
    let (key, work, rules) = (&task.key, &task.work, &trainer.config.scripts);
    let program = trainer.program(task).await?;
    Ok(ScriptTask {
        folder: TaskFolder::at(&task.folder),
        facts: Facts {
            mode: if key.kind == TaskKind::Train { "train" } else { "evaluate" },
            job: format!("{}/{}", key.job.namespace, key.job.id),
            run: key.run,
            round: key.round,
            attempt: key.attempt,
            client: key.client.to_string(),
            runtime: work.runtime,
            seed: work.seed,
            worker_num: work.resource.worker_num.max(1),
            optimizer: optimizer(work)?,
        },
        parameters: parameters(work)?,
        datasets: task.datasets.clone(),
        timeout: task.timeout,
        grace: rules.grace,
        environment: rules.environment.clone(),
        limits: rules.confinement.limits(task, rules.quota, rules.log),
        sandbox: rules.confinement.sandbox(task, &trainer.code(task, &program)),
        program,
    })
}

/// Puts into the task's folder what the script finds there. All of it is a copy: the script could write to a link.
async fn fill(trainer: &Processes, task: &Assignment, script: ScriptTask) -> Result<ScriptTask, Refusal> {
    let base = opened(task, task.base, "the model").await?;
    let inputs = match task.work.inputs {
        Some(inputs) => Some(opened(task, inputs, BROADCAST).await?),
        None => None,
    };
    let (kept, key, max) = (trainer.kept.clone(), task.key.clone(), trainer.config.scripts.extra);
    let store = task.blobs.clone();
    let filled = blocking(move || {
        let folder = &script.folder;
        let filled = script.prepare().and_then(|()| {
            copy(store.as_ref(), &base, &folder.base())?;
            kept.give(&key, &folder.state())?;
            read_only(&folder.base())?;
            files(&folder.state()).try_for_each(|file| read_only(&file))
        });
        filled.map_err(|e| not_started("the task's folder was not filled", &e))?;
        if let Some(zip) = inputs {
            let unpacked = unpack(&zip, &folder.inputs(), &Limits::of_data(max));
            unpacked.map_err(|e| e.refusal(BROADCAST))?;
        }
        Ok(script)
    });
    filled.await?
}

/// Writes a blob of `store`, of which little stays resident, to a new file.
pub(super) fn copy(store: &dyn BlobStore, blob: &[u8], to: &Path) -> io::Result<()> {
    let mut file = File::create_new(to)?;
    for piece in blob.chunks(PIECE) {
        file.write_all(piece)?;
        store.forget(piece);
    }
    Ok(())
}

pub(super) async fn opened(task: &Assignment, blob: BlobRef, what: &str) -> Result<Bytes, Refusal> {
    let opened = task.blobs.open(blob.digest).await;
    opened.map_err(|e| Refusal::new(e.code(), format!("{what} was not read: {e}")))
}

fn files(folder: &Path) -> impl Iterator<Item = std::path::PathBuf> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

pub(super) fn read_only(file: &Path) -> io::Result<()> {
    std::fs::set_permissions(file, Permissions::from_mode(0o444))
}

/// Stores what the script put for the job's extender, owned by the task; `None` when it put nothing.
async fn extra(task: &Assignment, folder: &TaskFolder, max: u64) -> Result<Option<BlobRef>, Refusal> {
    let (folder, zip) = (folder.clone(), task.folder.join(EXTRA));
    let to = zip.clone();
    let packed = blocking(move || {
        let items = folder.extra(max)?;
        if items.is_empty() {
            return Ok(false);
        }
        let file = File::create(&to).map_err(|source| PackageError::Disk { path: to, source });
        file.and_then(|file| pack_files(&items, file)).map_err(|e| e.refusal("what the script put"))?;
        Ok::<_, Refusal>(true)
    })
    .await??;
    if !packed {
        return Ok(None);
    }
    let stored = |e: StoreError| Refusal::new(e.code(), format!("what the script put was not stored: {e}"));
    task.blobs.import(&zip, &task.owner()).await.map(Some).map_err(stored)
}

impl From<ScriptFailure> for Failure {
    fn from(ScriptFailure { code, reason, cause }: ScriptFailure) -> Self {
        Self { code, reason, cause }
    }
}
