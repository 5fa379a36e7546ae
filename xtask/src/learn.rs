//! `cargo xtask learn`: builds the node and runs the learning table of `integration` on it.

use crate::metadata;
use anyhow::{Context as _, Result, ensure};
use std::process::Command;

/// `args` go to the table; see `integration/src/bin/learn.rs`.
pub(crate) fn run(args: &[String]) -> Result<()> {
    // the whole workspace is named, so that nothing is built again that CI or the tests have built
    let mut build = Command::new("cargo");
    build.args(["build", "--locked", "--workspace", "--bins"]).current_dir(metadata::root());
    let built = build.status().context("cargo")?;
    ensure!(built.success(), "cargo build: {built}");
    let target = cargo_metadata::MetadataCommand::new().no_deps().exec()?.target_directory;
    let done = Command::new(target.join("debug/learn"))
        .arg("--program")
        .arg(target.join("debug/nsfl-node"))
        .arg("--write")
        .arg(metadata::root().join("docs"))
        .args(args)
        .status()
        .context("the learning table was not started")?;
    ensure!(done.success(), "the learning table: {done}");
    Ok(())
}
