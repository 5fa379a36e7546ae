//! `cargo xtask bench`: what the platform costs, measured on processes of the release build. Judges nothing; what was
//! measured where is in docs/performance.md.

mod durable;
pub(crate) mod federation;
mod process;
mod report;
mod rounds;

use anyhow::{Context as _, Result, ensure};
use clap::{Args, Subcommand};
use std::path::PathBuf;
use std::process::Command;

#[derive(Subcommand)]
pub(crate) enum Bench {
    /// Rounds without training: a server and clients as processes on this machine, mutual TLS, everything durable.
    Rounds(RoundsArgs),
    /// The same rounds with and without fsync, by turns.
    Durable(DurableArgs),
    /// A link beside a bare gRPC stream: messages and calls a second, latencies, a peer that stops reading.
    Link,
    /// What a message costs an actor, and what share of it is the bookkeeping behind `get actors` and `/metrics`.
    Actors,
    /// A script's task on its client, beside the script: time and peak memory.
    Task,
}

#[derive(Args)]
pub(crate) struct RoundsArgs {
    /// Sizes of the model, in 10^6 bytes.
    #[arg(long, value_delimiter = ',', default_value = "1,10,100")]
    pub(crate) models: Vec<f64>,
    /// Numbers of clients.
    #[arg(long, value_delimiter = ',', default_value = "4,16")]
    pub(crate) clients: Vec<u32>,
    /// Rounds of each; the first is left out of the figures.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(2..=10_000))]
    pub(crate) rounds: u32,
    /// One JSON object a line instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
    /// Folder for the nodes' data; a new one in the temporary folder when not given. Removed at the end.
    #[arg(long)]
    pub(crate) dir: Option<PathBuf>,
    /// This node program instead of one built now.
    #[arg(long)]
    pub(crate) program: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct DurableArgs {
    /// Sizes of the model, in 10^6 bytes.
    #[arg(long, value_delimiter = ',', default_value = "1,10")]
    pub(crate) models: Vec<f64>,
    /// Numbers of clients.
    #[arg(long, value_delimiter = ',', default_value = "4,16")]
    pub(crate) clients: Vec<u32>,
    /// Rounds of each turn; the first is left out of the figures.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(2..=10_000))]
    pub(crate) rounds: u32,
    /// Turns with and without.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) turns: u32,
    /// One JSON object a line instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) fn run(bench: Bench) -> Result<()> {
    match bench {
        Bench::Rounds(args) => rounds::run(&args),
        Bench::Durable(args) => durable::run(&args),
        Bench::Link => cargo(&["bench", "-p", "nsfl-transport", "--bench", "link"]),
        Bench::Actors => cargo(&["bench", "-p", "nsfl-actor", "--bench", "observe"]),
        Bench::Task => cargo(&["bench", "-p", "nsfl-task-manager", "--bench", "task"]),
    }
}

/// The release build of the node, made now.
fn node() -> Result<PathBuf> {
    cargo(&["build", "--release", "-p", "nsfl-node"])?;
    let metadata = cargo_metadata::MetadataCommand::new().no_deps().exec()?;
    Ok(metadata.target_directory.join("release/nsfl-node").into())
}

fn cargo(args: &[&str]) -> Result<()> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(program).args(args).status().context("cargo cannot be started")?;
    ensure!(status.success(), "cargo {} failed", args.join(" "));
    Ok(())
}
