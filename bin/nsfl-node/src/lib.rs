//! The daemon, one per machine: the composition root of server and client, and the commands around them.
//! Only here is it known which backend stands behind a store. Every decision is elsewhere.
//!
//! A library for one purpose: a program that is a node with aggregation rules of its own calls [`run`] with them.

mod aggregate;
mod backup;
mod check;
mod cli;
mod client;
mod confine;
mod exit;
mod fsck;
mod newer;
mod node;
mod provision;
mod quickstart;
mod replay;
mod server;
mod sweeper;

use clap::Parser as _;
use cli::{Cli, Command};
use std::process::ExitCode;

pub use nsfl_aggregate::Rules;

/// The whole program `nsfl-node`: reads its command line and does what it says. Jobs, `aggregate` and `replay` may name these
/// rules.
#[must_use]
pub fn run(rules: Rules) -> ExitCode {
    let cli = Cli::parse();
    // A trainer child starts often and must start fast: it needs neither TLS nor an async runtime.
    match &cli.command {
        Command::Trainer { task } => return nsfl_trainer::child_main(task),
        Command::Warden { command } => return nsfl_trainer::launch::warden_main(command),
        _ => {}
    }
    let installed = rustls::crypto::ring::default_provider().install_default();
    debug_assert!(installed.is_ok(), "nothing else installs a crypto provider");
    let done = match cli.command {
        Command::Server(args) => server::main(args, rules),
        Command::Client(args) => client::main(args),
        Command::Quickstart(args) => quickstart::main(&args),
        Command::Provision(args) => provision::main(args),
        Command::Fsck(args) => fsck::main(&args),
        Command::Aggregate(args) => aggregate::main(&args, &rules),
        Command::Replay(args) => replay::main(&args, &rules),
        Command::CheckConfig(args) => check::main(&args),
        Command::Trainer { .. } | Command::Warden { .. } => Ok(()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::report(&error),
    }
}
