//! `cargo xtask console`: checks and builds the console's pages, and tries them in a browser on real processes. The product
//! needs none of it: what is built is committed in `console/dist`.

use crate::{apt, ci, metadata};
use anyhow::{Context, Result, bail, ensure};
use std::path::Path;
use std::process::Command;

const BROWSER: &str = "/usr/bin/chromium";

/// What to do beside building.
#[derive(clap::Args)]
pub(crate) struct ConsoleArgs {
    /// Fails when `console/dist` as committed is not what comes out of the sources.
    #[arg(long)]
    check: bool,
    /// Runs the tests in a browser, on the `nsfl-node` that it builds.
    #[arg(long)]
    test: bool,
}

/// `cargo xtask console`.
pub(crate) fn run(args: &ConsoleArgs) -> Result<()> {
    ensure!(have_npm(), "npm is missing: install Node.js 20.19 or newer");
    build()?;
    if args.check {
        unchanged()?;
    }
    if args.test {
        ensure!(have_browser(), "{BROWSER} is missing: apt-get install -y chromium");
        browse()?;
    }
    Ok(())
}

/// Everything, as far as this machine has what it needs.
pub(crate) fn in_ci() -> Result<()> {
    if !have_npm() {
        println!("npm is missing: the console's pages are neither built nor tried");
        return Ok(());
    }
    build()?;
    unchanged()?;
    if !have_browser() {
        println!("{BROWSER} is missing and cannot be installed: the console's pages are not tried in a browser");
        return Ok(());
    }
    browse()
}

/// Installs what the lock file pins, checks types, style and parts, builds.
fn build() -> Result<()> {
    npm(&["ci", "--no-audit", "--no-fund"])?;
    npm(&["run", "check"])?;
    npm(&["run", "build"])
}

fn unchanged() -> Result<()> {
    let mut git = Command::new("git");
    git.args(["status", "--porcelain", "--", "console/dist"]).current_dir(metadata::root());
    let status = git.output().context("git status")?;
    ensure!(status.status.success(), "git status: {}", String::from_utf8_lossy(&status.stderr).trim());
    let changed = String::from_utf8_lossy(&status.stdout);
    if !changed.is_empty() {
        bail!("console/dist is not what its sources give; commit what was built:\n{}", changed.trim_end());
    }
    println!("console/dist is what its sources give");
    Ok(())
}

/// The pages are part of the program: it is built with them.
fn browse() -> Result<()> {
    ci::cargo_with(&["build", "--workspace", "--bins", "--locked"], &[])?;
    npm(&["test"])
}

fn have_npm() -> bool {
    Command::new("npm").arg("--version").output().is_ok_and(|o| o.status.success())
}

fn have_browser() -> bool {
    Path::new(BROWSER).exists() || (apt::install("chromium") && Path::new(BROWSER).exists())
}

fn npm(args: &[&str]) -> Result<()> {
    println!("npm {}", args.join(" "));
    let status =
        Command::new("npm").args(args).current_dir(metadata::root().join("console")).status().context("npm")?;
    ensure!(status.success(), "npm {}: {status}", args.join(" "));
    Ok(())
}
