//! A job's events as lines for people: what happened, and what is being waited for. Pure: events in, text out.

use crate::print::number;
use crate::spark;
use nsfl_rest_model::{Event, Time};
use nsfl_types::Timestamp;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Values a chart shows.
const CHART: usize = 16;

/// What is known of a job from its events so far.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Accuracies of this run, of training and of evaluation.
    accuracy: BTreeMap<String, Vec<f64>>,
    open: Option<Open>,
    state: String,
    /// Why the job is in its state.
    reason: String,
}

/// A round whose tasks are out.
#[derive(Debug)]
struct Open {
    name: String,
    cohort: usize,
    awaited: BTreeSet<String>,
    /// Those of them whose link has ended.
    away: BTreeSet<String>,
    /// What the awaited say of themselves.
    said: BTreeMap<String, String>,
    deadline: Option<Time>,
}

impl Progress {
    /// Takes an event in; a line when it is worth one. Kinds it does not know it passes over.
    pub(crate) fn apply(&mut self, event: &Event) -> Option<String> {
        let fields = Fields(&event.fields);
        match event.kind.as_str() {
            "run-started" => {
                self.accuracy.clear();
                Some(format!("run {} started", fields.text("run")))
            }
            "round-opened" => {
                self.open = Some(fields.opened());
                None
            }
            "update-accepted" => {
                self.answered(&fields);
                None
            }
            "task-progress" => {
                self.progressed(&fields);
                None
            }
            "task-failed" => {
                self.answered(&fields);
                Some(format!("{}  {} failed: {}", fields.name(), fields.text("client"), fields.why()))
            }
            "update-refused" => {
                self.answered(&fields);
                Some(format!("{}  update of {} refused: {}", fields.name(), fields.text("client"), fields.why()))
            }
            "client-lost" => {
                self.away(&fields, true);
                Some(format!("{}  {} lost its link and is still awaited", fields.name(), fields.text("client")))
            }
            "client-back" => {
                self.away(&fields, false);
                Some(format!("{}  {} is back", fields.name(), fields.text("client")))
            }
            "round-closed" => {
                self.open = None;
                Some(self.closed(&fields))
            }
            "checkpoint-saved" => Some(format!(
                "checkpoint {}  accuracy {}  {}",
                fields.text("id"),
                number(fields.0["accuracy"].as_f64()),
                fields.text("path")
            )),
            "job-state" => self.moved(&fields),
            "run-ended" => {
                self.open = None;
                let model = fields.0["model"].as_str().map(|model| format!("  model {model}")).unwrap_or_default();
                let accuracy = number(fields.0["accuracy"].as_f64());
                let rounds = fields.text("rounds");
                Some(format!("run ended: {}  rounds {rounds}  accuracy {accuracy}{model}", fields.text("outcome")))
            }
            _ => None,
        }
    }

    /// What is being waited for at the moment.
    pub(crate) fn status(&self) -> Option<String> {
        let Some(open) = &self.open else {
            return (!self.reason.is_empty()).then(|| format!("{}: {}", self.state, self.reason));
        };
        if open.awaited.is_empty() {
            return Some(format!("{}: all {} have answered", open.name.trim_end(), open.cohort));
        }
        let shown = |client: &String| {
            let link = if open.away.contains(client) { " (no link)" } else { "" };
            let said = open.said.get(client).map(|words| format!(" {words}")).unwrap_or_default();
            format!("{client}{said}{link}")
        };
        let awaited: Vec<String> = open.awaited.iter().map(shown).collect();
        let until = open.deadline.map(|at| format!(" until {} UTC", at.clock())).unwrap_or_default();
        Some(format!("{}: waiting for {}{until}", open.name.trim_end(), awaited.join(", ")))
    }

    /// Why the job is in its last state.
    pub(crate) fn reason(&self) -> &str {
        &self.reason
    }

    fn away(&mut self, fields: &Fields<'_>, away: bool) {
        if let (Some(open), Some(client)) = (&mut self.open, fields.0["client"].as_str()) {
            if away {
                open.away.insert(client.to_owned())
            } else {
                open.away.remove(client)
            };
        }
    }

    fn answered(&mut self, fields: &Fields<'_>) {
        if let (Some(open), Some(client)) = (&mut self.open, fields.0["client"].as_str()) {
            open.awaited.remove(client);
        }
    }

    /// `40% (epoch 2)`, of the round that is open.
    fn progressed(&mut self, fields: &Fields<'_>) {
        let Some(open) = self.open.as_mut().filter(|open| open.name == fields.name()) else { return };
        let Some(client) = fields.0["client"].as_str().filter(|client| open.awaited.contains(*client)) else { return };
        let done = fields.0["done"].as_f64().map(|done| format!("{:.0}%", done * 100.0));
        let message = fields.0["message"].as_str().filter(|message| !message.is_empty());
        let words: Vec<String> = done.into_iter().chain(message.map(|message| format!("({message})"))).collect();
        open.said.insert(client.to_owned(), words.join(" "));
    }

    fn closed(&mut self, fields: &Fields<'_>) -> String {
        let name = fields.name();
        let clients = format!("clients {}/{}", fields.text("accepted"), fields.text("cohort"));
        if fields.0["outcome"] == "failed" {
            return format!("{name}  failed: {}  {clients}", fields.text("reason"));
        }
        let metric = |name: &str| fields.0["metrics"][name].as_f64();
        let series = self.accuracy.entry(fields.text("kind")).or_default();
        series.extend(metric("accuracy"));
        format!(
            "{name}  accuracy {:>6} {:<CHART$}  loss {:>6}  {clients}  {:.1} s",
            number(metric("accuracy")),
            spark::chart(series, CHART),
            number(metric("loss")),
            fields.0["seconds"].as_f64().unwrap_or_default(),
        )
    }

    fn moved(&mut self, fields: &Fields<'_>) -> Option<String> {
        let before = (self.state.clone(), self.reason.clone());
        self.state = fields.text("state");
        self.reason = fields.0["reason"].as_str().unwrap_or_default().to_owned();
        let why = if self.reason.is_empty() { String::new() } else { format!(": {}", self.reason) };
        // Progress alone is told by the rounds.
        (before != (self.state.clone(), self.reason.clone())).then(|| format!("job {}{why}", self.state))
    }
}

/// An event's fields; what is missing is shown as a dash.
struct Fields<'a>(&'a Value);

impl Fields<'_> {
    fn text(&self, name: &str) -> String {
        match &self.0[name] {
            Value::Null => "-".to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }

    /// `round   3 train   `, with its attempt from the second on.
    fn name(&self) -> String {
        let attempt = self.0["attempt"].as_u64().filter(|n| *n > 1).map(|n| format!(" (attempt {n})"));
        format!("round {:>3} {:<8}{}", self.text("round"), self.text("kind"), attempt.unwrap_or_default())
    }

    fn why(&self) -> String {
        format!("{} ({})", self.text("reason"), self.text("code"))
    }

    fn opened(&self) -> Open {
        let cohort = self.0["cohort"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let awaited: BTreeSet<String> = cohort.map(str::to_owned).collect();
        Open {
            name: self.name(),
            cohort: awaited.len(),
            awaited,
            away: BTreeSet::new(),
            said: BTreeMap::new(),
            deadline: self.0["deadline_ms"].as_u64().map(|ms| Time(Timestamp(ms))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(kind: &str, fields: Value) -> Event {
        Event { id: 1, at: Time(Timestamp(0)), job: None, kind: kind.into(), fields }
    }

    /// Each event with its line and the status after it.
    fn transcript(events: &[Event]) -> String {
        let mut progress = Progress::default();
        let mut text = String::new();
        for event in events {
            let line = progress.apply(event);
            let status = progress.status();
            text += &format!("{:<17} | {}\n", event.kind, line.unwrap_or_default());
            text += &format!("{:<17} . {}\n", "", status.unwrap_or_default());
        }
        text
    }

    fn closed(round: u32, kind: &str, metrics: Value) -> Event {
        let fields = json!({"round": round, "attempt": 1, "kind": kind, "outcome": "complete", "reason": "",
            "accepted": 2, "cohort": 3, "metrics": metrics, "seconds": 12.34, "model": null});
        event("round-closed", fields)
    }

    #[test]
    fn a_run_reads_as_a_line_a_round_and_who_is_awaited() {
        let opened =
            json!({"round": 1, "attempt": 1, "kind": "train", "cohort": ["c1", "c2", "c3"], "deadline_ms": 43_205_000});
        let of = |client: &str| json!({"round": 1, "attempt": 1, "kind": "train", "client": client, "code": "trainer-failed", "reason": "exit 1"});
        insta::assert_snapshot!(transcript(&[
            event("job-state", json!({"state": "PENDING", "reason": "2 clients fit, 3 are needed", "progress": 0})),
            event("job-state", json!({"state": "RUNNING", "reason": "", "progress": 0})),
            event("run-started", json!({"run": 1})),
            event("round-opened", opened),
            event(
                "task-progress",
                json!({"round": 1, "attempt": 1, "kind": "train", "client": "c2", "done": 0.4, "message": "epoch 2"})
            ),
            event("update-accepted", of("c1")),
            event("client-lost", of("c2")),
            event("task-failed", of("c3")),
            event("client-back", of("c2")),
            event("update-accepted", of("c2")),
            closed(1, "train", json!({"accuracy": 0.5, "loss": 1.25})),
            event("job-state", json!({"state": "RUNNING", "reason": "", "progress": 50})),
            closed(2, "train", json!({"accuracy": 0.75, "loss": 0.5})),
            closed(2, "evaluate", json!({"accuracy": 0.7, "loss": 0.6})),
            event("checkpoint-saved", json!({"id": "r1-2", "round": 2, "accuracy": 0.7, "path": "out/2.safetensors"})),
            event(
                "run-ended",
                json!({"outcome": "finished", "model": "out/2.safetensors", "sha256": "00", "accuracy": 0.7, "rounds": 2})
            ),
            event("job-state", json!({"state": "FINISHED", "reason": "", "progress": 100})),
        ]));
    }

    #[test]
    fn failures_say_why_and_which_attempt() {
        let round = json!({"round": 3, "attempt": 2, "kind": "train", "outcome": "failed", "reason": "1 of 2 updates by the deadline",
            "accepted": 1, "cohort": 2, "metrics": {}, "seconds": 60.0, "model": null});
        let refused = json!({"round": 3, "attempt": 2, "kind": "train", "client": "c2", "code": "not-finite", "reason": "NaN in 'w'"});
        insta::assert_snapshot!(transcript(&[event("update-refused", refused), event("round-closed", round)]));
    }

    #[test]
    fn unknown_events_and_missing_fields_are_no_reason_to_stop() {
        let mut progress = Progress::default();
        assert_eq!(progress.apply(&event("something-new", json!({"a": 1}))), None);
        for kind in ["round-opened", "update-accepted", "task-failed", "round-closed", "job-state", "run-ended"] {
            progress.apply(&event(kind, Value::Null));
        }
    }
}
