//! Which builtin trainer does a task. Runs in the calling thread; `child_main` puts it in a process of its own.

use crate::{TaskError, TrainerResult, TrainerTask, classifier, echo};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
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

/// The job's parameters as a trainer's own type; an unknown one is refused with the list of those it knows.
///
/// # Errors
/// [`TaskError::BadParameters`], with the parameter's name.
pub fn parameters<T: DeserializeOwned>(task: &TrainerTask) -> Result<T, TaskError> {
    settings(&task.parameters, "parameters")
}

/// The same of any object: `root` is what it is called.
///
/// # Errors
/// [`TaskError::BadParameters`], with the setting's name.
pub fn settings<T: DeserializeOwned>(object: &Map<String, Value>, root: &str) -> Result<T, TaskError> {
    serde_path_to_error::deserialize(Value::Object(object.clone())).map_err(|e| {
        let path = e.path().to_string();
        let field = if path == "." { root.to_owned() } else { format!("{root}.{path}") };
        TaskError::BadParameters(format!("{field}: {}", e.into_inner()))
    })
}
