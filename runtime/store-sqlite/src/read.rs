//! The queries.

use crate::format::{
    cause, job_key, json_text, kind, metrics, model, model_if_any, named, named_if_any, time, time_if_any, unreadable,
    unsealed, unsigned, unsigned_if_any,
};
use crate::seal;
use nsfl_store::{CheckpointRecord, EventRecord, JobRecord, MemberRecord, RoundRecord, RunRecord, Steps};
use nsfl_types::{JobKey, TaskKey, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, Params, Result, Row, params};
use serde_json::json;

pub(crate) fn jobs(db: &Connection) -> Result<Vec<JobRecord>> {
    list(db, "SELECT * FROM jobs ORDER BY namespace, id", [], job_record)
}

pub(crate) fn job(db: &Connection, key: &JobKey) -> Result<Option<JobRecord>> {
    let sql = "SELECT * FROM jobs WHERE namespace = ? AND id = ?";
    db.prepare_cached(sql)?.query_row(params![key.namespace.as_str(), key.id.as_str()], job_record).optional()
}

pub(crate) fn run(db: &Connection, key: &JobKey, run: u32) -> Result<Option<RunRecord>> {
    let Some(job) = row_of(db, key)? else { return Ok(None) };
    let record = |row: &Row<'_>| {
        let generation = unsigned(row, "generation")?;
        let snapshot = unsealed(row, &[&generation.to_le_bytes()])?;
        Ok(RunRecord { job: key.clone(), run, generation, snapshot })
    };
    db.prepare_cached("SELECT * FROM runs WHERE job = ? AND run = ?")?.query_row(params![job, run], record).optional()
}

pub(crate) fn rounds(db: &Connection, key: &JobKey, run: u32) -> Result<Vec<RoundRecord>> {
    let Some(job) = row_of(db, key)? else { return Ok(Vec::new()) };
    let sql = "SELECT * FROM rounds WHERE job = ? AND run = ? ORDER BY round, kind, attempt";
    list(db, sql, params![job, run], |row| round(row, key))
}

pub(crate) fn round(row: &Row<'_>, key: &JobKey) -> Result<RoundRecord> {
    seal::check(row)?;
    Ok(RoundRecord {
        job: key.clone(),
        run: row.get("run")?,
        round: row.get("round")?,
        attempt: row.get("attempt")?,
        kind: kind(row)?,
        state: named(row, "state")?,
        opened: time(row, "opened")?,
        closed: time_if_any(row, "closed")?,
        cohort: row.get("cohort")?,
        accepted: row.get("accepted")?,
        metrics: metrics(row)?,
        model: model_if_any(row)?,
        reason: row.get("reason")?,
        cause: cause(row)?,
    })
}

pub(crate) fn members(db: &Connection, key: &JobKey, run: u32, round: u32) -> Result<Vec<MemberRecord>> {
    let Some(job) = row_of(db, key)? else { return Ok(Vec::new()) };
    let sql = "SELECT * FROM members WHERE job = ?1 AND run = ?2 AND (round = ?3 OR counted = ?3)
               ORDER BY round, attempt, kind, client";
    list(db, sql, params![job, run, round], |row| member(row, key))
}

pub(crate) fn failures(db: &Connection, key: &JobKey, run: u32, limit: u32) -> Result<Vec<MemberRecord>> {
    let Some(job) = row_of(db, key)? else { return Ok(Vec::new()) };
    let sql = "SELECT * FROM members WHERE job = ? AND run = ? AND state IN ('refused', 'failed', 'straggler')
               ORDER BY round DESC, attempt DESC, kind DESC, client DESC LIMIT ?";
    list(db, sql, params![job, run, limit], |row| member(row, key))
}

pub(crate) fn member(row: &Row<'_>, key: &JobKey) -> Result<MemberRecord> {
    seal::check(row)?;
    let client = row.get::<_, String>("client")?.parse().map_err(unreadable("client"))?;
    let (run, round, attempt) = (row.get("run")?, row.get("round")?, row.get("attempt")?);
    Ok(MemberRecord {
        task: TaskKey { job: key.clone(), run, round, attempt, kind: kind(row)?, client },
        state: named(row, "state")?,
        metrics: metrics(row)?,
        code: named_if_any(row, "code")?,
        reason: row.get("reason")?,
        cause: cause(row)?,
        counted: row.get("counted")?,
        steps: steps(row)?,
        at: time(row, "at")?,
    })
}

pub(crate) fn steps(row: &Row<'_>) -> Result<Steps> {
    Ok(Steps {
        sent: time_if_any(row, "sent")?,
        started: time_if_any(row, "started")?,
        uploading: time_if_any(row, "uploading")?,
        bytes: unsigned_if_any(row, "bytes")?,
    })
}

pub(crate) fn checkpoints(db: &Connection, key: &JobKey) -> Result<Vec<CheckpointRecord>> {
    let Some(job) = row_of(db, key)? else { return Ok(Vec::new()) };
    list(db, "SELECT * FROM checkpoints WHERE job = ? ORDER BY run, round, id", params![job], |row| {
        checkpoint(row, key)
    })
}

pub(crate) fn checkpoint(row: &Row<'_>, key: &JobKey) -> Result<CheckpointRecord> {
    seal::check(row)?;
    Ok(CheckpointRecord {
        job: key.clone(),
        id: row.get("id")?,
        run: row.get("run")?,
        round: row.get("round")?,
        accuracy: row.get("accuracy")?,
        path: row.get("path")?,
        model: model(row)?,
    })
}

pub(crate) fn events(db: &Connection, job: Option<&JobKey>, after: u64, limit: u32) -> Result<Vec<EventRecord>> {
    // Ids are given by SQLite and never negative.
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    match job {
        None => {
            list(db, "SELECT * FROM events WHERE id > ? ORDER BY id LIMIT ?", params![after, limit], event_or_damage)
        }
        Some(key) => {
            let sql = "SELECT * FROM events WHERE namespace = ? AND job = ? AND id > ? ORDER BY id LIMIT ?";
            list(db, sql, params![key.namespace.as_str(), key.id.as_str(), after, limit], event_or_damage)
        }
    }
}

/// The id last given; 0 when none was.
pub(crate) fn newest_event(db: &Connection) -> Result<u64> {
    let last = db.query_row("SELECT seq FROM sqlite_sequence WHERE name = 'events'", [], |row| unsigned(row, "seq"));
    Ok(last.optional()?.unwrap_or(0))
}

/// The row a job's other records point to.
pub(crate) fn row_of(db: &Connection, key: &JobKey) -> Result<Option<i64>> {
    let sql = "SELECT job FROM jobs WHERE namespace = ? AND id = ?";
    db.prepare_cached(sql)?.query_row(params![key.namespace.as_str(), key.id.as_str()], |row| row.get(0)).optional()
}

/// The generation a run is in.
pub(crate) fn generation(db: &Connection, job: i64, run: u32) -> Result<Option<u64>> {
    let sql = "SELECT generation FROM runs WHERE job = ? AND run = ?";
    db.prepare_cached(sql)?.query_row(params![job, run], |row| unsigned(row, "generation")).optional()
}

fn job_record(row: &Row<'_>) -> Result<JobRecord> {
    let (document, state): (String, String) = (row.get("document")?, row.get("state")?);
    let snapshot = unsealed(row, &[document.as_bytes(), state.as_bytes()])?;
    Ok(JobRecord {
        key: job_key(row.get("namespace")?, row.get("id")?)?,
        document,
        author: row.get("author")?,
        state: named(row, "state")?,
        snapshot,
        created: time(row, "created")?,
        started: time_if_any(row, "started")?,
    })
}

pub(crate) fn event(row: &Row<'_>) -> Result<EventRecord> {
    seal::check(row)?;
    let (id, at, job) = (unsigned(row, "id")?, time(row, "at")?, job_of_event(row)?);
    Ok(EventRecord { id, at, job, kind: row.get("kind")?, fields: json_text(row, "fields")? })
}

/// One that cannot be read is told as such: it does not hide those after it.
fn event_or_damage(row: &Row<'_>) -> Result<EventRecord> {
    event(row).or_else(|error| {
        let (id, at) = (unsigned(row, "id")?, time(row, "at").unwrap_or(Timestamp(0)));
        tracing::error!(id, %error, "event not readable");
        let fields = json!({"reason": error.to_string()});
        Ok(EventRecord { id, at, job: job_of_event(row).ok().flatten(), kind: "event-damaged".into(), fields })
    })
}

fn job_of_event(row: &Row<'_>) -> Result<Option<JobKey>> {
    match (row.get("namespace")?, row.get("job")?) {
        (Some(namespace), Some(id)) => job_key(namespace, id).map(Some),
        _ => Ok(None),
    }
}

fn list<T>(
    db: &Connection,
    sql: &str,
    params: impl Params,
    record: impl FnMut(&Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    db.prepare_cached(sql)?.query_map(params, record)?.collect()
}
