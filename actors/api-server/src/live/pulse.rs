//! `Pulse`: looks at the states that somebody follows, once for all who do, and not at all when nobody does.

use super::board::Row;
use crate::actors;
use crate::clients;
use crate::jobs;
use crate::shared::Shared;
use actix_web::web;
use nsfl_actor::ActorView;
use serde::Serialize;
use serde_json::{Value, json};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};

/// What can be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    Jobs,
    Clients,
    Actors,
    Rounds,
    Events,
    Logs,
}

impl FromStr for Topic {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "jobs" => Topic::Jobs,
            "clients" => Topic::Clients,
            "actors" => Topic::Actors,
            "rounds" => Topic::Rounds,
            "events" => Topic::Events,
            "logs" => Topic::Logs,
            unknown => return Err(unknown.to_owned()),
        })
    }
}

type Rows = Arc<Vec<Row>>;

/// The states, as they were looked at last. None: not since somebody follows them.
#[derive(Debug, Clone)]
pub(crate) struct Pulse {
    states: [watch::Sender<Option<Rows>>; 3],
    wanted: Arc<Notify>,
}

impl Pulse {
    pub(crate) fn new() -> Self {
        Self { states: std::array::from_fn(|_| watch::Sender::new(None)), wanted: Arc::default() }
    }

    /// Follows jobs, clients or actors.
    pub(crate) fn watch(&self, topic: Topic) -> Watched {
        let state = &self.states[topic as usize];
        let mut rows = state.subscribe();
        // what others follow is there already
        rows.mark_changed();
        self.wanted.notify_one();
        Watched(rows)
    }

    fn is_followed(&self, topic: Topic) -> bool {
        let state = &self.states[topic as usize];
        if state.receiver_count() == 0 {
            state.send_if_modified(|rows| rows.take().is_some());
        }
        state.receiver_count() > 0
    }

    fn set(&self, topic: Topic, rows: Vec<Row>) {
        self.states[topic as usize].send_if_modified(|known| {
            let news = known.as_ref().is_none_or(|known| **known != rows);
            if news {
                *known = Some(Arc::new(rows));
            }
            news
        });
    }
}

/// A state that somebody follows.
pub(crate) struct Watched(watch::Receiver<Option<Rows>>);

impl Watched {
    /// Until there is something that was not seen.
    pub(crate) async fn changed(&mut self) {
        loop {
            if self.0.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            if self.0.borrow().is_some() {
                return;
            }
        }
    }

    pub(crate) fn rows(&mut self) -> Rows {
        self.0.borrow_and_update().clone().unwrap_or_default()
    }
}

/// Between two looks at clients and at actors. A large tree is looked at less often, so that it costs the same.
const CLIENTS: Duration = Duration::from_secs(2);
const ACTORS: Duration = Duration::from_secs(2);
const ACTORS_AT_ONCE: usize = 500;
/// Between two looks at jobs in which something has happened, and when nothing has.
const JOBS: Duration = Duration::from_millis(500);
const JOBS_AT_REST: Duration = Duration::from_secs(15);

/// Looks, as long as the server serves.
pub(crate) async fn beat(app: web::Data<Shared>) {
    let mut events = app.args.store.newest_event();
    let [mut jobs, mut clients, mut actors] = [None::<Instant>; 3];
    let due = |last: Option<Instant>, every: Duration| last.is_none_or(|last| last.elapsed() >= every);
    let mut pause = ACTORS;
    loop {
        let pulse = &app.pulse;
        let followed = [Topic::Jobs, Topic::Clients, Topic::Actors].map(|topic| pulse.is_followed(topic));
        if !followed.contains(&true) {
            (jobs, clients, actors) = (None, None, None);
            pulse.wanted.notified().await;
            continue;
        }
        if followed[0] && (due(jobs, JOBS_AT_REST) || events.has_changed().unwrap_or_default()) {
            events.mark_unchanged();
            pulse.set(Topic::Jobs, job_rows(&app).await);
            jobs = Some(Instant::now());
        }
        if followed[1] && due(clients, CLIENTS) {
            pulse.set(Topic::Clients, client_rows(&app).await);
            clients = Some(Instant::now());
        }
        if followed[2] && due(actors, pause) {
            let rows = actor_rows(&app).await;
            pause = ACTORS * u32::try_from(1 + rows.len() / ACTORS_AT_ONCE).unwrap_or(u32::MAX);
            pulse.set(Topic::Actors, rows);
            actors = Some(Instant::now());
        }
        if !followed[0] {
            jobs = None;
        }
        if !followed[1] {
            clients = None;
        }
        if !followed[2] {
            actors = None;
        }
        tokio::select! {
            () = sleep(JOBS) => {}
            () = pulse.wanted.notified() => {}
        }
    }
}

async fn job_rows(app: &Shared) -> Vec<Row> {
    let mut rows = Vec::new();
    for namespace in &app.args.namespaces {
        let Ok(jobs) = jobs::of(app, namespace.clone()).await else { continue };
        rows.extend(jobs.into_iter().map(|job| {
            let key = json!({"namespace": job.namespace, "id": job.id()}).to_string();
            row(key, &job, None)
        }));
    }
    rows
}

async fn client_rows(app: &Shared) -> Vec<Row> {
    let clients = clients::all(app).await.unwrap_or_default();
    let row = |client: &nsfl_rest_model::Client| {
        let mut matters = json!(client);
        matters["last_seen"] = Value::Null;
        let connected = client.link.as_ref().map(|link| link.connected);
        matters["link"] = json!(connected);
        row(json!(client.id).to_string(), client, Some(&matters))
    };
    clients.iter().map(row).collect()
}

async fn actor_rows(app: &Shared) -> Vec<Row> {
    let mut rows = Vec::new();
    if let Ok(tree) = actors::view(app, None).await {
        flatten(tree, None, 0, &mut rows);
    }
    rows
}

fn flatten(mut view: ActorView, parent: Option<&str>, depth: usize, rows: &mut Vec<Row>) {
    let children = std::mem::take(&mut view.children);
    let path = view.path.clone();
    view.detail = Value::Null;
    let mut json = json!(actors::body(view));
    if let Some(fields) = json.as_object_mut() {
        fields.remove("children");
        fields.remove("detail");
        fields.insert("parent".to_owned(), json!(parent));
        fields.insert("depth".to_owned(), json!(depth));
    }
    rows.push(row(json!(path).to_string(), &json, None));
    for child in children {
        flatten(child, Some(&path), depth + 1, rows);
    }
}

/// `matters`: what is sent at once when it changes; all of it when not given.
fn row(key: String, body: &impl Serialize, matters: Option<&Value>) -> Row {
    let json = serde_json::to_string(body).expect("plain data is JSON");
    let whole = hash(&json);
    Row { key, whole, matters: matters.map_or(whole, |matters| hash(&matters.to_string())), json }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
