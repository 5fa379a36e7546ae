//! A client: what is known of it, and whether it may take part.

use crate::cli::{Because, DescribeOne};
use crate::fault::Fault;
use crate::get::show;
use crate::print::{or_dash, table};
use crate::rest::{Rest, escaped};
use nsfl_rest_model::{Client, ClientTask};
use nsfl_types::TaskKind;
use serde_json::{Value, json};

pub(crate) fn cordon(rest: &Rest, args: &Because) -> Result<(), Fault> {
    rest.change("PUT", &format!("{}:cordon", path(&args.id)), &json!({"reason": args.reason}))
}

pub(crate) fn remove(rest: &Rest, args: &Because) -> Result<(), Fault> {
    rest.change("DELETE", &path(&args.id), &json!({"reason": args.reason}))
}

pub(crate) fn uncordon(rest: &Rest, id: &str) -> Result<(), Fault> {
    rest.change("PUT", &format!("{}:uncordon", path(id)), &Value::Null)
}

pub(crate) fn describe(rest: &Rest, args: &DescribeOne) -> Result<(), Fault> {
    show(rest, &path(&args.name), args.output, |client: Client| described(&client))
}

fn path(id: &str) -> String {
    format!("/api/v1/clients/{}", escaped(id))
}

fn described(client: &Client) -> String {
    let mut rows = vec![
        ["client".to_owned(), client.id.to_string()],
        ["state".to_owned(), client.state.clone()],
        ["system".to_owned(), format!("{}, {}, nsfl {}", client.address, client.os, client.version)],
        ["registered".to_owned(), format!("{}, last seen {}", client.registered.short(), client.last_seen.short())],
        ["tasks".to_owned(), format!("{} of {}", client.current_tasks, client.max_tasks)],
        ["shows actors".to_owned(), if client.observable { "yes" } else { "no" }.to_owned()],
    ];
    if let Some(mark) = &client.mark {
        let what = if client.state == "removed" { "removed" } else { "cordoned" };
        let why = if mark.reason.is_empty() { String::new() } else { format!(": {}", mark.reason) };
        rows.push([what.to_owned(), format!("by {} at {}{why}", mark.by, mark.at.short())]);
    }
    if let Some(link) = &client.link {
        let state = if link.connected { "connected" } else { "not connected" };
        rows.push(["link".to_owned(), format!("{state}, round trip {:.1} ms", link.rtt_us as f64 / 1e3)]);
        rows.push(["received, sent".to_owned(), format!("{} B, {} B", link.bytes_in, link.bytes_out)]);
        rows.push(["reconnects".to_owned(), format!("{}, sessions lost {}", link.reconnects, link.sessions_lost)]);
    }
    let mut text = table(["", ""], rows).split_once('\n').map(|(_, rows)| rows.to_owned()).unwrap_or_default();
    if !client.tasks.is_empty() {
        text += "\n";
        text += &tasks_table(&client.tasks);
    }
    text
}

fn tasks_table(tasks: &[ClientTask]) -> String {
    let row = |task: &ClientTask| {
        let done = or_dash(task.done.map(|done| format!("{:.0}%", done * 100.0)));
        [
            task.job.clone(),
            task.round.to_string(),
            kind(task.kind).to_owned(),
            task.state.clone(),
            done,
            task.message.clone(),
        ]
    };
    table(["JOB", "ROUND", "KIND", "STATE", "DONE", "MESSAGE"], tasks.iter().map(row))
}

fn kind(kind: TaskKind) -> &'static str {
    match kind {
        TaskKind::Train => "train",
        TaskKind::Evaluate => "evaluate",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_described_with_its_link_its_tasks_and_who_keeps_it_away() {
        let client: Client = serde_json::from_value(json!({
            "id": "c1", "address": "site-1", "os": "linux x86_64", "version": "0.1.0", "runtimes": ["builtin"], "label": "",
            "state": "online", "max_tasks": 2, "current_tasks": 1, "observable": true, "cordoned": true, "session": 3,
            "resource": {"worker_num": 1, "cpu": 4.0, "gpu": 0.0, "memory_mb": 2000.0}, "datasets": {"digits": 120},
            "registered": "2026-01-02T03:04:05Z", "last_seen": "2026-01-02T03:04:06Z",
            "mark": {"by": "ada", "at": "2026-01-02T03:04:06Z", "reason": "new disk"},
            "link": {"connected": true, "rtt_us": 1500, "bytes_in": 10, "bytes_out": 20, "frames_in": 1, "frames_out": 1,
                     "reconnects": 2, "sessions_lost": 1, "outbox_messages": 0, "queued_bytes": 0},
            "tasks": [{"job": "default/digits", "run": 1, "round": 3, "attempt": 1, "kind": "train", "state": "started",
                       "at": "2026-01-02T03:04:06Z", "done": 0.4, "message": "epoch 2"}],
        }))
        .unwrap();
        insta::assert_snapshot!(described(&client));
    }
}
