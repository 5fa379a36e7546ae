//! `top`: actors, clients and jobs as they are now, again and again.

use crate::cli::Top;
use crate::fault::Fault;
use crate::print::{or_dash, result, table};
use crate::rest::{Rest, escaped};
use nsfl_rest_model::{Actor, Client, Clients, Job, Jobs, Namespaces};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal as _, stdout};
use std::time::{Duration, Instant};

/// Home, and nothing below.
const CLEAR: &str = "\x1b[H\x1b[J";
/// Rows of clients and of jobs.
const ROWS: usize = 10;

/// One look.
struct Seen {
    at: Instant,
    actors: Vec<Actor>,
    clients: Vec<Client>,
    jobs: Vec<Job>,
}

pub(crate) fn top(rest: &Rest, args: &Top) -> Result<(), Fault> {
    let mut before = None;
    loop {
        let seen = look(rest)?;
        let text = rendered(&seen, before.as_ref(), args.actors);
        if args.once || !stdout().is_terminal() {
            result(&text)?;
        } else {
            result(&format!("{CLEAR}{text}"))?;
        }
        if args.once {
            return Ok(());
        }
        before = Some(seen);
        std::thread::sleep(Duration::from_secs(args.every));
    }
}

fn look(rest: &Rest) -> Result<Seen, Fault> {
    let mut jobs = Vec::new();
    for namespace in rest.get::<Namespaces>("/api/v1/namespaces")?.namespaces {
        jobs.extend(rest.get::<Jobs>(&format!("/api/v1/namespaces/{}/jobs", escaped(&namespace)))?.jobs);
    }
    let mut actors = Vec::new();
    flatten(rest.get("/api/v1/actors")?, &mut actors);
    Ok(Seen { at: Instant::now(), actors, clients: rest.get::<Clients>("/api/v1/clients")?.clients, jobs })
}

fn flatten(mut actor: Actor, all: &mut Vec<Actor>) {
    let children = std::mem::take(&mut actor.children);
    all.push(actor);
    children.into_iter().for_each(|child| flatten(child, all));
}

fn rendered(seen: &Seen, before: Option<&Seen>, most: usize) -> String {
    let online = seen.clients.iter().filter(|client| client.state == "online").count();
    let running = seen.jobs.iter().filter(|job| job.status.state.as_str() == "RUNNING").count();
    let restarts: u64 = seen.actors.iter().map(|actor| u64::from(actor.restarts)).sum();
    let dead: u64 = seen.actors.iter().map(|actor| actor.dead_letters).sum();
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{} actors, {restarts} restarts, {dead} dead letters; {} clients, {online} online; {} jobs, {running} running\n",
        seen.actors.len(),
        seen.clients.len(),
        seen.jobs.len(),
    );
    text + &jobs(seen) + "\n" + &clients(seen) + "\n" + &actors(seen, before, most)
}

fn jobs(seen: &Seen) -> String {
    let mut jobs: Vec<&Job> = seen.jobs.iter().collect();
    jobs.sort_by_key(|job| job.status.state.is_at_rest());
    let row = |job: &&Job| {
        let name = format!("{}/{}", job.namespace, job.id());
        [name, job.status.state.to_string(), format!("{}%", job.status.progress), job.status.reason.clone()]
    };
    table(["JOB", "STATE", "PROGRESS", "REASON"], jobs.iter().take(ROWS).map(row))
}

fn clients(seen: &Seen) -> String {
    let mut clients: Vec<&Client> = seen.clients.iter().collect();
    clients.sort_by_key(|client| std::cmp::Reverse(client.current_tasks));
    let row = |client: &&Client| {
        let trip = or_dash(client.link.as_ref().map(|link| format!("{:.1} ms", link.rtt_us as f64 / 1e3)));
        let tasks = format!("{}/{}", client.current_tasks, client.max_tasks);
        [client.id.to_string(), client.state.clone(), tasks, trip, client.last_seen.short()]
    };
    table(["CLIENT", "STATE", "TASKS", "ROUND TRIP", "LAST SEEN (UTC)"], clients.iter().take(ROWS).map(row))
}

/// The busiest first: by the share of the time since the look before, or of all time.
fn actors(seen: &Seen, before: Option<&Seen>, most: usize) -> String {
    let known: BTreeMap<&str, &Actor> =
        before.iter().flat_map(|seen| &seen.actors).map(|actor| (actor.path.as_str(), actor)).collect();
    let seconds = before.map(|before| seen.at.duration_since(before.at).as_secs_f64());
    let mut rows: Vec<(f64, f64, &Actor)> = seen
        .actors
        .iter()
        .map(|actor| match (known.get(actor.path.as_str()), seconds) {
            (Some(was), Some(seconds)) if seconds > 0.0 => {
                let busy = actor.busy_us.saturating_sub(was.busy_us) as f64 / 1e6 / seconds;
                (busy, actor.handled.saturating_sub(was.handled) as f64 / seconds, actor)
            }
            _ => (0.0, actor.rate, actor),
        })
        .collect();
    rows.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.total_cmp(&a.1)));
    let row = |(busy, rate, actor): &(f64, f64, &Actor)| {
        [
            actor.path.clone(),
            actor.state.clone(),
            format!("{rate:.1}"),
            format!("{:.1}%", busy * 100.0),
            format!("{}/{}", actor.mailbox.depth, actor.mailbox.high_water),
            actor.restarts.to_string(),
        ]
    };
    table(["ACTOR", "STATE", "MSG/S", "BUSY", "MAILBOX/MOST", "RESTARTS"], rows.iter().take(most).map(row))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn actor(path: &str, handled: u64, busy_us: u64) -> Actor {
        serde_json::from_value(json!({
            "path": path, "kind": "x", "state": "running", "restarts": 1, "started": null, "handled": handled,
            "busy_us": busy_us, "mailbox": {"depth": 0, "capacity": 8, "high_water": 3, "oldest_ms": 0}, "last_error": null,
            "rate": 0.5,
        }))
        .unwrap()
    }

    #[test]
    fn the_busiest_since_the_last_look_come_first() {
        let now = Instant::now();
        let seen = |at, actors| Seen { at, actors, clients: Vec::new(), jobs: Vec::new() };
        let before = seen(now, vec![actor("idle", 10, 5_000_000), actor("busy", 10, 0)]);
        let after = vec![actor("idle", 10, 5_000_000), actor("busy", 30, 1_000_000), actor("new", 1, 1)];
        let after = seen(now + Duration::from_secs(2), after);
        insta::assert_snapshot!(rendered(&after, Some(&before), 2));
    }
}
