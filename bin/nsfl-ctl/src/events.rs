//! `get events`: what happened in all jobs, a line each; with `--follow` also what comes.

use crate::cli::GetEvents;
use crate::fault::Fault;
use crate::print::{Output, result, structured, talk};
use crate::rest::{Rest, escaped};
use crate::screen::Screen;
use crate::sse;
use nsfl_rest_model::{Event, Events};
use serde_json::Value;
use std::io::BufRead;
use std::time::Duration;

/// Before a stream that broke is taken up again.
const PAUSE: Duration = Duration::from_millis(500);

pub(crate) fn get(rest: &Rest, args: &GetEvents, output: Option<Output>) -> Result<(), Fault> {
    let of = filter(args);
    let path = format!("/api/v1/events?newest=true&limit={}{of}", args.limit);
    let events: Events = rest.get(&path)?;
    match output {
        Some(output) => result(&structured(&events, output)?)?,
        None => result(&events.events.iter().map(|event| line(event) + "\n").collect::<String>())?,
    }
    if args.follow { follow(rest, &of, events.last) } else { Ok(()) }
}

fn filter(args: &GetEvents) -> String {
    let of = |name: &str, value: &Option<String>| value.as_ref().map(|value| format!("&{name}={}", escaped(value)));
    [of("job", &args.job), of("client", &args.client)].into_iter().flatten().collect()
}

/// Across restarts of the server, until it is interrupted.
fn follow(rest: &Rest, of: &str, mut after: u64) -> Result<(), Fault> {
    let mut screen = Screen::result();
    loop {
        match rest.stream(&format!("/api/v1/live?topics=events&after={after}{of}"), None) {
            Ok(stream) => read(stream, &mut screen, &mut after),
            Err(Fault::Unreachable { .. } | Fault::Busy(_)) => talk("the server does not answer; trying again"),
            Err(fault) => return Err(fault),
        }
        std::thread::sleep(PAUSE);
    }
}

/// Until the stream breaks.
fn read(mut stream: impl BufRead, screen: &mut Screen, after: &mut u64) {
    while let Ok(Some(sent)) = sse::next(&mut stream) {
        if sent.kind != "event" {
            continue;
        }
        if let Ok(event) = serde_json::from_str::<Event>(&sent.data) {
            *after = event.id;
            screen.line(&line(&event));
        }
    }
}

/// Time, job, what, and its fields in short.
fn line(event: &Event) -> String {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let fields = event.fields.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    let fields: Vec<String> = fields.map(|(name, value)| format!("{name}={}", text(value))).collect();
    format!("{}  {:<24} {:<16} {}", event.at, event.job.as_deref().unwrap_or("-"), event.kind, fields.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_is_a_line() {
        let event: Event = serde_json::from_value(json!({
            "id": 7, "at": "2026-01-02T03:04:05.678Z", "job": "default/digits", "kind": "update-refused",
            "fields": {"round": 3, "client": "c1", "code": "not-finite", "cause": null},
        }))
        .unwrap();
        insta::assert_snapshot!(line(&event));
    }
}
