//! The file `nsfl/ctl.toml` in the user's configuration folder: which server, and who asks.

use crate::fault::Fault;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Where a server listens when nothing else was said.
const DEFAULT_SERVER: &str = "http://127.0.0.1:8080";

/// The configuration of nsfl-ctl.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// URL of the API server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<String>,
    /// URL of the server that takes files; the API server when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data_server: Option<String>,
    /// Who asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    /// The user's password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) password: Option<String>,
    /// The token that is shown to the server, in place of user and password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<String>,
    /// Certificate of the authority of https servers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) certificate: Option<PathBuf>,
}

impl Config {
    /// The URL of the API server without a slash at its end.
    pub(crate) fn server(&self) -> &str {
        self.server.as_deref().unwrap_or(DEFAULT_SERVER).trim_end_matches('/')
    }

    /// The URL of the server that takes files.
    pub(crate) fn data_server(&self) -> &str {
        self.data_server.as_deref().map_or(self.server(), |url| url.trim_end_matches('/'))
    }

    /// With the server of the command line or the environment, when there is one. It also takes the files then.
    #[must_use]
    pub(crate) fn with_server(self, server: Option<String>) -> Self {
        match server {
            Some(server) => Self { server: Some(server), data_server: None, ..self },
            None => self,
        }
    }
}

/// `$XDG_CONFIG_HOME/nsfl/ctl.toml`, or the same below `$HOME/.config`.
pub(crate) fn path() -> Result<PathBuf, Fault> {
    let var = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = var("XDG_CONFIG_HOME").or_else(|| var("HOME").map(|home| home.join(".config")));
    let folder =
        folder.ok_or_else(|| Fault::Usage("set HOME or XDG_CONFIG_HOME: nsfl-ctl keeps its file there".into()))?;
    Ok(folder.join("nsfl").join("ctl.toml"))
}

/// The configuration; the default one without a file.
pub(crate) fn load(path: &Path) -> Result<Config, Fault> {
    match fs::read_to_string(path) {
        Ok(text) => toml::from_str(&text).map_err(|e| Fault::file(path, e)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(Config::default()),
        Err(e) => Err(Fault::file(path, e)),
    }
}

/// Replaces the file at once, readable by its owner only.
pub(crate) fn save(path: &Path, config: &Config) -> Result<(), Fault> {
    let failed = |e: std::io::Error| Fault::file(path, e);
    let text = toml::to_string(config).map_err(|e| Fault::file(path, e))?;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let beside = path.with_extension(format!("toml.{}", std::process::id()));
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&beside, path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn what_was_saved_is_loaded_and_nobody_else_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nsfl/ctl.toml");
        assert_eq!(load(&path).unwrap(), Config::default());
        let config = Config { user: Some("me".into()), password: Some("secret".into()), ..Config::default() };
        save(&path, &config).unwrap();
        save(&path, &config).unwrap();
        assert_eq!(load(&path).unwrap(), config);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_server_given_for_one_command_also_takes_its_files() {
        let config =
            Config { server: Some("http://a/".into()), data_server: Some("http://b".into()), ..Config::default() };
        assert_eq!((config.server(), config.data_server()), ("http://a", "http://b"));
        let config = config.with_server(Some("http://c".into()));
        assert_eq!((config.server(), config.data_server()), ("http://c", "http://c"));
    }

    #[test]
    fn an_unknown_key_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ctl.toml");
        fs::write(&path, "sever = 'x'").unwrap();
        let fault = load(&path).unwrap_err();
        assert!(fault.to_string().contains("sever"), "{fault}");
        assert_eq!(fault.exit_code(), 2);
    }
}
