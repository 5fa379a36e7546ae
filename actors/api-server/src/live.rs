//! `/live`: one stream of everything the console shows. What is a state (jobs, clients, actors, rounds) is sent whole and then
//! as changes; what is a history (events, log lines) goes on after the last id that the reader saw.

mod board;
mod pulse;

pub(crate) use pulse::{Pulse, Topic, beat};

use crate::error::ApiError;
use crate::filter::Filter;
use crate::history::{event, line};
use crate::rounds;
use crate::session::caller;
use crate::shared::{App, Shared, query};
use crate::stream::{Gone, Out, Piece, sse};
use actix_web::{HttpRequest, HttpResponse};
use board::Board;
use nsfl_actor::now_ms;
use nsfl_messages::LiveEvent;
use nsfl_rest_model::{Event, Time};
use nsfl_telemetry::LogTail;
use nsfl_types::{Code, JobKey, Timestamp};
use pulse::Watched;
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::future::pending;
use std::str::FromStr as _;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, sleep_until};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    topics: String,
    after: Option<u64>,
    job: Option<String>,
    client: Option<String>,
    actor: Option<String>,
    level: Option<String>,
}

/// Between two looks at the rounds of running jobs.
const ROUNDS: Duration = Duration::from_millis(500);
/// Events read from the store at once.
const BATCH: u32 = 256;

pub(crate) async fn live(app: App, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let query: Query = query(&request)?;
    let caller = caller(&request)?;
    let topics = topics(&query.topics)?;
    let job = query.job.as_deref().map(job_key).transpose()?;
    let seen = request.headers().get("last-event-id").and_then(|id| id.to_str().ok()).and_then(Place::parse);
    let hello = json!({
        "version": env!("CARGO_PKG_VERSION"), "boot": Time(app.boot), "now": Time(Timestamp(now_ms())),
        "name": caller.name, "role": caller.role,
    });
    let Query { job: job_text, client, actor, level, .. } = query;
    let filter = Filter { job: job_text, client, actor, level, ..Filter::default() };
    let place = Place::begin(&app, seen, query.after);
    Ok(sse(&app.clone(), "live", async move |out| {
        let mut reader = Reader::new(&app, &topics, filter, job, place);
        out.send(Piece::of("hello", &hello).id(&reader.place.to_string())).await?;
        reader.run(&app, out).await
    }))
}

fn topics(text: &str) -> Result<Vec<Topic>, ApiError> {
    let parsed: Result<Vec<Topic>, String> = text.split(',').map(Topic::from_str).collect();
    parsed.map_err(|unknown| {
        let known = "jobs, rounds, clients, actors, events and logs";
        ApiError::other(Code::BadDocument, format!("topics: '{unknown}' is none of {known}"))
    })
}

fn job_key(text: &str) -> Result<JobKey, ApiError> {
    let key =
        text.split_once('/').and_then(|(namespace, id)| Some(JobKey::new(namespace.parse().ok()?, id.parse().ok()?)));
    key.ok_or_else(|| ApiError::other(Code::BadDocument, format!("job: '{text}' is not NAMESPACE/ID")))
}

/// How far a reader has come in the histories; the id of what it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    event: u64,
    line: u64,
    boot: u64,
}

impl Place {
    /// Where a reader that was here before left off, or now. Lines of an earlier life of the server are gone.
    fn begin(app: &Shared, seen: Option<Self>, after: Option<u64>) -> Self {
        let now = Self {
            event: after.unwrap_or(*app.args.store.newest_event().borrow()),
            line: *app.args.logs.newest().borrow(),
            boot: app.boot.0,
        };
        match seen {
            Some(seen) if seen.boot == now.boot => seen,
            Some(seen) => Self { line: 0, event: seen.event, ..now },
            None => now,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '-').map(str::parse);
        Some(Self { event: parts.next()?.ok()?, line: parts.next()?.ok()?, boot: parts.next()?.ok()? })
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}-{}", self.event, self.line, self.boot)
    }
}

/// A state that is followed: what was sent of it, and where it changes.
struct Followed {
    name: &'static str,
    board: Board,
    watched: Watched,
}

/// One reader.
struct Reader {
    states: Vec<Followed>,
    filter: Filter,
    place: Place,
    newest: Option<watch::Receiver<u64>>,
    progress: Option<broadcast::Receiver<LiveEvent>>,
    lines: Option<watch::Receiver<u64>>,
    logs: LogTail,
    rounds: Option<RoundsOf>,
}

/// The rounds of one job, or of those that run.
struct RoundsOf {
    job: Option<JobKey>,
    sent: BTreeMap<JobKey, String>,
    changed: watch::Receiver<u64>,
    progress: broadcast::Receiver<LiveEvent>,
    /// When they are looked at again, once something has happened.
    due: Option<Instant>,
    last: Option<Instant>,
}

enum Woken {
    State(usize),
    Events,
    Progress(LiveEvent),
    Lines,
    RoundsChanged,
    RoundsDue,
    Nothing,
}

impl Reader {
    fn new(app: &Shared, topics: &[Topic], filter: Filter, job: Option<JobKey>, place: Place) -> Self {
        let wants = |topic| topics.contains(&topic);
        let states = [(Topic::Jobs, "jobs"), (Topic::Clients, "clients"), (Topic::Actors, "actors")];
        let followed = |(topic, name)| Followed { name, board: Board::default(), watched: app.pulse.watch(topic) };
        let rounds = wants(Topic::Rounds).then(|| RoundsOf {
            job,
            sent: BTreeMap::new(),
            changed: app.args.store.newest_event(),
            progress: app.args.live.subscribe(),
            due: Some(Instant::now()),
            last: None,
        });
        let mut newest = wants(Topic::Events).then(|| app.args.store.newest_event());
        let mut lines = wants(Topic::Logs).then(|| app.args.logs.newest());
        // what is there already is read first
        newest.iter_mut().for_each(watch::Receiver::mark_changed);
        lines.iter_mut().for_each(watch::Receiver::mark_changed);
        Self {
            states: states.into_iter().filter(|(topic, _)| wants(*topic)).map(followed).collect(),
            filter,
            place,
            newest,
            progress: wants(Topic::Events).then(|| app.args.live.subscribe()),
            lines,
            logs: app.args.logs.clone(),
            rounds,
        }
    }

    async fn run(&mut self, app: &Shared, out: &mut Out) -> Result<(), Gone> {
        loop {
            match self.wake().await {
                Woken::State(at) => {
                    let Followed { name, board, watched } = &mut self.states[at];
                    if let Some(json) = board.changes(name, &watched.rows(), Instant::now()) {
                        out.send(Piece::raw(name, &json).id(&self.place.to_string())).await?;
                    }
                }
                Woken::Events => self.events(app, out).await?,
                Woken::Progress(told) => {
                    if let Some(piece) = progress(&self.filter, told) {
                        out.send(piece).await?;
                    }
                }
                Woken::Lines => self.lines(out).await?,
                Woken::RoundsChanged => {
                    if let Some(rounds) = &mut self.rounds {
                        let soonest = rounds.last.map_or_else(Instant::now, |last| last + ROUNDS);
                        rounds.due.get_or_insert(soonest);
                    }
                }
                Woken::RoundsDue => self.rounds(app, out).await?,
                Woken::Nothing => {}
            }
        }
    }

    async fn wake(&mut self) -> Woken {
        let states = self.states.iter_mut().enumerate().map(|(at, state)| {
            Box::pin(async move {
                state.watched.changed().await;
                at
            })
        });
        let states = states.collect::<Vec<_>>();
        let state = async {
            if states.is_empty() { pending().await } else { futures_util::future::select_all(states).await.0 }
        };
        let (changed, told, due) = match &mut self.rounds {
            Some(rounds) => (Some(&mut rounds.changed), Some(&mut rounds.progress), rounds.due),
            None => (None, None, None),
        };
        tokio::select! {
            at = state => Woken::State(at),
            () = moved(self.newest.as_mut()) => Woken::Events,
            told = heard(self.progress.as_mut()) => told.map_or(Woken::Nothing, Woken::Progress),
            () = moved(self.lines.as_mut()) => Woken::Lines,
            () = moved(changed) => Woken::RoundsChanged,
            _ = heard(told) => Woken::RoundsChanged,
            () = async { match due { Some(due) => sleep_until(due).await, None => pending().await } } => Woken::RoundsDue,
        }
    }

    async fn events(&mut self, app: &Shared, out: &mut Out) -> Result<(), Gone> {
        loop {
            let read = app.args.store.events(None, self.place.event, BATCH).await.map_err(|error| {
                tracing::error!(error = &error as &dyn std::error::Error, "live stream cut");
                Gone
            })?;
            if read.is_empty() {
                return Ok(());
            }
            for record in read {
                self.place.event = record.id;
                if self.filter.event(&record) {
                    out.send(Piece::of("event", &event(record)).id(&self.place.to_string())).await?;
                }
            }
        }
    }

    async fn lines(&mut self, out: &mut Out) -> Result<(), Gone> {
        let read = self.logs.after(self.place.line);
        let missed = read.first().map_or(0, |first| first.seq - self.place.line - 1);
        if missed > 0 {
            out.send(Piece::of("lost", &json!({"topic": "logs", "count": missed}))).await?;
        }
        for record in read {
            self.place.line = record.seq;
            if self.filter.line(&record) {
                out.send(Piece::of("log", &line(&record)).id(&self.place.to_string())).await?;
            }
        }
        Ok(())
    }

    async fn rounds(&mut self, app: &Shared, out: &mut Out) -> Result<(), Gone> {
        let Some(of) = &mut self.rounds else { return Ok(()) };
        (of.due, of.last) = (None, Some(Instant::now()));
        let keys = match &of.job {
            Some(job) => vec![job.clone()],
            None => app.args.coordinators.keys(),
        };
        // a job that has just ended is shown once more as it ended
        let keys = keys.into_iter().chain(of.sent.keys().cloned()).collect::<std::collections::BTreeSet<_>>();
        let running = app.args.coordinators.keys();
        for key in keys {
            let Ok(rounds) = rounds::rounds(app, &key).await else {
                of.sent.remove(&key);
                continue;
            };
            let mut body = json!({"namespace": key.namespace, "id": key.id});
            if let (Some(body), serde_json::Value::Object(rounds)) = (body.as_object_mut(), json!(rounds)) {
                body.extend(rounds);
            }
            let text = body.to_string();
            let known = of.sent.get(&key).is_some_and(|sent| *sent == text);
            if !running.contains(&key) && of.job.is_none() {
                of.sent.remove(&key);
            } else {
                of.sent.insert(key, text.clone());
            }
            if !known {
                out.send(Piece::raw("rounds", &text)).await?;
            }
        }
        Ok(())
    }
}

fn progress(filter: &Filter, told: LiveEvent) -> Option<Piece> {
    let LiveEvent { job, at, kind, fields } = told;
    let job = job.to_string();
    let fits = filter.job.as_ref().is_none_or(|wanted| *wanted == job)
        && filter.client.as_ref().is_none_or(|client| fields["client"].as_str() == Some(client));
    let told = Event { id: 0, at: at.into(), job: Some(job), kind: kind.to_owned(), fields };
    fits.then(|| Piece::of("progress", &told))
}

/// Until it has changed; for ever when there is nothing to wait for.
async fn moved(watched: Option<&mut watch::Receiver<u64>>) {
    let Some(watched) = watched else { return pending().await };
    if watched.changed().await.is_err() {
        pending().await
    }
}

/// The next; none when some were missed, which are overtaken already.
async fn heard(told: Option<&mut broadcast::Receiver<LiveEvent>>) -> Option<LiveEvent> {
    match told {
        Some(told) => match told.recv().await {
            Ok(event) => Some(event),
            Err(RecvError::Lagged(_)) => None,
            Err(RecvError::Closed) => pending().await,
        },
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_is_written_and_nonsense_is_none() {
        let place = Place { event: 7, line: 9, boot: 1_700_000_000_000 };
        assert_eq!(Place::parse(&place.to_string()), Some(place));
        for bad in ["", "7", "7-9", "7-9-x", "a-b-c"] {
            assert_eq!(Place::parse(bad), None, "{bad}");
        }
    }
}
