//! `cargo xtask faults`: builds a node that can be failed at any step, and runs the fault matrix of `integration` on it.

use crate::{ci, metadata};
use anyhow::{Context as _, Result, ensure};
use std::process::Command;

/// `args` go to the matrix; see `integration/src/bin/faults.rs`.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let armed = ["build", "--locked", "--workspace", "--bins", "--features", "nsfl-node/fault-points"];
    ci::cargo_with(&armed, &[])?;
    let target = cargo_metadata::MetadataCommand::new().no_deps().exec()?.target_directory;
    // the next ordinary build puts its own program in this one's place
    let program = target.join("debug/nsfl-node-faults");
    std::fs::copy(target.join("debug/nsfl-node"), &program).context("the armed build was not copied")?;
    let report = metadata::root().join("docs/reliability.md");
    let mut matrix = Command::new(target.join("debug/faults"));
    matrix.current_dir(metadata::root()).args(["--program", program.as_str()]);
    let whole = !args.iter().any(|arg| arg == "--only");
    if whole {
        matrix.arg("--write").arg(report);
    }
    let status = matrix.args(args).status().context("target/debug/faults")?;
    ensure!(status.success(), "faults: {status}");
    Ok(())
}
