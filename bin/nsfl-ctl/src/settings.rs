//! `set config` and `get config`.

use crate::cli::Settings;
use crate::config::{Config, load, save};
use crate::fault::Fault;
use crate::print::{Output, result, structured, table, talk};
use crate::{password, rest};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Changes what was given and keeps the rest.
pub(crate) fn set(path: &Path, given: Settings) -> Result<(), Fault> {
    let mut config = load(path)?;
    if let Some(url) = &given.api_server {
        config.server = checked_url(url)?;
    }
    if let Some(url) = &given.data_server {
        config.data_server = checked_url(url)?;
    }
    if let Some(user) = given.user {
        config.user = Some(user).filter(|user| !user.is_empty());
    }
    if let Some(file) = given.certificate {
        config.certificate = checked_certificate(file)?;
    }
    if let Some(file) = given.token {
        config.token = token(&file)?;
    }
    if given.password {
        let user = config.user.as_deref();
        let user = user.ok_or_else(|| Fault::Usage("a password belongs to a user: give -u too".into()))?;
        config.password = Some(password::ask(user)?).filter(|password| !password.is_empty());
    }
    save(path, &config)?;
    talk(&format!("saved in {}", path.display()));
    Ok(())
}

/// The configuration that the next command would use. A password is never shown.
pub(crate) fn show(path: &Path, server: Option<&str>, output: Option<Output>) -> Result<(), Fault> {
    let config = load(path)?.with_server(server.map(str::to_owned));
    let body = view(&config);
    match output {
        Some(output) => result(&structured(&body, output)?),
        None => {
            let rows = body.as_object().into_iter().flatten();
            let text = |value: &Value| value.as_str().map_or_else(|| "-".to_owned(), str::to_owned);
            result(&table(["NAME", "VALUE"], rows.map(|(name, value)| [name.clone(), text(value)])))
        }
    }
}

fn view(config: &Config) -> Value {
    json!({
        "server": config.server(),
        "data_server": config.data_server(),
        "user": config.user,
        "password": config.password.as_ref().map(|_| "(set)"),
        "token": config.token.as_ref().map(|_| "(set)"),
        "certificate": config.certificate,
    })
}

/// The first line of a file, or of standard input; an empty one removes the token.
fn token(file: &Path) -> Result<Option<String>, Fault> {
    let text = match file.as_os_str().is_empty() {
        true => String::new(),
        false if file == Path::new("-") => std::io::read_to_string(std::io::stdin().lock())?,
        false => std::fs::read_to_string(file).map_err(|e| Fault::file(file, e))?,
    };
    Ok(text.lines().next().map(|line| line.trim().to_owned()).filter(|token| !token.is_empty()))
}

fn checked_url(url: &str) -> Result<Option<String>, Fault> {
    if url.is_empty() { Ok(None) } else { rest::checked_url(url).map(Some) }
}

/// The file's absolute path, so that it is found from anywhere.
fn checked_certificate(file: PathBuf) -> Result<Option<PathBuf>, Fault> {
    if file.as_os_str().is_empty() {
        return Ok(None);
    }
    rest::certificates(&file)?;
    file.canonicalize().map(Some).map_err(|e| Fault::file(&file, e))
}
