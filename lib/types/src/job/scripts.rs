//! What a job brings along: its scripts and its extender. Documents and checked forms.

use super::spec::{bad, required, storage_path};
use super::{JobError, Runtime};
use serde::{Deserialize, Serialize};

/// `scripts` as written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented on the checked form, ScriptsSpec")]
pub struct ScriptsDocument {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_file: Option<String>,
}

/// `extender` as written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented on the checked form, ExtenderSpec")]
pub struct ExtenderDocument {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script_path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broadcast: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aggregate: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish: Option<String>,
}

/// `scripts`, checked: sent to the clients with each task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptsSpec {
    /// A folder or a `.zip` in the namespace's storage: relative, without `..`.
    pub path: String,
    /// The task configuration in it.
    pub config_file: String,
}

/// `extender`, checked: functions of the user's script that the server calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtenderSpec {
    /// A folder or a `.zip` in the namespace's storage: relative, without `..`.
    pub script_path: String,
    /// The Python file in it.
    pub entry: String,
    /// Name of the function called before each train round. When none of the three is named, those of the file that are
    /// called `broadcast`, `aggregate` and `finish` are taken.
    pub broadcast: Option<String>,
    /// Name of the function called for each update.
    pub aggregate: Option<String>,
    /// Name of the function called once a round, after the updates.
    pub finish: Option<String>,
}

impl ExtenderSpec {
    /// Whether no function was named, so that the file's own names count.
    #[must_use]
    pub fn is_by_name(&self) -> bool {
        self.broadcast.is_none() && self.aggregate.is_none() && self.finish.is_none()
    }

    /// Whether there may be something to call before a round.
    #[must_use]
    pub fn broadcasts(&self) -> bool {
        self.broadcast.is_some() || self.is_by_name()
    }

    /// Whether there may be something to call with a round's updates.
    #[must_use]
    pub fn combines(&self) -> bool {
        self.aggregate.is_some() || self.finish.is_some() || self.is_by_name()
    }
}

/// Runtimes whose tasks are scripts; `builtin` has none.
pub(super) fn scripts(d: Option<&ScriptsDocument>, runtime: Runtime) -> Result<Option<ScriptsSpec>, JobError> {
    let Some(d) = d else { return Ok(None) };
    if runtime == Runtime::Builtin {
        return Err(bad("scripts", "runtime builtin runs no scripts: give task_entry, or another runtime"));
    }
    let path = storage_path("scripts.path", required("scripts.path", d.path.as_deref())?)?;
    let config = required("scripts.config_file", d.config_file.as_deref())?;
    Ok(Some(ScriptsSpec { path, config_file: inside("scripts.config_file", config)? }))
}

pub(super) fn extender(d: Option<&ExtenderDocument>) -> Result<Option<ExtenderSpec>, JobError> {
    let Some(d) = d else { return Ok(None) };
    let path = storage_path("extender.script_path", required("extender.script_path", d.script_path.as_deref())?)?;
    let entry = inside("extender.entry", required("extender.entry", d.entry.as_deref())?)?;
    let entry = if entry.ends_with(".py") { entry } else { entry + ".py" };
    Ok(Some(ExtenderSpec {
        script_path: path,
        entry,
        broadcast: function("extender.broadcast", d.broadcast.as_deref())?,
        aggregate: function("extender.aggregate", d.aggregate.as_deref())?,
        finish: function("extender.finish", d.finish.as_deref())?,
    }))
}

fn inside(field: &str, path: &str) -> Result<String, JobError> {
    storage_path(field, path).map_err(|_| bad(field, &format!("'{path}' is not a path inside the scripts (no '..')")))
}

fn function(field: &str, name: Option<&str>) -> Result<Option<String>, JobError> {
    let Some(name) = name.map(str::trim).filter(|name| !name.is_empty()) else { return Ok(None) };
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    if name.starts_with(letter) && name.chars().all(|c| letter(c) || c.is_ascii_digit()) {
        return Ok(Some(name.to_owned()));
    }
    Err(bad(field, &format!("'{name}' is no name of a Python function")))
}
