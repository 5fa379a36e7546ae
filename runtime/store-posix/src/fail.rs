//! From IO errors to the store's, naming what was done to which path. No decisions.

use nsfl_store::{Certainty, StoreError};
use std::io::{Error, ErrorKind};
use std::path::Path;

/// Maps an error of an operation that, failing, has changed nothing that others can see.
pub(crate) fn failed(doing: &'static str, path: &Path) -> impl FnOnce(Error) -> StoreError {
    move |source| error(format!("{doing} {}", path.display()), Certainty::NotDone, source)
}

/// Maps an error of making durable what others can see already.
pub(crate) fn unsure(doing: &'static str, path: &Path) -> impl FnOnce(Error) -> StoreError {
    move |source| error(format!("{doing} {}", path.display()), Certainty::MaybeDone, source)
}

fn error(what: String, certainty: Certainty, source: Error) -> StoreError {
    match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded if certainty == Certainty::NotDone => {
            StoreError::DiskFull { what, source: source.into() }
        }
        _ => StoreError::Backend { what, certainty, source: source.into() },
    }
}

/// `Ok(None)` when what was looked for is absent.
pub(crate) fn if_there<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Runs `work` on the blocking pool. Once begun it ends, whether or not somebody waits for it.
pub(crate) async fn blocking<T: Send + 'static>(
    doing: &'static str,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|source| {
        Err(StoreError::Backend { what: doing.into(), certainty: Certainty::MaybeDone, source: source.into() })
    })
}
