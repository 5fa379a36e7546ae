//! One actor: described, restarted, stopped, traced.

use crate::cli::{ActorPath, DescribeOne, TraceActor};
use crate::fault::Fault;
use crate::get::show;
use crate::print::{or_dash, table, talk};
use crate::rest::{Rest, escaped};
use crate::screen::Screen;
use crate::sse;
use nsfl_rest_model::{Actor, TracedMessage};
use serde_json::Value;
use std::fmt::Write as _;
use std::time::Duration;

pub(crate) fn operate(rest: &Rest, actor: &ActorPath, what: &str) -> Result<(), Fault> {
    rest.change("PUT", &format!("{}:{what}", path(&actor.path)), &Value::Null)
}

pub(crate) fn describe(rest: &Rest, args: &DescribeOne) -> Result<(), Fault> {
    let of = args.client.as_ref().map_or_else(String::new, |client| format!("?client={}", escaped(client)));
    show(rest, &format!("{}{of}", path(&args.name)), args.output, |actor: Actor| described(&actor))
}

/// A line a message, until the time is over.
pub(crate) fn trace(rest: &Rest, args: &TraceActor) -> Result<(), Fault> {
    let life = Duration::from_secs(args.seconds + 5);
    let mut stream = rest.stream(&format!("{}:trace?seconds={}", path(&args.actor.path), args.seconds), Some(life))?;
    let mut screen = Screen::result();
    while let Ok(Some(sent)) = sse::next(&mut stream) {
        match sent.kind.as_str() {
            "message" => {
                if let Ok(traced) = serde_json::from_str::<TracedMessage>(&sent.data) {
                    screen.line(&line(&traced));
                }
            }
            "lost" => talk(&format!("messages were missed: {}", sent.data)),
            _ => break,
        }
    }
    Ok(())
}

/// Slashes of a path stay.
fn path(actor: &str) -> String {
    let parts: Vec<String> = actor.split('/').map(escaped).collect();
    format!("/api/v1/actors/{}", parts.join("/"))
}

fn line(traced: &TracedMessage) -> String {
    let waited = traced.waited_us.map_or_else(|| traced.from.clone(), |us| format!("waited {}", time(us)));
    let failed = if traced.ok { "" } else { "  FAILED" };
    format!("{}  {:<24} {:<16} took {}{failed}", traced.at, traced.message, waited, time(traced.handled_us))
}

fn time(us: u64) -> String {
    match us {
        0..1000 => format!("{us} µs"),
        1000..1_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{:.1} s", us as f64 / 1e6),
    }
}

fn described(actor: &Actor) -> String {
    let (mailbox, handler) = (&actor.mailbox, &actor.handler);
    let now = handler.current_ms.map_or_else(String::new, |ms| format!(", {} in the present one", time(ms * 1000)));
    let rows = [
        ["actor".to_owned(), actor.path.clone()],
        ["kind".to_owned(), actor.kind.clone()],
        ["state".to_owned(), format!("{}, since {}", actor.state, or_dash(actor.started.map(|at| at.short())))],
        [
            "mailbox".to_owned(),
            format!(
                "{} of {}, at most {}, the oldest {} ms",
                mailbox.depth, mailbox.capacity, mailbox.high_water, mailbox.oldest_ms
            ),
        ],
        ["handled".to_owned(), format!("{}, {:.1} a second lately", actor.handled, actor.rate)],
        [
            "handler".to_owned(),
            format!(
                "{} in all, last {}, longest {}, {} slow{now}",
                time(actor.busy_us),
                time(handler.last_us),
                time(handler.longest_us),
                handler.slow
            ),
        ],
        [
            "not taken".to_owned(),
            format!(
                "{} dead letters, {} turned away, {} looks unanswered",
                actor.dead_letters, actor.rejected, actor.unanswered
            ),
        ],
        ["restarts".to_owned(), actor.restarts.to_string()],
    ];
    let mut text = table(["", ""], rows).split_once('\n').map(|(_, rows)| rows.to_owned()).unwrap_or_default();
    for restart in &actor.restarted {
        let cause = restart.cause.as_deref().unwrap_or("asked for");
        let _ = writeln!(text, "  restarted {}: {cause}", restart.at.short());
    }
    if let Some(failure) = &actor.failure {
        let _ = writeln!(text, "last error {}: {}", or_dash(failure.at.map(|at| at.short())), failure.message);
        for cause in &failure.causes {
            let _ = writeln!(text, "  caused by: {cause}");
        }
    }
    if !actor.detail.is_null() {
        let _ = writeln!(text, "{}", serde_json::to_string_pretty(&actor.detail).unwrap_or_default());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn actor() -> Actor {
        serde_json::from_value(json!({
            "path": "jobs/default/digits/coordinator", "kind": "coordinator", "state": "running", "restarts": 2,
            "started": "2026-01-02T03:04:05Z", "mailbox": {"depth": 1, "capacity": 64, "high_water": 9, "oldest_ms": 12},
            "handled": 4711, "rate": 3.2, "busy_us": 1_200_000, "dead_letters": 1, "rejected": 0, "unanswered": 2,
            "handler": {"last_us": 40, "longest_us": 1_500_000, "slow": 1, "current_ms": 2500},
            "restarted": [{"at": "2026-01-02T03:04:05Z", "cause": null}, {"at": "2026-01-02T03:04:04Z", "cause": "store failed"}],
            "last_error": "store failed: disk full", "detail": {"round": 3}, "children": [],
            "failure": {"message": "store failed", "causes": ["disk full"], "at": "2026-01-02T03:04:04Z"},
        }))
        .unwrap()
    }

    #[test]
    fn an_actor_is_described_with_its_restarts_and_the_causes_of_its_last_error() {
        insta::assert_snapshot!(described(&actor()));
    }

    #[test]
    fn a_traced_message_is_a_line() {
        let traced: TracedMessage = serde_json::from_value(json!({
            "at": "2026-01-02T03:04:05.678Z", "message": "Report", "from": "mailbox", "waited_us": 12, "handled_us": 4100,
            "ok": false,
        }))
        .unwrap();
        insta::assert_snapshot!(line(&traced));
    }

    #[test]
    fn a_path_keeps_its_slashes_and_nothing_else() {
        assert_eq!(path("jobs/default/a b?"), "/api/v1/actors/jobs/default/a%20b%3F");
    }
}
