//! The checksum of a row: SQLite has none of its pages, and a flipped bit in a number would pass for another number. Rounds,
//! members, checkpoints and events have it in a column of its own; jobs and runs at the end of their snapshots (see `format`).

use crate::format::unreadable;
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Result, Row, params_from_iter};

const COLUMN: &str = "seal";

/// Writes a row with its checksum. `how` is such as `REPLACE INTO rounds`.
pub(crate) fn write(db: &Connection, how: &str, columns: &[(&str, Value)]) -> Result<()> {
    let seal = Value::from(checksum(columns.iter().map(|(name, value)| (*name, value.into()))));
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).chain([COLUMN]).collect();
    let sql = format!("{how} ({}) VALUES ({})", names.join(", "), vec!["?"; names.len()].join(", "));
    let values = columns.iter().map(|(_, value)| value).chain([&seal]);
    db.prepare_cached(&sql)?.execute(params_from_iter(values)).map(drop)
}

/// Refuses a row that is not what was written. Rows of before there were checksums have none.
pub(crate) fn check(row: &Row<'_>) -> Result<()> {
    let Some(written) = row.get::<_, Option<i64>>(COLUMN)? else { return Ok(()) };
    let names = row.as_ref().column_names();
    let columns = names.into_iter().enumerate().map(|(at, name)| Ok((name, row.get_ref(at)?)));
    if checksum(columns.collect::<Result<Vec<_>>>()?) == written {
        return Ok(());
    }
    Err(unreadable(COLUMN)("its row is not what was written: the checksum differs"))
}

/// Of names and values, in the order of the names. What is NULL does not count, so that a later column does not change it.
fn checksum<'a>(columns: impl IntoIterator<Item = (&'a str, ValueRef<'a>)>) -> i64 {
    let mut columns: Vec<_> = columns.into_iter().filter(|(name, _)| *name != COLUMN).collect();
    columns.sort_unstable_by_key(|(name, _)| *name);
    let mut sum = crc32fast::Hasher::new();
    for (name, value) in columns {
        match value {
            ValueRef::Null => {}
            ValueRef::Integer(number) => add(&mut sum, name, &number.to_le_bytes()),
            // SQLite keeps no NaN and no sign of zero.
            ValueRef::Real(number) if number.is_nan() => {}
            ValueRef::Real(number) => add(&mut sum, name, &(number + 0.0).to_le_bytes()),
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => add(&mut sum, name, bytes),
        }
    }
    sum.finalize().into()
}

fn add(sum: &mut crc32fast::Hasher, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), value] {
        sum.update(&(part.len() as u64).to_le_bytes());
        sum.update(part);
    }
}
