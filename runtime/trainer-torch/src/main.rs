//! The torchscript runtime as a program: `nsfl-trainer-torch --task FILE`, started by the daemon.

use std::path::Path;
use std::process::ExitCode;

#[allow(clippy::print_stderr, reason = "usage of a program")]
fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    match args.as_slice() {
        [flag, file] if flag == "--task" => nsfl_trainer::child_main_with(Path::new(file), nsfl_trainer_torch::run),
        _ => {
            eprintln!("usage: nsfl-trainer-torch --task FILE");
            ExitCode::from(2)
        }
    }
}
