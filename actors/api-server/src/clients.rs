//! `/clients`: what the selector and the gateway know of the training sites, and who is kept away.

use crate::error::ApiError;
use crate::rounds;
use crate::session::caller;
use crate::shared::{App, Shared};
use actix_web::{HttpRequest, HttpResponse, web};
use nsfl_actor::now_ms;
use nsfl_messages::{ClientView, GatewayMsg, LinkView, LinksView, SelectorMsg};
use nsfl_rest_model::{Answer, Client, ClientLink, ClientTask, Clients, Mark};
use nsfl_store::{ClientMark, MarkKind, MemberState};
use nsfl_types::{ClientId, Code, Resource, Timestamp};
use serde::Deserialize;
use std::collections::BTreeMap;

type ClientPath = web::Path<String>;
type Answered = Result<HttpResponse, ApiError>;

/// Characters of a reason.
const LONGEST_REASON: usize = 500;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Why {
    #[serde(default)]
    reason: String,
}

pub(crate) async fn list(app: App) -> Answered {
    Ok(HttpResponse::Ok().json(Clients { clients: all(&app).await? }))
}

pub(crate) async fn get(app: App, path: ClientPath) -> Answered {
    let found = all(&app).await?.into_iter().find(|client| client.id.as_str() == path.as_str());
    let mut client = found.ok_or_else(|| unknown(&path))?;
    client.tasks = tasks(&app, &client.id).await?;
    Ok(HttpResponse::Ok().json(client))
}

pub(crate) async fn cordon(app: App, path: ClientPath, request: HttpRequest, body: web::Bytes) -> Answered {
    mark(&app, &path, MarkKind::Cordoned, &request, &body).await
}

/// Its link is closed, and it is turned away.
pub(crate) async fn remove(app: App, path: ClientPath, request: HttpRequest, body: web::Bytes) -> Answered {
    mark(&app, &path, MarkKind::Removed, &request, &body).await
}

/// Welcome again, whatever was done to it. Once that is stored it holds: roles that are down read it when they start.
pub(crate) async fn uncordon(app: App, path: ClientPath) -> Answered {
    let client = id(&path)?;
    app.args.access.remove_mark(&client).await?;
    app.tell(&app.args.gateway, GatewayMsg::Bar { client: client.clone(), barred: false }).await;
    app.tell(&app.args.selector, SelectorMsg::Cordon { client, cordoned: false }).await;
    Ok(HttpResponse::Ok().json(Answer::successful()))
}

async fn mark(app: &Shared, path: &str, kind: MarkKind, request: &HttpRequest, body: &[u8]) -> Answered {
    let client = id(path)?;
    if !all(app).await?.iter().any(|known| known.id == client) {
        return Err(unknown(path));
    }
    let mark = ClientMark {
        client: client.clone(),
        kind,
        by: caller(request)?.name,
        at: Timestamp(now_ms()),
        reason: why(body)?,
    };
    app.args.access.put_mark(mark).await?;
    let (selector, gateway) = (&app.args.selector, &app.args.gateway);
    app.tell(selector, SelectorMsg::Cordon { client: client.clone(), cordoned: true }).await;
    app.tell(gateway, GatewayMsg::Bar { client: client.clone(), barred: kind == MarkKind::Removed }).await;
    if kind == MarkKind::Removed {
        app.tell(selector, SelectorMsg::Forget { client }).await;
    }
    Ok(HttpResponse::Ok().json(Answer::successful()))
}

fn why(body: &[u8]) -> Result<String, ApiError> {
    let expected = |e: serde_json::Error| {
        ApiError::other(Code::BadDocument, format!("{{\"reason\": …}}, null or nothing is expected: {e}"))
    };
    let why: Option<Why> = if body.is_empty() { None } else { serde_json::from_slice(body).map_err(expected)? };
    let reason = why.unwrap_or_default().reason;
    if reason.chars().count() > LONGEST_REASON || reason.chars().any(char::is_control) {
        let how = format!("a reason has at most {LONGEST_REASON} printable characters");
        return Err(ApiError::other(Code::BadDocument, how));
    }
    Ok(reason)
}

fn id(path: &str) -> Result<ClientId, ApiError> {
    path.parse().map_err(|_| unknown(path))
}

fn unknown(path: &str) -> ApiError {
    ApiError::other(Code::NotFound, format!("no client '{path}' is known"))
}

/// Those that are registered, and those that were removed.
pub(crate) async fn all(app: &Shared) -> Result<Vec<Client>, ApiError> {
    let registered = app.clients().await?;
    // a gateway between two lives has no links to show
    let links = app.ask(&app.args.gateway, |reply| GatewayMsg::Links { reply }).await.unwrap_or_default();
    let marks = app.args.access.marks().await?;
    Ok(joined(registered, links, marks))
}

fn joined(registered: Vec<ClientView>, mut links: LinksView, marks: Vec<ClientMark>) -> Vec<Client> {
    let mut marks: BTreeMap<ClientId, ClientMark> = marks.into_iter().map(|mark| (mark.client.clone(), mark)).collect();
    let mut clients: Vec<Client> = registered
        .into_iter()
        .map(|view| {
            let (mark, link) = (marks.remove(&view.info.client), links.links.remove(&view.info.client));
            body(view, mark, link)
        })
        .collect();
    clients.extend(marks.into_values().filter(|mark| mark.kind == MarkKind::Removed).map(removed));
    clients.sort_by(|a, b| a.id.cmp(&b.id));
    clients
}

fn body(view: ClientView, mark: Option<ClientMark>, link: Option<LinkView>) -> Client {
    let info = view.info;
    Client {
        id: info.client,
        address: info.address,
        os: info.os,
        version: info.version,
        runtimes: info.runtimes,
        label: info.label,
        state: view.state,
        max_tasks: info.max_tasks,
        current_tasks: view.load.current_tasks,
        resource: info.resource,
        datasets: info.datasets,
        registered: view.registered.into(),
        last_seen: view.last_seen.into(),
        cordoned: view.cordoned,
        mark: mark.map(shown),
        observable: link.as_ref().is_some_and(|link| link.observable),
        session: link.as_ref().map(|link| link.session),
        link: link.map(figures),
        tasks: Vec::new(),
    }
}

/// Nothing is known of it any more but that it was removed.
fn removed(mark: ClientMark) -> Client {
    Client {
        id: mark.client.clone(),
        address: String::new(),
        os: String::new(),
        version: String::new(),
        runtimes: Vec::new(),
        label: String::new(),
        state: "removed".to_owned(),
        max_tasks: 0,
        current_tasks: 0,
        resource: Resource { worker_num: 0, cpu: 0.0, gpu: 0.0, memory_mb: 0.0 },
        datasets: BTreeMap::new(),
        registered: mark.at.into(),
        last_seen: mark.at.into(),
        cordoned: true,
        observable: false,
        session: None,
        link: None,
        tasks: Vec::new(),
        mark: Some(shown(mark)),
    }
}

fn shown(mark: ClientMark) -> Mark {
    Mark { by: mark.by, at: mark.at.into(), reason: mark.reason }
}

fn figures(link: LinkView) -> ClientLink {
    ClientLink {
        connected: link.connected,
        rtt_us: link.rtt_us,
        bytes_in: link.bytes_in,
        bytes_out: link.bytes_out,
        frames_in: link.frames_in,
        frames_out: link.frames_out,
        reconnects: link.reconnects,
        sessions_lost: link.sessions_lost,
        outbox_messages: link.outbox_messages,
        queued_bytes: link.queued_bytes,
    }
}

/// What the coordinators that collect a round await of a client.
async fn tasks(app: &Shared, client: &ClientId) -> Result<Vec<ClientTask>, ApiError> {
    let mut tasks = Vec::new();
    for job in app.args.coordinators.keys() {
        let Some(view) = rounds::live(app, &job).await else { continue };
        if !view.run.awaited.contains(client) {
            continue;
        }
        let run = app.job(job.clone()).await?.run;
        let members = app.args.store.members(&job, run, view.run.round).await?;
        let progress = view.progress.get(client);
        let open = |member: &&nsfl_store::MemberRecord| {
            member.task.client == *client && matches!(member.state, MemberState::Invited | MemberState::Started)
        };
        tasks.extend(members.iter().filter(open).map(|member| ClientTask {
            job: job.to_string(),
            run,
            round: member.task.round,
            attempt: member.task.attempt,
            kind: member.task.kind,
            state: rounds::name(&member.state),
            at: member.at.into(),
            done: progress.and_then(|progress| progress.done),
            message: progress.map(|progress| progress.message.clone()).unwrap_or_default(),
        }));
    }
    Ok(tasks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nsfl_store::conformance::sample;

    #[test]
    fn a_removed_client_is_listed_after_it_was_forgotten_and_a_cordoned_one_that_never_came_is_not() {
        let gone = ClientMark { kind: MarkKind::Removed, ..sample::mark("c2") };
        let clients = joined(Vec::new(), LinksView::default(), vec![sample::mark("c1"), gone]);
        assert_eq!(clients.len(), 1);
        assert_eq!((clients[0].id.as_str(), clients[0].state.as_str()), ("c2", "removed"));
        assert_eq!(clients[0].mark.as_ref().map(|mark| mark.by.as_str()), Some("ada"));
    }
}
