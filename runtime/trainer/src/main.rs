//! The builtin trainers as a program of their own: `nsfl-trainer --task FILE`. The daemon starts itself instead.

use std::path::Path;
use std::process::ExitCode;

#[allow(clippy::print_stderr, reason = "usage of a program")]
fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    match args.as_slice() {
        [flag, file] if flag == "--task" => nsfl_trainer::child_main(Path::new(file)),
        _ => {
            eprintln!("usage: nsfl-trainer --task FILE");
            ExitCode::from(2)
        }
    }
}
