//! `/actors`: the supervision tree as it is now, of the server or of a client that shows it, and what may be done to one.

use crate::error::{ApiError, Request};
use crate::rounds::name;
use crate::shared::{App, Shared, query};
use crate::stream::{Piece, sse};
use actix_web::{HttpRequest, HttpResponse, web};
use nsfl_actor::{ActorView, Found, Traced};
use nsfl_messages::GatewayMsg;
use nsfl_rest_model::{Actor, ActorFailure, ActorRestart, Answer, Handler, Mailbox, Time, TracedMessage};
use nsfl_types::{ClientId, Code, Timestamp};
use serde::Deserialize;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;

type ActorPath = web::Path<String>;

/// Upper bound for looking at the tree.
const OBSERVE: Duration = Duration::from_secs(2);
/// Longest trace, seconds.
const LONGEST_TRACE: u64 = 60;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Whose {
    client: Option<ClientId>,
}

pub(crate) async fn tree(app: App, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let Whose { client } = query(&request)?;
    Ok(HttpResponse::Ok().json(body(view(&app, client).await?)))
}

/// One actor with those below it.
pub(crate) async fn get(app: App, path: ActorPath, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let Whose { client } = query(&request)?;
    let found = below(view(&app, client).await?, &path).ok_or_else(|| absent(&path))?;
    Ok(HttpResponse::Ok().json(body(found)))
}

pub(crate) async fn restart(app: App, path: ActorPath) -> Result<HttpResponse, ApiError> {
    refuse_root(&app, &path)?;
    let found = find(&app, &path).await?;
    tracing::info!(actor = path.as_str(), "restart asked for");
    // on the node's own runtime: this one ends with the api-server
    let restarted = app.runtime.spawn(async move { found.restart().await });
    if path.as_str() == app.path {
        // it cannot wait for its own end
        return Ok(HttpResponse::Accepted().json(Answer::successful()));
    }
    let restarted = restarted.await.map_err(|_| ApiError::other(Code::Busy, "the server is ending; try again"))?;
    restarted.map_err(|failure| ApiError::other(Code::Internal, format!("{path} was not started again: {failure}")))?;
    Ok(HttpResponse::Ok().json(Answer::successful()))
}

pub(crate) async fn stop(app: App, path: ActorPath) -> Result<HttpResponse, ApiError> {
    refuse_root(&app, &path)?;
    if path.as_str() == app.path {
        let reason = "without the api-server nobody could start it again: restart it, or end the node";
        return Err(ApiError::forbidden(Code::NotAllowed, reason));
    }
    let found = find(&app, &path).await?;
    tracing::info!(actor = path.as_str(), "stop asked for");
    found.stop().await.map_err(|failure| ApiError::other(Code::Busy, format!("{path} was not stopped: {failure}")))?;
    Ok(HttpResponse::Ok().json(Answer::successful()))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Length {
    #[serde(default = "longest")]
    seconds: u64,
}

fn longest() -> u64 {
    LONGEST_TRACE
}

/// What the actor handles from now on, for a while, as a stream of events.
pub(crate) async fn trace(app: App, path: ActorPath, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let Length { seconds } = query(&request)?;
    let mut trace = find(&app, &path).await?.trace();
    let until = tokio::time::Instant::now() + Duration::from_secs(seconds.clamp(1, LONGEST_TRACE));
    Ok(sse(&app, "trace", async move |out| {
        loop {
            let piece = match tokio::time::timeout_at(until, trace.recv()).await {
                Ok(Ok(traced)) => Piece::of("message", &message(traced)),
                Ok(Err(RecvError::Lagged(count))) => Piece::of("lost", &serde_json::json!({"count": count})),
                Ok(Err(RecvError::Closed)) | Err(_) => break,
            };
            out.send(piece).await?;
        }
        out.send(Piece::of("end", &serde_json::json!({}))).await
    }))
}

/// The tree of the server, or of a client.
pub(crate) async fn view(app: &Shared, client: Option<ClientId>) -> Result<ActorView, ApiError> {
    let Some(client) = client else { return Ok(app.args.root.observe(OBSERVE).await) };
    let known = app.clients().await?.into_iter().any(|known| known.info.client == client);
    if !known {
        return Err(ApiError::other(Code::NotFound, format!("no client '{client}' is known")));
    }
    let answer = app.ask(&app.args.gateway, |reply| GatewayMsg::Observe { client, reply }).await?;
    answer.map_err(|refusal| match refusal.code {
        Code::NotAddressable => ApiError::forbidden(refusal.code, refusal.reason),
        _ => ApiError::new(Request::Other, refusal),
    })
}

async fn find(app: &Shared, path: &str) -> Result<Found, ApiError> {
    app.args.root.find(path).await.ok_or_else(|| absent(path))
}

fn refuse_root(app: &Shared, path: &str) -> Result<(), ApiError> {
    if path == app.args.root.path() {
        return Err(ApiError::forbidden(Code::NotAllowed, "the root ends with its node: restart or stop that one"));
    }
    Ok(())
}

fn absent(path: &str) -> ApiError {
    ApiError::other(Code::NotFound, format!("there is no actor '{path}'; `nsfl-ctl get actors` shows those there are"))
}

fn below(view: ActorView, path: &str) -> Option<ActorView> {
    if view.path == path {
        return Some(view);
    }
    view.children.into_iter().find_map(|child| below(child, path))
}

pub(crate) fn body(view: ActorView) -> Actor {
    let at = |ms: u64| (ms > 0).then_some(Time(Timestamp(ms)));
    let last_error = view.last_error.as_ref().map(ToString::to_string);
    let failure = view.last_error.map(|failure| ActorFailure {
        message: failure.message,
        causes: failure.causes,
        at: at(view.last_error_at_ms),
    });
    let restart =
        |restart: nsfl_actor::RestartView| ActorRestart { at: Time(Timestamp(restart.at_ms)), cause: restart.cause };
    Actor {
        state: name(&view.state),
        path: view.path,
        kind: view.kind,
        restarts: view.restarts,
        started: at(view.started_at_ms),
        mailbox: Mailbox {
            depth: view.mailbox.depth as u64,
            capacity: view.mailbox.capacity as u64,
            high_water: view.mailbox.high_water as u64,
            waiting: view.mailbox.waiting as u64,
            oldest_ms: view.mailbox.oldest_ms,
        },
        handled: view.handled,
        rate: (view.rate * 10.0).round() / 10.0,
        busy_us: view.busy_us,
        handler: Handler {
            last_us: view.handler.last_us,
            longest_us: view.handler.longest_us,
            slow: view.handler.slow,
            current_ms: view.handler.current_ms,
        },
        dead_letters: view.dead_letters,
        rejected: view.rejected,
        unanswered: view.unanswered,
        restarted: view.restarted.into_iter().map(restart).collect(),
        last_error,
        failure,
        detail: view.detail,
        children: view.children.into_iter().map(body).collect(),
    }
}

fn message(traced: Traced) -> TracedMessage {
    TracedMessage {
        at: Time(Timestamp(traced.at_ms)),
        message: traced.message,
        from: if traced.waited_us.is_some() { "mailbox" } else { "own" }.to_owned(),
        waited_us: traced.waited_us,
        handled_us: traced.handled_us,
        ok: traced.ok,
    }
}
