//! Exit codes, and the one line on standard error that goes with them.

use nsfl_types::Code;
use std::process::ExitCode;

/// A failure with an exit code of its own.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Coded {
    pub(crate) exit: u8,
    pub(crate) message: String,
}

pub(crate) const CONFIG: u8 = 2;
pub(crate) const ADDRESS_IN_USE: u8 = 3;
pub(crate) const DAMAGED: u8 = 4;
pub(crate) const DISK_FULL: u8 = 5;
pub(crate) const FOLDER_IN_USE: u8 = 6;
/// EX_SOFTWARE of sysexits: a service manager starts the node again.
pub(crate) const GAVE_UP: u8 = 70;

pub(crate) fn coded(exit: u8, message: impl Into<String>) -> anyhow::Error {
    Coded { exit, message: message.into() }.into()
}

/// The exit code for a store that cannot be opened.
pub(crate) fn store(error: nsfl_store::StoreError) -> anyhow::Error {
    let exit = match error.code() {
        Code::DiskFull => DISK_FULL,
        Code::NewerData => DAMAGED,
        _ if matches!(error, nsfl_store::StoreError::Damaged(_)) => DAMAGED,
        _ => 1,
    };
    let failure = nsfl_actor::Failure::from_error(&error);
    coded(exit, failure.to_string())
}

/// The exit code for a collector that cannot be used.
pub(crate) fn telemetry(error: nsfl_telemetry::CollectorError) -> anyhow::Error {
    let why = nsfl_actor::Failure::from_error(&error);
    coded(CONFIG, format!("configuration: telemetry.otlp: {why}"))
}

/// The exit code for a tree of actors that did not start or gave up.
pub(crate) fn failure(failure: &nsfl_actor::Failure, otherwise: u8) -> anyhow::Error {
    let text = failure.to_string();
    let lower = text.to_lowercase();
    let exit = if lower.contains("in use") { ADDRESS_IN_USE } else { otherwise };
    coded(exit, text)
}

#[allow(clippy::print_stderr, reason = "the last word of the process")]
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    eprintln!("nsfl-node: {error:#}");
    ExitCode::from(error.downcast_ref::<Coded>().map_or(1, |coded| coded.exit))
}
