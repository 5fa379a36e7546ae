//! The child's side: reads the task, does it, writes the outcome, and dies when the daemon does.

use crate::error::chain;
use crate::task::Outcome;
use crate::{TrainerFailure, TrainerResult, TrainerTask};
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

/// Set by the daemon: standard input is a pipe that it holds open for as long as it lives.
pub(crate) const TETHER: &str = "NSFL_TRAINER_TETHER";

/// Does the task in this file with a builtin trainer: what `nsfl-node trainer --task FILE` calls.
#[cfg(feature = "builtin")]
#[must_use]
pub fn child_main(task_file: &Path) -> ExitCode {
    child_main_with(task_file, |task| crate::run(task).map_err(crate::TaskError::into_failure))
}

/// Does the task in this file with `run`. Ends with 0 when it is done, 1 when the result file says why not, 2 when
/// there is no result file (standard error says why).
#[must_use]
pub fn child_main_with(
    task_file: &Path,
    run: impl FnOnce(&TrainerTask) -> Result<TrainerResult, TrainerFailure>,
) -> ExitCode {
    if std::env::var_os(TETHER).is_some() {
        std::thread::spawn(die_with_the_daemon);
    }
    let task = match TrainerTask::read(task_file) {
        Ok(task) => task,
        Err(e) => return give_up(&e),
    };
    let (outcome, code) = match run(&task) {
        Ok(result) => (Outcome::Done(result), ExitCode::SUCCESS),
        Err(e) => (Outcome::Failed(e), ExitCode::from(1)),
    };
    outcome.write(&task.result).map_or_else(|e| give_up(&e), |()| code)
}

/// Waits for the end of standard input: the daemon is gone, however it went. Then kills the whole process group.
///
/// Linux could send a signal on the parent's death by itself, but it does so when the *thread* that started the
/// child ends, and the threads of an asynchronous runtime come and go.
fn die_with_the_daemon() {
    let mut stdin = std::io::stdin().lock();
    let mut buffer = [0; 64];
    while stdin.read(&mut buffer).is_ok_and(|n| n > 0) {}
    if rustix::process::getpgrp() == rustix::process::getpid() {
        // only a group of our own: never the shell's
        let _ = rustix::process::kill_current_process_group(rustix::process::Signal::KILL);
    }
    std::process::abort();
}

fn give_up(error: &dyn std::error::Error) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{}", chain(error));
    ExitCode::from(2)
}
