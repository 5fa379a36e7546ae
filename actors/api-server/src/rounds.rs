//! Rounds and metrics of a job's last run: records from the store, what is live from its coordinator.

use crate::error::{ApiError, Request};
use crate::shared::{App, Shared, job_key};
use actix_web::{HttpResponse, web};
use nsfl_messages::{CoordinatorMsg, CoordinatorView};
use nsfl_rest_model::{
    Awaited, CurrentRound, Failure, JobMetrics, Measured, Member, Model, Round, RoundDetail, Rounds,
};
use nsfl_store::{MemberRecord, RoundRecord, RoundState};
use nsfl_types::{Cause, Code, JobKey, Metrics, TaskKind};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

type JobPath = web::Path<(String, String)>;

pub(crate) async fn list(app: App, path: JobPath) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(rounds(&app, &job_key(path.into_inner(), Request::Other)?).await?))
}

/// The rounds of a job's last run.
pub(crate) async fn rounds(app: &Shared, key: &JobKey) -> Result<Rounds, ApiError> {
    let run = app.job(key.clone()).await?.run;
    let records = app.args.store.rounds(key, run).await?;
    let current = match records.iter().map(|r| r.round).max() {
        Some(round) => Some(current(app, key, run, round).await?),
        None => None,
    };
    Ok(Rounds { run, rounds: records.into_iter().map(body).collect(), current })
}

/// One round in full: every attempt, every client, with the causes.
pub(crate) async fn detail(app: App, path: web::Path<(String, String, u32)>) -> Result<HttpResponse, ApiError> {
    let (namespace, id, round) = path.into_inner();
    let key = job_key((namespace, id), Request::Other)?;
    let run = app.job(key.clone()).await?.run;
    let mut attempts = app.args.store.rounds(&key, run).await?;
    attempts.retain(|record| record.round == round);
    if attempts.is_empty() {
        return Err(ApiError::other(Code::NotFound, format!("run {run} of job '{key}' has no round {round}")));
    }
    let members = app.args.store.members(&key, run, round).await?;
    Ok(HttpResponse::Ok().json(RoundDetail {
        run,
        attempts: attempts.into_iter().map(body).collect(),
        members: members.into_iter().map(member).collect(),
    }))
}

pub(crate) async fn metrics(app: App, path: JobPath) -> Result<HttpResponse, ApiError> {
    let key = job_key(path.into_inner(), Request::Other)?;
    let run = app.job(key.clone()).await?.run;
    let mut records = app.args.store.rounds(&key, run).await?;
    records.retain(|r| r.state == RoundState::Complete);
    let rounds: Vec<u32> = records.iter().map(|r| r.round).collect::<BTreeSet<_>>().into_iter().collect();
    let of = |kind| {
        let measured = records.iter().filter(|r| r.kind == kind).map(|r| (r.round, &r.metrics));
        series(&rounds, &measured.collect())
    };
    Ok(HttpResponse::Ok().json(JobMetrics {
        run,
        train: of(TaskKind::Train),
        evaluate: of(TaskKind::Evaluate),
        rounds: rounds.clone(),
    }))
}

async fn current(app: &Shared, key: &JobKey, run: u32, round: u32) -> Result<CurrentRound, ApiError> {
    let members = app.args.store.members(key, run, round).await?;
    let live = live(app, key).await.filter(|view| view.run.round == round);
    let progress = live.as_ref().map(awaited).unwrap_or_default().into_iter().filter(|a| a.at.is_some()).collect();
    let (awaited, away, deadline) =
        live.map(|view| (view.run.awaited, view.away, view.run.deadline)).unwrap_or_default();
    Ok(CurrentRound {
        round,
        awaited,
        away,
        progress,
        deadline: deadline.map(Into::into),
        members: members.into_iter().map(member).collect(),
    })
}

/// The run as its coordinator sees it, if that lives and collects a round.
pub(crate) async fn live(app: &Shared, key: &JobKey) -> Option<CoordinatorView> {
    let coordinator = app.args.coordinators.get(key)?;
    let view = app.ask(&coordinator, |reply| CoordinatorMsg::View { reply }).await.ok()?;
    (view.run.phase == "collecting").then_some(view)
}

/// Who has not replied, and how far each is.
pub(crate) fn awaited(view: &CoordinatorView) -> Vec<Awaited> {
    let of = |client: &nsfl_types::ClientId| {
        let progress = view.progress.get(client);
        Awaited {
            client: client.clone(),
            done: progress.and_then(|progress| progress.done),
            message: progress.map(|progress| progress.message.clone()).unwrap_or_default(),
            metrics: progress.map(|progress| measured(progress.metrics.clone())).unwrap_or_default(),
            at: progress.map(|progress| progress.at.into()),
            uploading: progress.and_then(|progress| progress.uploading).map(Into::into),
        }
    };
    view.run.awaited.iter().map(of).collect()
}

/// A member that failed, in short.
pub(crate) fn failure(record: MemberRecord) -> Failure {
    let cause = record.cause.unwrap_or_default();
    Failure {
        round: record.task.round,
        attempt: record.task.attempt,
        kind: record.task.kind,
        client: record.task.client,
        state: name(&record.state),
        code: record.code.map(|code| code.as_str().to_owned()),
        reason: record.reason,
        last: Cause::last_line(&cause).map(str::to_owned),
        exit: cause.exit,
        limit: cause.limit,
        at: record.at.into(),
    }
}

fn series(rounds: &[u32], measured: &BTreeMap<u32, &Metrics>) -> BTreeMap<String, Vec<Option<f64>>> {
    let names: BTreeSet<&String> = measured.values().flat_map(|m| m.0.keys()).collect();
    let values = |name: &str| {
        rounds.iter().map(|r| measured.get(r).and_then(|m| m.get(name)).filter(|v| v.is_finite())).collect()
    };
    names.into_iter().map(|name| (name.clone(), values(name))).collect()
}

fn body(record: RoundRecord) -> Round {
    Round {
        round: record.round,
        attempt: record.attempt,
        kind: record.kind,
        state: name(&record.state),
        reason: record.reason,
        opened: record.opened.into(),
        closed: record.closed.map(Into::into),
        cohort: record.cohort,
        accepted: record.accepted,
        metrics: measured(record.metrics),
        model: record.model.map(|blob| Model { sha256: blob.digest, bytes: blob.len }),
        cause: record.cause,
    }
}

fn member(record: MemberRecord) -> Member {
    let (round, counted) = (record.task.round, record.counted);
    Member {
        client: record.task.client,
        round,
        attempt: record.task.attempt,
        version: round.saturating_sub(1),
        counted,
        staleness: counted.map(|counted| counted.saturating_sub(round)),
        kind: record.task.kind,
        state: name(&record.state),
        metrics: measured(record.metrics),
        code: record.code.map(|code| code.as_str().to_owned()),
        reason: record.reason,
        cause: record.cause,
        sent: record.steps.sent.map(Into::into),
        started: record.steps.started.map(Into::into),
        uploading: record.steps.uploading.map(Into::into),
        bytes: record.steps.bytes,
        at: record.at.into(),
    }
}

fn measured(metrics: Metrics) -> Measured {
    metrics.0.into_iter().map(|(name, value)| (name, Some(value).filter(|v| v.is_finite()))).collect()
}

/// The name serde gives to a state.
pub(crate) fn name(state: &impl Serialize) -> String {
    match serde_json::to_value(state) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}
