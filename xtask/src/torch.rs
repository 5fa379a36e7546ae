//! `cargo xtask torch`: builds the torchscript runtime with libtorch and runs its tests, none of which an ordinary build
//! has. libtorch is that of the Python environment. The build shares the target folder: what it has in common with the
//! others is not built twice.

use crate::{ci, python};
use anyhow::Result;

const CRATE: [&str; 4] = ["-p", "nsfl-trainer-torch", "--features", "torch"];

/// `cargo xtask torch`.
pub(crate) fn run() -> Result<()> {
    let libtorch = python::torch()?.libtorch();
    let cargo = |before: &[&str], after: &[&str]| ci::cargo_with(&[before, &CRATE, after].concat(), &libtorch);
    cargo(&["clippy"], &["--all-targets", "--locked", "--", "-D", "warnings"])?;
    if ci::have_nextest() { cargo(&["nextest", "run"], &["--locked"]) } else { cargo(&["test"], &["--locked"]) }
}
