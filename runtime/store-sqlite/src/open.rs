//! Opening the file: its checks, its settings, its schema.

use crate::fail::{backend, damaged, reading};
use nsfl_store::{Certainty, StoreError};
use rusqlite::{Connection, OpenFlags};
use rusqlite_migration::{Error, M, Migrations};
use std::path::Path;
use std::time::Duration;

const SCHEMA: &[M<'static>] = &[
    M::up(include_str!("migrations/1.sql")),
    M::up(include_str!("migrations/2.sql")),
    M::up(include_str!("migrations/3.sql")),
    M::up(include_str!("migrations/4.sql")),
    M::up(include_str!("migrations/5.sql")),
    M::up(include_str!("migrations/6.sql")),
];

/// Opens the connection that writes. The file is made when absent, checked, and migrated.
pub(crate) fn open(path: &Path, fsync: bool) -> Result<Connection, StoreError> {
    let mut db = Connection::open(path).map_err(reading(path))?;
    set_up(&db).map_err(reading(path))?;
    check(&db, path)?;
    check_version(&db, path)?;
    let mode: String = db.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(reading(path))?;
    if mode != "wal" {
        let why = format!("its file system allows no write-ahead log (mode '{mode}'); use a local disk");
        return Err(backend(opening(path), Certainty::NotDone, why.into()));
    }
    let synchronous = if fsync { "FULL" } else { "OFF" };
    db.pragma_update(None, "synchronous", synchronous).map_err(reading(path))?;
    Migrations::from_slice(SCHEMA).to_latest(&mut db).map_err(|error| not_migrated(path, error))?;
    if fsync {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let synced = std::fs::File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(|source| backend(opening(path), Certainty::NotDone, source.into()))?;
    }
    Ok(db)
}

/// Opens a connection that only reads, to a file that `open` has prepared.
pub(crate) fn open_again(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let set_up = |db: Connection| {
        set_up(&db)?;
        db.pragma_update(None, "query_only", true)?;
        Ok(db)
    };
    Connection::open_with_flags(path, flags).and_then(set_up).map_err(reading(path))
}

/// Opens a connection that makes a copy: it writes, but not to this file.
pub(crate) fn open_to_copy(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).map_err(reading(path))?;
    set_up(&db).map(|()| db).map_err(reading(path))
}

fn set_up(db: &Connection) -> rusqlite::Result<()> {
    db.busy_timeout(Duration::from_secs(5))?;
    db.pragma_update(None, "foreign_keys", true)?;
    // Negative: in KiB.
    db.pragma_update(None, "cache_size", -2000)
}

fn check(db: &Connection, path: &Path) -> Result<(), StoreError> {
    let found: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(reading(path))?;
    if found == "ok" { Ok(()) } else { Err(damaged(path, &found)) }
}

/// Before anything is written to it: what a newer version made is left as it is.
fn check_version(db: &Connection, path: &Path) -> Result<(), StoreError> {
    let found: u32 = db.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(reading(path))?;
    let known = u32::try_from(SCHEMA.len()).unwrap_or(u32::MAX);
    if found <= known {
        return Ok(());
    }
    Err(StoreError::Newer(format!("{} has schema {found}, this version knows schemas up to {known}", path.display())))
}

fn not_migrated(path: &Path, error: Error) -> StoreError {
    match error {
        Error::RusqliteError { err, .. } => reading(path)(err),
        other => backend(opening(path), Certainty::NotDone, other.into()),
    }
}

fn opening(path: &Path) -> String {
    format!("opening database {}", path.display())
}
