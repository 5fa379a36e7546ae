//! A node with a rule of its own: all that `nsfl-node` does, and jobs may name `by_accuracy`.

mod by_accuracy;

use nsfl_node::Rules;
use std::process::ExitCode;

fn main() -> ExitCode {
    nsfl_node::run(Rules::default().with(by_accuracy::NAME, by_accuracy::make))
}
