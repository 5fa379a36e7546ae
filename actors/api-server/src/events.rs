//! `/jobs/{id}/events`: what happened to a job, as a list or as a stream of server-sent events (WHATWG HTML, 9.2)
//! that a client can take up again after the last id it saw.

use crate::error::{ApiError, Request};
use crate::shared::{App, job_key};
use actix_web::http::header::{ACCEPT, CACHE_CONTROL};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use nsfl_messages::LiveEvent;
use nsfl_rest_model::{Event, Events};
use nsfl_store::{EventRecord, JobStore, StoreError};
use nsfl_types::{Code, JobKey};
use serde::Deserialize;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    /// Only events with a greater id.
    #[serde(default)]
    after: u64,
    /// At most so many in a list.
    #[serde(default = "list_limit")]
    limit: u32,
    /// Ends the stream once the job is at rest and everything was sent.
    #[serde(default)]
    until_end: bool,
}

const MAX_LIST: u32 = 10_000;

fn list_limit() -> u32 {
    1000
}

/// Events read from the store at once.
const BATCH: u32 = 256;

pub(crate) async fn events(
    app: App,
    path: web::Path<(String, String)>,
    query: Result<web::Query<Query>, actix_web::Error>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let query = query.map_err(|e| ApiError::other(Code::BadDocument, format!("query: {e}")))?;
    let key = job_key(path.into_inner(), Request::Other)?;
    let store = Arc::clone(&app.args.store);
    let newest = store.newest_event();
    if store.job(&key).await?.is_none() {
        let reason = format!("there is no job '{}' in namespace '{}'", key.id, key.namespace);
        return Err(ApiError::other(Code::NotFound, reason));
    }
    let header = |name: &str| request.headers().get(name).and_then(|v| v.to_str().ok());
    if !header(ACCEPT.as_str()).is_some_and(|accept| accept.contains("text/event-stream")) {
        let last = *newest.borrow();
        let records = store.events(Some(&key), query.after, query.limit.min(MAX_LIST)).await?;
        return Ok(HttpResponse::Ok().json(Events { events: records.into_iter().map(body).collect(), last }));
    }
    let follower = Follower {
        after: header("last-event-id").and_then(|id| id.parse().ok()).unwrap_or(query.after),
        key,
        store,
        newest,
        until_end: query.until_end,
        live: app.args.live.subscribe(),
        keep_alive: app.args.limits.keep_alive,
        closing: app.closing.clone(),
        greeted: false,
        over: false,
    };
    let stream = futures_util::stream::unfold(follower, |mut follower| async move {
        follower.next().await.map(|text| (Ok::<_, std::convert::Infallible>(Bytes::from(text)), follower))
    });
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((CACHE_CONTROL, "no-cache"))
        .streaming(stream))
}

/// One reader of a job's events.
struct Follower {
    store: Arc<dyn JobStore>,
    key: JobKey,
    after: u64,
    newest: watch::Receiver<u64>,
    live: broadcast::Receiver<LiveEvent>,
    until_end: bool,
    keep_alive: Duration,
    closing: watch::Receiver<bool>,
    greeted: bool,
    over: bool,
}

impl Follower {
    /// The next piece of the stream, as soon as there is one; none at its end. A stream that ends without the event
    /// `end` was cut, and its reader comes again.
    async fn next(&mut self) -> Option<String> {
        if !std::mem::replace(&mut self.greeted, true) {
            return Some(": events\n\n".to_owned());
        }
        while !self.over && !*self.closing.borrow() {
            match self.read().await {
                Ok(Some(text)) => return Some(text),
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(job = %self.key, error = &error as &dyn std::error::Error, "event stream cut");
                    return None;
                }
            }
            tokio::select! {
                changed = self.newest.changed() => changed.ok()?,
                event = self.live.recv() => match event {
                    Ok(event) if event.job == self.key => return Some(live(event)),
                    // What was missed is overtaken already.
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                },
                _ = self.closing.changed() => {}
                () = tokio::time::sleep(self.keep_alive) => return Some(":\n\n".to_owned()),
            }
        }
        None
    }

    /// Events that are there, or the end. The job is looked at before its events: one at rest then has no later ones.
    async fn read(&mut self) -> Result<Option<String>, StoreError> {
        let state = self.store.job(&self.key).await?.map(|job| job.state);
        let records = self.store.events(Some(&self.key), self.after, BATCH).await?;
        if let Some(last) = records.last() {
            self.after = last.id;
            return Ok(Some(records.into_iter().map(body).fold(String::new(), written)));
        }
        let end = match state {
            None => "DELETED",
            Some(state) if self.until_end && state.is_at_rest() => state.as_str(),
            Some(_) => return Ok(None),
        };
        self.over = true;
        Ok(Some(format!("event: end\ndata: {}\n\n", serde_json::json!({"state": end}))))
    }
}

/// JSON has no line breaks of its own, so one `data:` line holds it.
fn written(mut text: String, event: Event) -> String {
    let data = serde_json::to_string(&event).expect("an event is plain JSON");
    write!(text, "id: {}\nevent: {}\ndata: {data}\n\n", event.id, event.kind).expect("writing to a string cannot fail");
    text
}

/// Without an id: a reader that comes again does not ask for what came after it.
fn live(event: LiveEvent) -> String {
    let LiveEvent { at, kind, fields, .. } = event;
    let event = Event { id: 0, at: at.into(), job: None, kind: kind.to_owned(), fields };
    let data = serde_json::to_string(&event).expect("an event is plain JSON");
    format!("event: {kind}\ndata: {data}\n\n")
}

fn body(record: EventRecord) -> Event {
    Event { id: record.id, at: record.at.into(), job: None, kind: record.kind, fields: record.fields }
}
