//! What can be found wrong with a database that opens: by SQLite itself, and by the checksum and form of each row.

use crate::access::{audit, mark, token};
use crate::read::{checkpoint, event, member, round};
use nsfl_store::Finding;
use nsfl_types::JobKey;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Result, Row};
use std::collections::BTreeMap;
use std::path::Path;

const REMEDY: &str = "stop the node and put back a backup";

/// A table, what names a row of it, and how one is read.
struct Table {
    name: &'static str,
    key: &'static [&'static str],
    read: fn(&Row<'_>, &JobKey) -> Result<()>,
}

const TABLES: [Table; 7] = [
    Table { name: "rounds", key: &["run", "round", "kind", "attempt"], read: |row, job| round(row, job).map(drop) },
    Table {
        name: "members",
        key: &["run", "round", "kind", "attempt", "client"],
        read: |row, job| member(row, job).map(drop),
    },
    Table { name: "checkpoints", key: &["id"], read: |row, job| checkpoint(row, job).map(drop) },
    Table { name: "events", key: &["id"], read: |row, _| event(row).map(drop) },
    Table { name: "tokens", key: &["id"], read: |row, _| token(row).map(drop) },
    Table { name: "audit", key: &["id"], read: |row, _| audit(row).map(drop) },
    Table { name: "marks", key: &["client"], read: |row, _| mark(row).map(drop) },
];

/// Looks at every page, row and index, and at every reference between rows. Jobs and runs are for those to read who know
/// what their snapshots mean.
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
    for table in &TABLES {
        // pages that cannot be read end the walk; SQLite has found them above
        if let Err(error) = table.walk(db, &place, &mut findings) {
            findings.push(Finding::damage(&place, format!("{}: {error}", table.name), REMEDY));
        }
    }
    Ok(findings)
}

impl Table {
    fn walk(&self, db: &Connection, place: &str, findings: &mut Vec<Finding>) -> Result<()> {
        let jobs = names_of_jobs(db)?;
        let any = JobKey::new("default".parse().expect("it is a namespace"), "any".parse().expect("it is a job's id"));
        let mut query = db.prepare(&format!("SELECT * FROM {}", self.name))?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            if let Err(error) = (self.read)(row, &any) {
                let problem = format!("{} ({}): {error}", self.name, self.named(row, &jobs));
                findings.push(Finding::damage(place, problem, REMEDY));
            }
        }
        Ok(())
    }

    /// A row as people know it.
    fn named(&self, row: &Row<'_>, jobs: &BTreeMap<i64, String>) -> String {
        let job = row.get("job").ok().and_then(|job: i64| jobs.get(&job)).map(|job| format!("job {job}"));
        let part = |column: &&str| {
            Some(match row.get_ref(*column).ok()? {
                ValueRef::Integer(number) => format!("{column} {number}"),
                ValueRef::Text(text) => format!("{column} {}", String::from_utf8_lossy(text)),
                _ => return None,
            })
        };
        job.into_iter().chain(self.key.iter().filter_map(part)).collect::<Vec<_>>().join(", ")
    }
}

fn names_of_jobs(db: &Connection) -> Result<BTreeMap<i64, String>> {
    let mut query = db.prepare("SELECT job, namespace || '/' || id FROM jobs")?;
    query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}
