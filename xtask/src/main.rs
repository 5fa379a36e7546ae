//! The project's own commands: `cargo xtask ci`, `test`, `layers`, `tidy`, `bench`, `faults`, `learn`, `sim`, `python`,
//! `example`, `torch`, `console`. Nothing here is part of the product.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a tool that talks to the terminal")]

mod apt;
mod bench;
mod ci;
mod console;
mod example;
mod faults;
mod layers;
mod learn;
mod metadata;
mod orphans;
mod python;
mod sim;
mod tidy;
mod torch;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's own commands")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything that must hold before a change is merged.
    Ci,
    /// The tests alone.
    Test {
        /// Packages (name or folder) or parts of test names; all tests without it.
        #[arg(long, num_args = 1.., value_name = "PACKAGE|TEST")]
        only: Vec<String>,
    },
    /// Which crate may depend on which.
    Layers,
    /// House rules that a compiler does not check.
    Tidy,
    /// What the platform costs: rounds, links.
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Fails every part of a running federation at every step, and compares the final model with the undisturbed run's.
    #[command(trailing_var_arg = true)]
    Faults {
        /// `--only TEXT…`, `--json`. Without `--only`, docs/reliability.md is written.
        #[arg(allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Trains digits by each rule, against hostile clients, compressed and with slow clients, as real jobs.
    #[command(trailing_var_arg = true)]
    Learn {
        /// `--only SECTION…`, `--rules RULE…`, `--splits SPLIT…`, `--seeds N`, `--json`. Without the middle three, docs/learning.md is
        /// written.
        #[arg(allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// The Python that tests and examples run in: PyTorch, TensorFlow, Keras and the SDK under target/python.
    Python(python::PythonArgs),
    /// An example of `examples/fashion_mnist` on a federation of four clients on this machine.
    Example(example::ExampleArgs),
    /// Checks and builds the console's pages; needs Node.js.
    Console(console::ConsoleArgs),
    /// Builds the torchscript runtime with libtorch and runs its tests.
    Torch,
    /// Runs the actors on virtual time over a simulated network and disks, by seeds. A seed always gives the same run.
    Sim(sim::Sim),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Ci => ci::run(),
        Command::Test { only } => ci::test(&only),
        Command::Layers => layers::run(),
        Command::Tidy => tidy::run(),
        Command::Bench(bench) => bench::run(bench),
        Command::Faults { args } => faults::run(&args),
        Command::Learn { args } => learn::run(&args),
        Command::Sim(args) => sim::run(&args),
        Command::Python(args) => python::run(&args),
        Command::Example(args) => example::run(&args),
        Command::Console(args) => console::run(&args),
        Command::Torch => torch::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::FAILURE
        }
    }
}
