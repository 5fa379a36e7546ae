//! How values stand in columns. Floating-point numbers within text are decimal strings, so that each bit comes back and
//! NaN and infinity have a place. What a job and a run go on from ends with a checksum of its row; other rows have theirs in a
//! column (see `seal`).

use nsfl_types::{BlobRef, Cause, Digest, JobKey, Metrics, TaskKind, Timestamp};
use rusqlite::types::Type;
use rusqlite::{Error, Result, Row};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

/// Unsigned numbers, bit for bit.
pub(crate) fn signed(number: u64) -> i64 {
    number.cast_signed()
}

pub(crate) fn unsigned(row: &Row<'_>, column: &str) -> Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

pub(crate) fn unsigned_if_any(row: &Row<'_>, column: &str) -> Result<Option<u64>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(i64::cast_unsigned))
}

pub(crate) fn time(row: &Row<'_>, column: &str) -> Result<Timestamp> {
    unsigned(row, column).map(Timestamp)
}

pub(crate) fn time_if_any(row: &Row<'_>, column: &str) -> Result<Option<Timestamp>> {
    Ok(unsigned_if_any(row, column)?.map(Timestamp))
}

/// The name an enum's variant has in serde.
pub(crate) fn name(variant: &impl Serialize) -> String {
    let name = serde_json::to_value(variant).ok().and_then(|value| value.as_str().map(str::to_owned));
    name.expect("the states and codes are enums without fields")
}

pub(crate) fn named<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> Result<T> {
    name_to(row.get(column)?, column)
}

pub(crate) fn named_if_any<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> Result<Option<T>> {
    row.get::<_, Option<String>>(column)?.map(|name| name_to(name, column)).transpose()
}

fn name_to<T: DeserializeOwned>(name: String, column: &str) -> Result<T> {
    serde_json::from_value(name.into()).map_err(unreadable(column))
}

pub(crate) fn json_text(row: &Row<'_>, column: &str) -> Result<serde_json::Value> {
    serde_json::from_str(&row.get::<_, String>(column)?).map_err(unreadable(column))
}

pub(crate) fn kind_number(kind: TaskKind) -> u8 {
    match kind {
        TaskKind::Train => 0,
        TaskKind::Evaluate => 1,
    }
}

pub(crate) fn kind(row: &Row<'_>) -> Result<TaskKind> {
    match row.get("kind")? {
        0 => Ok(TaskKind::Train),
        1 => Ok(TaskKind::Evaluate),
        other => Err(unreadable("kind")(format!("there is no kind {other}"))),
    }
}

pub(crate) fn metrics_text(metrics: &Metrics) -> String {
    let texts = metrics.0.iter().map(|(name, value)| (name.clone(), format!("{value:?}").into()));
    serde_json::Value::Object(texts.collect()).to_string()
}

pub(crate) fn metrics(row: &Row<'_>) -> Result<Metrics> {
    let texts: BTreeMap<String, String> =
        serde_json::from_str(&row.get::<_, String>("metrics")?).map_err(unreadable("metrics"))?;
    let number = |(name, text): (String, String)| Ok((name, text.parse().map_err(unreadable("metrics"))?));
    texts.into_iter().map(number).collect::<Result<_>>().map(Metrics)
}

pub(crate) fn cause_text(cause: Option<&Cause>) -> Option<String> {
    cause.map(|cause| serde_json::to_string(cause).expect("texts and numbers always serialise"))
}

pub(crate) fn cause(row: &Row<'_>) -> Result<Option<Cause>> {
    let text = row.get::<_, Option<String>>("cause")?;
    text.map(|text| serde_json::from_str(&text).map_err(unreadable("cause"))).transpose()
}

pub(crate) fn model(row: &Row<'_>) -> Result<BlobRef> {
    Ok(BlobRef { digest: Digest::from_bytes(row.get("model_digest")?), len: unsigned(row, "model_len")? })
}

pub(crate) fn model_if_any(row: &Row<'_>) -> Result<Option<BlobRef>> {
    let absent = row.get_ref("model_digest")?.data_type() == Type::Null;
    if absent { Ok(None) } else { model(row).map(Some) }
}

pub(crate) fn job_key(namespace: String, id: String) -> Result<JobKey> {
    let namespace = namespace.parse().map_err(unreadable("namespace"))?;
    Ok(JobKey { namespace, id: id.parse().map_err(unreadable("id"))? })
}

/// Stands between a snapshot and the checksum of its row, 8 hex digits. Rows of before there were checksums end without.
const SEAL: &[u8] = b"\n#crc32 ";
const SEAL_LEN: usize = SEAL.len() + 8;

/// A snapshot as it is stored, with the checksum of it and of the `rest` of its row.
pub(crate) fn sealed(snapshot: &[u8], rest: &[&[u8]]) -> Vec<u8> {
    [snapshot, SEAL, format!("{:08x}", checksum(snapshot, rest)).as_bytes()].concat()
}

/// The snapshot again, if neither it nor the rest of its row has changed since.
pub(crate) fn unsealed(row: &Row<'_>, rest: &[&[u8]]) -> Result<Vec<u8>> {
    let mut stored: Vec<u8> = row.get("snapshot")?;
    let Some(at) = stored.len().checked_sub(SEAL_LEN).filter(|at| stored[*at..].starts_with(SEAL)) else {
        return Ok(stored);
    };
    let found = format!("{:08x}", checksum(&stored[..at], rest));
    if found.as_bytes() != &stored[at + SEAL.len()..] {
        return Err(unreadable("snapshot")("its row is not what was written: the checksum differs"));
    }
    stored.truncate(at);
    Ok(stored)
}

fn checksum(snapshot: &[u8], rest: &[&[u8]]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    for part in rest.iter().chain([&snapshot]) {
        sum.update(&(part.len() as u64).to_le_bytes());
        sum.update(part);
    }
    sum.finalize()
}

/// A value in the file that is none of ours.
pub(crate) fn unreadable<E: Into<Box<dyn std::error::Error + Send + Sync>>>(column: &str) -> impl FnOnce(E) -> Error {
    let column = column.to_owned();
    move |error| Error::FromSqlConversionFailure(0, Type::Text, format!("column {column}: {}", error.into()).into())
}
