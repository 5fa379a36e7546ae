//! The builtin trainers as a program of their own: `nsfl-trainer --task FILE`, and the keeper of a tree of processes:
//! `nsfl-trainer --keep PROGRAM ARGS…`. The daemon starts itself instead.

use std::path::Path;
use std::process::ExitCode;

#[allow(clippy::print_stderr, reason = "usage of a program")]
fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    match args.as_slice() {
        [flag, file] if flag == "--task" => nsfl_trainer::child_main(Path::new(file)),
        [flag, command @ ..] if flag == "--keep" => nsfl_trainer::keeper_main(command),
        _ => {
            eprintln!("usage: nsfl-trainer --task FILE | --keep PROGRAM ARGS…");
            ExitCode::from(2)
        }
    }
}
