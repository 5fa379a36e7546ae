//! The builtin trainers as a program of their own: `nsfl-trainer --task FILE`, and the warden of a task's
//! processes: `nsfl-trainer --warden`. The daemon starts itself instead.

use std::path::Path;
use std::process::ExitCode;

#[allow(clippy::print_stderr, reason = "usage of a program")]
fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    match args.as_slice() {
        [flag, file] if flag == "--task" => nsfl_trainer::child_main(Path::new(file)),
        [flag, command @ ..] if flag == "--warden" => nsfl_trainer::launch::warden_main(command),
        _ => {
            eprintln!("usage: nsfl-trainer --task FILE | --warden");
            ExitCode::from(2)
        }
    }
}
