//! `cargo xtask sim`: runs seeds of the simulation (`integration/tests/sim`), so many at once as there are cores.

use crate::metadata;
use anyhow::{Context as _, Result, ensure};
use clap::Args;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// Seeds that every run of CI has, from 0 on; and those that only one has.
const FIXED: u64 = 300;
const FRESH: u64 = 200;

#[derive(Args)]
pub(crate) struct Sim {
    /// How many seeds.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// The first one; without it, a fresh one, which is printed.
    #[arg(long)]
    seed: Option<u64>,
    /// Threads; as many as there are cores without it.
    #[arg(long)]
    threads: Option<usize>,
    /// Prints all that happens.
    #[arg(long)]
    print: bool,
}

pub(crate) fn run(args: &Sim) -> Result<()> {
    let seed = args.seed.unwrap_or_else(fresh);
    println!("seeds {seed} to {}", seed.saturating_add(args.seeds.saturating_sub(1)));
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    // one that is replayed alone is looked at
    let print = args.print || (args.seeds == 1 && args.seed.is_some());
    campaign(seed, args.seeds, args.threads.unwrap_or(cores), print)
}

/// The fixed seeds and fresh ones.
pub(crate) fn ci() -> Result<()> {
    run(&Sim { seeds: FIXED, seed: Some(0), threads: None, print: false })?;
    run(&Sim { seeds: FRESH, seed: None, threads: None, print: false })
}

fn campaign(seed: u64, seeds: u64, threads: usize, print: bool) -> Result<()> {
    let mut command = Command::new("cargo");
    // the whole workspace is named, so that nothing is built again that CI or the tests have built
    command.args(["test", "--locked", "--quiet", "--workspace", "--test", "sim", "--"]);
    command.args(["campaign", "--exact", "--ignored", "--nocapture"]);
    command.env("NSFL_SIM_SEED", seed.to_string()).env("NSFL_SIM_SEEDS", seeds.to_string());
    command.env("NSFL_SIM_THREADS", threads.max(1).to_string());
    if print {
        command.env("NSFL_SIM_PRINT", "1");
    }
    let status = command.current_dir(metadata::root()).status().context("cargo")?;
    ensure!(status.success(), "the simulation: {status}");
    Ok(())
}

fn fresh() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // short enough to be typed
    u64::try_from(since.as_millis()).unwrap_or_default() % 1_000_000_000 + 1_000_000
}
