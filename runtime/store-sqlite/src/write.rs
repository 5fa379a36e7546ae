//! The changes, each as one or two statements within the caller's transaction.

use crate::fail::reading;
use crate::format::{cause_text, kind_number, metrics_text, name, sealed, signed};
use crate::read::{generation, row_of, steps};
use crate::seal;
use nsfl_store::{Change, CheckpointRecord, EventRecord, JobRecord, MemberRecord, RoundRecord, RunRecord, StoreError};
use nsfl_types::{JobKey, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, Params, Result, params};
use std::path::Path;

/// Makes a change, or says why it is refused. `path` is for error messages.
pub(crate) fn apply(db: &Connection, path: &Path, change: &Change) -> std::result::Result<(), StoreError> {
    let failed = reading(path);
    match change {
        Change::InsertJob(record) => match insert_job(db, record).map_err(failed)? {
            0 => Err(StoreError::Exists(format!("job {}", record.key))),
            _ => Ok(()),
        },
        Change::DeleteJob(key) => delete_job(db, key).map_err(failed),
        Change::AppendEvent(record) => append_event(db, record).map_err(failed),
        Change::UpdateJob(record) => {
            let job = row(db, path, &record.key)?;
            update_job(db, job, record).map_err(failed)
        }
        Change::PutRun(record) => {
            let job = row(db, path, &record.job)?;
            record.check_generation(generation(db, job, record.run).map_err(&failed)?)?;
            put_run(db, job, record).map_err(failed)
        }
        Change::PutRound(record) => put_round(db, row(db, path, &record.job)?, record).map_err(failed),
        Change::PutMember(record) => put_member(db, row(db, path, &record.task.job)?, record).map_err(failed),
        Change::PutCheckpoint(record) => put_checkpoint(db, row(db, path, &record.job)?, record).map_err(failed),
    }
}

fn row(db: &Connection, path: &Path, key: &JobKey) -> std::result::Result<i64, StoreError> {
    row_of(db, key).map_err(reading(path))?.ok_or_else(|| StoreError::NotFound(format!("job {key}")))
}

fn insert_job(db: &Connection, record: &JobRecord) -> Result<usize> {
    let sql = "INSERT INTO jobs (namespace, id, document, author, state, snapshot, created, started)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING";
    let JobRecord { key, document, author, state, snapshot, created, started } = record;
    db.prepare_cached(sql)?.execute(params![
        key.namespace.as_str(),
        key.id.as_str(),
        document,
        author,
        name(state),
        sealed(snapshot, &[document.as_bytes(), name(state).as_bytes()]),
        signed(created.0),
        started.map(|at| signed(at.0)),
    ])
}

fn update_job(db: &Connection, job: i64, record: &JobRecord) -> Result<()> {
    let sql =
        "UPDATE jobs SET document = ?, author = ?, state = ?, snapshot = ?, created = ?, started = ? WHERE job = ?";
    let JobRecord { key: _, document, author, state, snapshot, created, started } = record;
    let started = started.map(|at| signed(at.0));
    let snapshot = sealed(snapshot, &[document.as_bytes(), name(state).as_bytes()]);
    execute(db, sql, params![document, author, name(state), snapshot, signed(created.0), started, job])
}

/// Runs, rounds, members and checkpoints go by the schema's cascade.
fn delete_job(db: &Connection, key: &JobKey) -> Result<()> {
    let (namespace, id) = (key.namespace.as_str(), key.id.as_str());
    execute(db, "DELETE FROM events WHERE namespace = ? AND job = ?", params![namespace, id])?;
    execute(db, "DELETE FROM jobs WHERE namespace = ? AND id = ?", params![namespace, id])
}

fn put_run(db: &Connection, job: i64, record: &RunRecord) -> Result<()> {
    let sql = "INSERT INTO runs (job, run, generation, snapshot) VALUES (?, ?, ?, ?)
               ON CONFLICT DO UPDATE SET generation = excluded.generation, snapshot = excluded.snapshot";
    let snapshot = sealed(&record.snapshot, &[&record.generation.to_le_bytes()]);
    execute(db, sql, params![job, record.run, signed(record.generation), snapshot])
}

fn put_round(db: &Connection, job: i64, record: &RoundRecord) -> Result<()> {
    let columns = [
        ("job", job.into()),
        ("run", record.run.into()),
        ("round", record.round.into()),
        ("kind", kind_number(record.kind).into()),
        ("attempt", record.attempt.into()),
        ("state", name(&record.state).into()),
        ("opened", signed(record.opened.0).into()),
        ("closed", record.closed.map(|at| signed(at.0)).into()),
        ("cohort", record.cohort.into()),
        ("accepted", record.accepted.into()),
        ("metrics", metrics_text(&record.metrics).into()),
        ("model_digest", record.model.map(|model| model.digest.as_bytes().to_vec()).into()),
        ("model_len", record.model.map(|model| signed(model.len)).into()),
        ("reason", record.reason.clone().into()),
        ("cause", cause_text(record.cause.as_ref()).into()),
    ];
    seal::write(db, "REPLACE INTO rounds", &columns)
}

fn put_member(db: &Connection, job: i64, record: &MemberRecord) -> Result<()> {
    let task = &record.task;
    let known = "SELECT sent, started, uploading, bytes FROM members
                 WHERE job = ? AND run = ? AND round = ? AND attempt = ? AND kind = ? AND client = ?";
    let of = params![job, task.run, task.round, task.attempt, kind_number(task.kind), task.client.as_str()];
    let before = db.prepare_cached(known)?.query_row(of, steps).optional()?;
    let steps = record.steps.or(before.unwrap_or_default());
    let at = |step: Option<Timestamp>| step.map(|at| signed(at.0));
    let columns = [
        ("job", job.into()),
        ("run", task.run.into()),
        ("round", task.round.into()),
        ("attempt", task.attempt.into()),
        ("kind", kind_number(task.kind).into()),
        ("client", task.client.as_str().to_owned().into()),
        ("state", name(&record.state).into()),
        ("metrics", metrics_text(&record.metrics).into()),
        ("code", record.code.as_ref().map(name).into()),
        ("reason", record.reason.clone().into()),
        ("cause", cause_text(record.cause.as_ref()).into()),
        ("counted", record.counted.into()),
        ("sent", at(steps.sent).into()),
        ("started", at(steps.started).into()),
        ("uploading", at(steps.uploading).into()),
        ("bytes", steps.bytes.map(signed).into()),
        ("at", signed(record.at.0).into()),
    ];
    seal::write(db, "REPLACE INTO members", &columns)
}

fn put_checkpoint(db: &Connection, job: i64, record: &CheckpointRecord) -> Result<()> {
    let columns = [
        ("job", job.into()),
        ("id", record.id.clone().into()),
        ("run", record.run.into()),
        ("round", record.round.into()),
        ("accuracy", record.accuracy.into()),
        ("path", record.path.clone().into()),
        ("model_digest", record.model.digest.as_bytes().to_vec().into()),
        ("model_len", signed(record.model.len).into()),
    ];
    seal::write(db, "REPLACE INTO checkpoints", &columns)
}

/// The id is chosen here, as `AUTOINCREMENT` would, so that it is in the checksum too.
fn append_event(db: &Connection, record: &EventRecord) -> Result<()> {
    let sql = "SELECT max(coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0),
               coalesce((SELECT max(id) FROM events), 0)) + 1";
    let id: i64 = db.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    let job = record.job.as_ref();
    let columns = [
        ("id", id.into()),
        ("at", signed(record.at.0).into()),
        ("namespace", job.map(|key| key.namespace.as_str().to_owned()).into()),
        ("job", job.map(|key| key.id.as_str().to_owned()).into()),
        ("kind", record.kind.clone().into()),
        ("fields", record.fields.to_string().into()),
    ];
    seal::write(db, "INSERT INTO events", &columns)
}

fn execute(db: &Connection, sql: &str, params: impl Params) -> Result<()> {
    db.prepare_cached(sql)?.execute(params).map(drop)
}
