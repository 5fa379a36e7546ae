//! The daemon with the library's own rules.

use nsfl_node::Rules;
use std::process::ExitCode;

fn main() -> ExitCode {
    nsfl_node::run(Rules::default())
}
