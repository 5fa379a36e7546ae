//! The warden of this crate's tests: `nsfl-node warden` is built after them.

use std::process::ExitCode;

fn main() -> ExitCode {
    let command: Vec<_> = std::env::args_os().skip(1).collect();
    nsfl_trainer::launch::warden_main(&command)
}
