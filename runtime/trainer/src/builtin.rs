//! Which builtin trainer does a task. Runs in the calling thread; `child_main` puts it in a process of its own.

use crate::{TaskError, TrainerResult, TrainerTask, classifier, echo};
use std::time::Instant;

/// Does a task with the builtin trainer it names; adds `spend_time` in seconds.
///
/// # Errors
/// See [`TaskError`]; nothing is written to the result file.
pub fn run(task: &TrainerTask) -> Result<TrainerResult, TaskError> {
    let start = Instant::now();
    let mut metrics = match task.task_entry.as_str() {
        "classifier" => classifier::run(task),
        "echo" => echo::run(task),
        other => {
            let problem = format!("task_entry '{other}' is unknown to runtime builtin; allowed: classifier, echo");
            Err(TaskError::BadParameters(problem))
        }
    }?;
    metrics.0.insert("spend_time".to_owned(), start.elapsed().as_secs_f64());
    Ok(TrainerResult { metrics })
}
