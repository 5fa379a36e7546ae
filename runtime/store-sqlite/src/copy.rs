//! A copy of the database at one moment, while others go on reading and writing it.

use crate::fail::reading;
use crate::open::open_to_copy;
use nsfl_store::StoreError;
use std::path::Path;

/// Writes all that is committed now to a new file at `to`. Blocking.
pub(crate) fn copy(path: &Path, to: &Path) -> Result<(), StoreError> {
    let db = open_to_copy(path)?;
    let name = to.to_str().ok_or_else(|| rusqlite::Error::InvalidPath(to.to_owned()));
    let copied = name.and_then(|name| db.execute("VACUUM INTO ?", [name]));
    copied.map(drop).map_err(reading(path))
}
