//! `cargo xtask faults`: builds a node that can be failed at any step, and runs the fault matrix of `integration` on it.

use crate::metadata;
use anyhow::{Context as _, Result, ensure};
use std::process::Command;

/// `args` go to the matrix; see `integration/src/bin/faults.rs`.
pub(crate) fn run(args: &[String]) -> Result<()> {
    cargo(&["build", "--locked", "-p", "nsfl-node", "--features", "nsfl-node/fault-points"])?;
    let target = cargo_metadata::MetadataCommand::new().no_deps().exec()?.target_directory;
    // the next ordinary build puts its own program in this one's place
    let program = target.join("debug/nsfl-node-faults");
    std::fs::copy(target.join("debug/nsfl-node"), &program).context("the armed build was not copied")?;
    let report = metadata::root().join("docs/reliability.md");
    let mut command =
        vec!["run", "--locked", "-p", "nsfl-integration", "--bin", "faults", "--", "--program", program.as_str()];
    let whole = !args.iter().any(|arg| arg == "--only");
    if whole {
        command.extend(["--write", report.to_str().context("the path of docs/ is not UTF-8")?]);
    }
    command.extend(args.iter().map(String::as_str));
    cargo(&command)
}

fn cargo(args: &[&str]) -> Result<()> {
    let status = Command::new("cargo").args(args).current_dir(metadata::root()).status().context("cargo")?;
    ensure!(status.success(), "cargo {}: {status}", args.join(" "));
    Ok(())
}
