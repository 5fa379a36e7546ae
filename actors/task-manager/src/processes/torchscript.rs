//! A task of runtime `torchscript`: a trainer of ours works on a module that may have come with the job. It is confined as
//! scripts are.

use super::native::{self, BASE, WEIGHTS};
use super::scripted::{copy, opened, read_only};
use super::{Processes, blocking, not_started, parameters, tell};
use crate::trainer::{Assignment, Failure};
use nsfl_trainer::script::{ConfinedTask, TaskFolder};
use nsfl_types::{Code, Refusal, TaskKind};
use nsfl_workflow::UpdateRef;

pub(super) async fn run(trainer: &Processes, task: &Assignment) -> Result<UpdateRef, Failure> {
    let trainer_task = describe(trainer, task).await?;
    fill(trainer, task, &trainer_task.folder).await?;
    let log = trainer.logs.of(&task.key, trainer_task.folder.logs());
    let metrics = trainer_task.run(&trainer.config.launcher, tell(task)).await?.metrics;
    let blob = match task.key.kind {
        TaskKind::Train => {
            let update = task.update(&task.folder, WEIGHTS).await;
            let failed =
                |Refusal { code, reason }| Failure { code, reason, cause: Some(trainer_task.last_words().into()) };
            Some(update.map_err(failed)?)
        }
        TaskKind::Evaluate => None,
    };
    drop(log);
    let weight = metrics.weight();
    Ok(UpdateRef { blob, extra: None, metrics, weight })
}

async fn describe(trainer: &Processes, task: &Assignment) -> Result<ConfinedTask, Refusal> {
    let program = trainer.program(task).await?;
    let module = program.folder.join(&program.stage.entry);
    if !module.is_file() {
        return Err(Refusal::new(Code::ScriptMissing, format!("entry: there is no file {}", module.display())));
    }
    let rules = &trainer.config.scripts;
    let parameters = program.parameters(&parameters(&task.work)?);
    Ok(ConfinedTask {
        command: trainer.config.torchscript.clone(),
        folder: TaskFolder::at(&task.folder),
        task: native::describe(task, &module.to_string_lossy(), parameters)?,
        timeout: program.stage.timeout.map_or(task.timeout, |own| own.min(task.timeout)),
        grace: rules.grace,
        environment: rules.environment.clone(),
        limits: rules.confinement.limits(task, rules.quota, rules.log),
        sandbox: rules.confinement.sandbox(task, &trainer.code(task, &program)),
    })
}

/// Puts into the task's folder what the trainer finds there. The model is a copy: a link could be written to.
async fn fill(trainer: &Processes, task: &Assignment, folder: &TaskFolder) -> Result<(), Refusal> {
    let base = opened(task, task.base, "the model").await?;
    let (kept, key, folder, store) = (trainer.kept.clone(), task.key.clone(), folder.clone(), task.blobs.clone());
    let filled = blocking(move || {
        std::fs::create_dir_all(folder.new_state())?;
        std::fs::create_dir_all(folder.state())?;
        let to = folder.path().join(BASE);
        copy(store.as_ref(), &base, &to)?;
        read_only(&to)?;
        kept.give(&key, &folder.state())
    });
    filled.await?.map_err(|e| not_started("the task's folder was not filled", &e))
}
