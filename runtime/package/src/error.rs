//! What is wrong with a package, or with the folder that was to become one.

use nsfl_types::Code;
use std::path::PathBuf;

/// Why there is no package.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The folder or a file in it cannot be read.
    #[error("'{}' cannot be read", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
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
    /// More than is taken.
    #[error("{what} is more than the {max} that are taken")]
    TooLarge {
        /// What, with its size.
        what: String,
        /// The limit.
        max: u64,
    },
    /// No zip, or a damaged one.
    #[error("it is no readable zip")]
    Zip(#[from] zip::result::ZipError),
}

impl PackageError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            PackageError::Unreadable { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Code::ScriptMissing
            }
            _ => Code::BadPackage,
        }
    }
}
