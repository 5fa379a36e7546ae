//! The client's data sets: a table in the configuration, or a JSON file that holds one. Nothing is opened but that file.

use crate::{ConfigError, load};
use figment::Figment;
use figment::providers::Serialized;
use figment::value::magic::RelativePathBuf;
use serde::de::{Deserialize, Deserializer, Error as _};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const KEY: &str = "datasets";

/// The same layers with a `datasets = "file.json"` replaced by what the file holds.
pub(crate) fn inlined(figment: Figment) -> Result<Figment, ConfigError> {
    let is_file = figment.find_value(KEY).is_ok_and(|value| value.as_str().is_some());
    if !is_file {
        return Ok(figment);
    }
    let file = figment.extract_inner::<RelativePathBuf>(KEY).map_err(|e| load::problem(&figment, e))?.relative();
    let map = read(&file)?;
    Ok(figment.merge(Serialized::default(KEY, map)))
}

/// Name to path; a relative path in a file is relative to that file.
pub(crate) fn anchored<'de, D: Deserializer<'de>>(d: D) -> Result<BTreeMap<String, PathBuf>, D::Error> {
    let map = BTreeMap::<String, RelativePathBuf>::deserialize(d)?;
    if let Some((name, _)) = map.iter().find(|(_, path)| path.original().as_os_str().is_empty()) {
        return Err(D::Error::custom(format!("'{name}' has an empty path")));
    }
    Ok(map.into_iter().map(|(name, path)| (name, path.relative())).collect())
}

fn read(file: &Path) -> Result<BTreeMap<String, PathBuf>, ConfigError> {
    let text =
        std::fs::read_to_string(file).map_err(|source| ConfigError::Unreadable { path: file.to_owned(), source })?;
    let map: BTreeMap<String, PathBuf> =
        serde_json::from_str(&text).map_err(|source| ConfigError::Datasets { path: file.to_owned(), source })?;
    let folder = file.parent().unwrap_or(Path::new(""));
    Ok(map.into_iter().map(|(name, path)| (name, folder.join(path))).collect())
}
