//! The programs as an operator runs them: to their end, with what they said.

use crate::{Federation, binary};
use serde_json::Value;
use std::process::{Command, Output, Stdio};

/// Runs `nsfl-node` to its end.
///
/// # Panics
/// It is not built.
#[must_use]
pub fn node(args: &[&str]) -> Output {
    run(Command::new(program("nsfl-node")).args(args))
}

/// Runs `nsfl-ctl` to its end, against this federation's server.
///
/// # Panics
/// It is not built.
#[must_use]
pub fn ctl(federation: &Federation, args: &[&str]) -> Output {
    let server = format!("http://{}", federation.server.ready["rest"].as_str().unwrap_or_default());
    let mut command = Command::new(program("nsfl-ctl"));
    run(command.env("NSFL_CTL_SERVER", server).env("XDG_CONFIG_HOME", federation.folder()).args(args))
}

/// Exit code and report of `nsfl-node fsck --json` on the server's folder.
#[must_use]
pub fn fsck(federation: &Federation) -> (Option<i32>, Value) {
    let config = federation.folder().join("server.toml");
    let output = node(&["fsck", "--json", "--config", &config.to_string_lossy()]);
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or_default())
}

/// What it said on standard error.
#[must_use]
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn program(name: &str) -> std::path::PathBuf {
    binary(name).unwrap_or_else(|error| panic!("{error:#}"))
}

fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"))
}
