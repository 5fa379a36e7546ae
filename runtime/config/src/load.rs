//! Layers file, environment and flags, and turns what figment says into an error that names place, key and remedy.
//! It knows no key of its own.

use crate::ConfigError;
use figment::error::Kind;
use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Error, Figment, Metadata, Profile, Provider};
use serde::{Serialize, de::DeserializeOwned};
use std::path::Path;

/// What the names of environment variables begin with; `__` separates levels: `NSFL_LINK__LISTEN` is `link.listen`.
pub const PREFIX: &str = "NSFL_";

/// For a caller without flags.
pub const NO_FLAGS: Option<()> = None;

const ENVIRONMENT: &str = "environment";
const COMMAND_LINE: &str = "the command line";

/// Variables with our prefix that are no key of a node: its own `--config`, and everything of `nsfl-ctl`.
fn is_key(name: &str) -> bool {
    name != "config" && !name.starts_with("ctl_")
}

pub(crate) fn process_environment() -> Vec<(String, String)> {
    std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect()
}

pub(crate) fn layers(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
    flags: impl Serialize,
) -> Result<Figment, ConfigError> {
    let mut figment = Figment::new();
    if let Some(path) = file {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        toml::from_str::<toml::Table>(&text).map_err(|e| ConfigError::NotToml {
            path: path.to_owned(),
            problem: e.to_string().trim_end().to_owned(),
        })?;
        figment = figment.merge(Toml::file_exact(path));
    }
    let environment = Layer { name: ENVIRONMENT, values: variables(environment) };
    let flags = Layer { name: COMMAND_LINE, values: given(flags)? };
    Ok(figment.merge(environment).merge(flags))
}

pub(crate) fn extract<T: DeserializeOwned>(figment: &Figment) -> Result<T, ConfigError> {
    figment.extract().map_err(|e| problem(figment, e))
}

pub(crate) fn describe(config: &impl Serialize) -> String {
    toml::to_string(config).expect("numbers fit i64, keys are strings and paths came from text")
}

struct Layer {
    name: &'static str,
    values: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

/// `NSFL_A__B=1` becomes `{a: {b: 1}}`; values are read as TOML where they are TOML, as text where not.
fn variables(environment: impl IntoIterator<Item = (String, String)>) -> Dict {
    let mut values = Dict::new();
    for (name, value) in environment {
        let Some(name) = name.strip_prefix(PREFIX).map(str::to_ascii_lowercase).filter(|n| is_key(n)) else { continue };
        let value: Value = value.parse().unwrap_or_else(|never| match never {});
        insert(&mut values, &name.split("__").collect::<Vec<_>>(), value);
    }
    values
}

fn insert(dict: &mut Dict, path: &[&str], value: Value) {
    match path {
        [] => {}
        [key] => _ = dict.insert((*key).to_owned(), value),
        [key, rest @ ..] => match dict.entry((*key).to_owned()).or_insert_with(|| Value::from(Dict::new())) {
            Value::Dict(_, inner) => insert(inner, rest, value),
            scalar => {
                let mut inner = Dict::new();
                insert(&mut inner, rest, value);
                *scalar = Value::from(inner);
            }
        },
    }
}

/// The flags as a table, without those that were not given.
fn given(flags: impl Serialize) -> Result<Dict, ConfigError> {
    let mut json = serde_json::to_value(flags).map_err(|e| ConfigError::Flags(e.to_string()))?;
    prune(&mut json);
    if json.is_null() {
        return Ok(Dict::new());
    }
    let value = Value::serialize(&json).map_err(|e| ConfigError::Flags(e.to_string()))?;
    value.into_dict().ok_or_else(|| ConfigError::Flags(json.to_string()))
}

fn prune(json: &mut serde_json::Value) {
    if let serde_json::Value::Object(map) = json {
        map.retain(|_, v| !v.is_null());
        map.values_mut().for_each(prune);
    }
}

/// The first thing figment complains about: where it stands, its key, what is wrong and what is allowed.
pub(crate) fn problem(figment: &Figment, error: Error) -> ConfigError {
    let error = error.into_iter().next().expect("an error chain has at least its head");
    let mut path = error.path;
    let problem = match error.kind {
        Kind::UnknownField(field, allowed) => {
            if path.last() != Some(&field) {
                path.push(field);
            }
            format!("is unknown; allowed here: {}", allowed.join(", "))
        }
        Kind::MissingField(field) => {
            path.push(field.into_owned());
            return ConfigError::Missing { key: path.join("."), variable: variable(&path) };
        }
        Kind::Message(text) => text,
        other => other.to_string(),
    };
    let key = path.join(".");
    let metadata = error.metadata.or_else(|| figment.find_metadata(&key).cloned());
    ConfigError::Value { place: place(metadata.as_ref(), &path), key, problem }
}

fn place(metadata: Option<&Metadata>, path: &[String]) -> String {
    match metadata {
        Some(m) if m.name == ENVIRONMENT => format!("environment variable {}", variable(path)),
        Some(m) => match m.source.as_ref().and_then(figment::Source::file_path) {
            Some(file) => format!("file {}", file.display()),
            None => m.name.to_string(),
        },
        None => "unknown place".to_owned(),
    }
}

fn variable(path: &[String]) -> String {
    format!("{PREFIX}{}", path.join("__").to_ascii_uppercase())
}
