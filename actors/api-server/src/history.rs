//! `/events` and `/logs`: what happened in all jobs, and the last lines of the server's log.

use crate::error::ApiError;
use crate::filter::Filter;
use crate::shared::{App, Shared, query};
use actix_web::{HttpRequest, HttpResponse};
use nsfl_rest_model::{Event, Events, LogLine, Logs, Time};
use nsfl_store::EventRecord;
use nsfl_telemetry::LogRecord;
use nsfl_types::Timestamp;
use serde::Deserialize;

/// What is asked for. (No flattening: it would turn numbers of a query into texts.)
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    #[serde(default)]
    after: u64,
    #[serde(default = "limit")]
    limit: u32,
    #[serde(default)]
    newest: bool,
    job: Option<String>,
    client: Option<String>,
    actor: Option<String>,
    kind: Option<String>,
    level: Option<String>,
    text: Option<String>,
}

const MOST: u32 = 10_000;
/// Events read at once, and at most how often, to find the last ones that fit.
const WINDOW: u64 = 5000;
const WINDOWS: u32 = 20;

fn limit() -> u32 {
    1000
}

impl Query {
    fn filter(&self) -> Filter {
        let Query { job, client, actor, kind, level, text, .. } = self;
        Filter {
            job: job.clone(),
            client: client.clone(),
            actor: actor.clone(),
            kind: kind.clone(),
            level: level.clone(),
            text: text.clone(),
        }
    }
}

pub(crate) async fn events(app: App, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let query: Query = query(&request)?;
    let last = *app.args.store.newest_event().borrow();
    let records = if query.newest { newest(&app, &query, last).await? } else { oldest(&app, &query).await? };
    Ok(HttpResponse::Ok().json(Events { events: records.into_iter().map(event).collect(), last }))
}

/// The first that fit after an id.
async fn oldest(app: &Shared, query: &Query) -> Result<Vec<EventRecord>, ApiError> {
    let (filter, limit) = (query.filter(), query.limit.min(MOST) as usize);
    let (mut after, mut found) = (query.after, Vec::new());
    for _ in 0..WINDOWS {
        let read = app.args.store.events(None, after, WINDOW as u32).await?;
        let Some(last) = read.last() else { break };
        after = last.id;
        found.extend(read.into_iter().filter(|event| filter.event(event)));
        if found.len() >= limit {
            break;
        }
    }
    found.truncate(limit);
    Ok(found)
}

/// The last that fit, oldest first.
async fn newest(app: &Shared, query: &Query, last: u64) -> Result<Vec<EventRecord>, ApiError> {
    let (filter, limit) = (query.filter(), query.limit.min(MOST) as usize);
    let (mut end, mut found) = (last, Vec::new());
    for _ in 0..WINDOWS {
        let begin = end.saturating_sub(WINDOW).max(query.after);
        let mut read = app.args.store.events(None, begin, WINDOW as u32).await?;
        read.retain(|event| event.id <= end && filter.event(event));
        read.extend(std::mem::take(&mut found));
        found = read;
        if found.len() >= limit || begin == query.after {
            break;
        }
        end = begin;
    }
    Ok(found.split_off(found.len().saturating_sub(limit)))
}

pub(crate) async fn logs(app: App, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let query: Query = query(&request)?;
    let (filter, limit) = (query.filter(), query.limit.min(MOST) as usize);
    let last = *app.args.logs.newest().borrow();
    let mut lines = app.args.logs.after(query.after);
    lines.retain(|line| filter.line(line));
    let from = if query.newest { lines.len().saturating_sub(limit) } else { 0 };
    let logs = lines.iter().skip(from).take(limit).map(|record| line(record)).collect();
    Ok(HttpResponse::Ok().json(Logs { logs, last }))
}

pub(crate) fn event(record: EventRecord) -> Event {
    let job = record.job.map(|job| job.to_string());
    Event { id: record.id, at: record.at.into(), job, kind: record.kind, fields: record.fields }
}

pub(crate) fn line(record: &LogRecord) -> LogLine {
    LogLine {
        seq: record.seq,
        at: Time(Timestamp(record.at_ms)),
        level: record.level.to_string(),
        target: record.target.to_owned(),
        message: record.message.clone(),
        fields: record.fields.clone(),
    }
}
