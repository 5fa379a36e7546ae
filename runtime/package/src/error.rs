//! What is wrong with a package, or with the folder that was to become one.

use nsfl_types::{Code, Refusal};
use std::io;
use std::path::PathBuf;

/// Why there is no package, or why it is not taken.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The folder or a file in it cannot be read.
    #[error("'{}' cannot be read", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something that does not go into a package.
    #[error("'{}' {problem}", path.display())]
    NotPackable {
        /// Which.
        path: PathBuf,
        /// Why not.
        problem: &'static str,
    },
    /// An entry of a zip that could leave the folder it is unpacked to, or is no file.
    #[error("entry '{entry}' {problem}")]
    BadEntry {
        /// Its name, shortened.
        entry: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// Two entries of one name.
    #[error("a name is in it twice")]
    Twice,
    /// More than is taken.
    #[error("{what} is more than the {max} that are taken")]
    TooLarge {
        /// What, with its size.
        what: String,
        /// The limit.
        max: u64,
    },
    /// It grows beyond measure.
    #[error("{bytes} bytes unpacked is more than {ratio} times its size")]
    Bomb {
        /// What it says it holds.
        bytes: u64,
        /// The limit.
        ratio: u64,
    },
    /// No zip, or a damaged one.
    #[error("it is no readable zip")]
    Zip(#[from] zip::result::ZipError),
    /// The disk, while it was packed or unpacked.
    #[error("'{}' was not written", path.display())]
    Disk {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl PackageError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            PackageError::Unreadable { source, .. } if source.kind() == io::ErrorKind::NotFound => Code::ScriptMissing,
            PackageError::Disk { source, .. } if source.kind() == io::ErrorKind::StorageFull => Code::DiskFull,
            PackageError::Disk { .. } => Code::Internal,
            PackageError::TooLarge { .. } | PackageError::Bomb { .. } => Code::PackageTooLarge,
            _ => Code::BadPackage,
        }
    }

    /// With all of its causes in one sentence, said of `what`.
    #[must_use]
    pub fn refusal(&self, what: &str) -> Refusal {
        let causes = std::iter::successors(std::error::Error::source(self), |error| error.source());
        let reason = causes.fold(format!("{what}: {self}"), |text, cause| format!("{text}: {cause}"));
        Refusal::new(self.code(), reason)
    }
}
