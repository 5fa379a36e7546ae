//! From SQLite's errors to the store's: which file, how sure, and what to do about it.

use nsfl_store::{Certainty, StoreError};
use rusqlite::{Error, ErrorCode};
use std::path::Path;

/// Maps an error of a read, or of a write before its COMMIT.
pub(crate) fn reading(path: &Path) -> impl Fn(Error) -> StoreError + '_ {
    |source| store_error(path, "using database", Certainty::NotDone, source)
}

/// Maps an error of a COMMIT: the log may hold the transaction all the same.
pub(crate) fn committing(path: &Path) -> impl Fn(Error) -> StoreError + '_ {
    |source| store_error(path, "committing to database", Certainty::MaybeDone, source)
}

/// Names the file and the way out.
pub(crate) fn damaged(path: &Path, how: &str) -> StoreError {
    StoreError::Damaged(format!(
        "{}: {how}; stop the node, put back a backup, or move the file and its -wal and -shm away to start empty",
        path.display()
    ))
}

/// The same failure for each of those whose transaction failed together.
pub(crate) fn shared(error: &StoreError) -> StoreError {
    match error {
        StoreError::DiskFull { what, source } => {
            StoreError::DiskFull { what: what.clone(), source: source.to_string().into() }
        }
        StoreError::Damaged(what) => StoreError::Damaged(what.clone()),
        StoreError::Backend { what, certainty, source } => {
            StoreError::Backend { what: what.clone(), certainty: *certainty, source: source.to_string().into() }
        }
        other => backend(other.to_string(), other.certainty(), "the transaction failed".into()),
    }
}

/// Any failure with words of its own.
pub(crate) fn backend(
    what: String,
    certainty: Certainty,
    source: Box<dyn std::error::Error + Send + Sync>,
) -> StoreError {
    StoreError::Backend { what, certainty, source }
}

fn store_error(path: &Path, doing: &str, certainty: Certainty, source: Error) -> StoreError {
    let what = format!("{doing} {}", path.display());
    match source.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::DiskFull { what, source: source.into() },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => damaged(path, &source.to_string()),
        // A value that this version cannot read back.
        None if matches!(source, Error::FromSqlConversionFailure(..) | Error::InvalidColumnType(..)) => {
            damaged(path, &source.to_string())
        }
        _ => backend(what, certainty, source.into()),
    }
}
