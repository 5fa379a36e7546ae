//! Why a command did not do what it was asked, and the exit code that tells a script so.

use std::path::Path;

/// What went wrong, where, and how to fix it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The server said no, or the job failed.
    #[error("{0}")]
    Refused(String),
    /// The server cannot do it now.
    #[error("{0}")]
    Busy(String),
    /// The command, a file it names or its configuration is wrong.
    #[error("{0}")]
    Usage(String),
    /// No answer from the server.
    #[error(
        "cannot reach the server at {server}: {cause}\n  is nsfl-node running there? another address: --server URL, NSFL_CTL_SERVER, or `nsfl-ctl set config -s URL`"
    )]
    Unreachable {
        /// Its URL.
        server: String,
        /// What the network said.
        cause: String,
    },
    /// No such thing.
    #[error("{0}")]
    NotFound(String),
    /// A backup that cannot be restored from.
    #[error("{0}")]
    Unusable(String),
    /// It took longer than `--timeout`.
    #[error("{0}")]
    TimedOut(String),
    /// The result could not be printed; a reader that went away (`| head`) is no news.
    #[error("cannot write the result: {0}")]
    Output(#[from] std::io::Error),
}

impl Fault {
    /// As documented in `--help`.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Fault::Refused(_) | Fault::Busy(_) | Fault::Output(_) => 1,
            Fault::Usage(_) => 2,
            Fault::Unreachable { .. } => 3,
            Fault::NotFound(_) => 4,
            Fault::TimedOut(_) => 5,
            Fault::Unusable(_) => 6,
        }
    }

    /// A local file that cannot be used.
    pub(crate) fn file(path: &Path, problem: impl std::fmt::Display) -> Self {
        Fault::Usage(format!("{}: {problem}", path.display()))
    }
}
