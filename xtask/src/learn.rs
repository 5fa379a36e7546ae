//! `cargo xtask learn`: builds the node and runs the learning table of `integration` on it.

use crate::{ci, metadata};
use anyhow::{Context as _, Result, ensure};
use std::process::Command;

/// `args` go to the table; see `integration/src/bin/learn.rs`.
pub(crate) fn run(args: &[String]) -> Result<()> {
    ci::cargo_with(&["build", "--locked", "--workspace", "--bins"], &[])?;
    let programs = cargo_metadata::MetadataCommand::new().no_deps().exec()?.target_directory.join("debug");
    let mut table = Command::new(programs.join("learn"));
    table.arg("--program").arg(programs.join("nsfl-node")).arg("--write").arg(metadata::root().join("docs"));
    let status = table.args(args).status().context("target/debug/learn")?;
    ensure!(status.success(), "learn: {status}");
    Ok(())
}
