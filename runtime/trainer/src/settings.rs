//! A job's settings as a trainer's own type, with errors that name the setting.

use crate::{TaskError, TrainerTask};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

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
