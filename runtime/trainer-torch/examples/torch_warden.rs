//! The warden of this crate's tests: `nsfl-node warden` is not built with them.

use std::process::ExitCode;

fn main() -> ExitCode {
    let command: Vec<_> = std::env::args_os().skip(1).collect();
    nsfl_trainer::launch::warden_main(&command)
}
