//! What SQLite itself can find wrong with a database that opens.

use nsfl_store::Finding;
use rusqlite::{Connection, Result};
use std::path::Path;

const REMEDY: &str = "stop the node and put back a backup";

/// Looks at every page, row and index, and at every reference between rows.
pub(crate) fn verify(db: &Connection, path: &Path) -> Result<Vec<Finding>> {
    let place = path.display().to_string();
    let mut unsound = db.prepare("PRAGMA integrity_check")?;
    let lines = unsound.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>>>()?;
    let mut findings: Vec<_> =
        lines.into_iter().filter(|line| line != "ok").map(|line| Finding::damage(&place, line, REMEDY)).collect();
    let mut dangling = db.prepare("PRAGMA foreign_key_check")?;
    let rows = dangling.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(2)?)))?;
    for row in rows {
        let (table, parent) = row?;
        findings.push(Finding::damage(&place, format!("a row of {table} points to no row of {parent}"), REMEDY));
    }
    Ok(findings)
}
