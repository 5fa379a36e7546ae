//! How far the awaited clients are: shown while it is true, stored nowhere, and bounded whatever clients say.

use nsfl_actor::now_ms;
use nsfl_messages::{Live, LiveEvent, TaskProgress};
use nsfl_types::{ClientId, JobKey, Metrics, TaskKey, TaskKind, Timestamp};
use nsfl_workflow::RunView;
use serde_json::json;
use std::collections::BTreeMap;

/// Characters kept of a message, numbers kept of the metrics.
const MESSAGE: usize = 200;
const METRICS: usize = 16;
const METRIC_NAME: usize = 64;

/// What the clients of the round at work have said last.
pub(crate) struct LiveProgress {
    job: JobKey,
    live: Live,
    round: (u32, u32, TaskKind),
    clients: BTreeMap<ClientId, TaskProgress>,
}

impl LiveProgress {
    pub(crate) fn new(job: JobKey, live: Live) -> Self {
        Self { job, live, round: (0, 0, TaskKind::Train), clients: BTreeMap::new() }
    }

    /// A client's word; dropped when nobody waits for it.
    pub(crate) fn told(&mut self, run: &RunView, key: &TaskKey, done: Option<f64>, message: &str, metrics: Metrics) {
        let round = (run.round, run.attempt, run.kind);
        if round != (key.round, key.attempt, key.kind) || !run.awaited.contains(&key.client) {
            return;
        }
        if self.round != round {
            (self.round, self.clients) = (round, BTreeMap::new());
        }
        let at = Timestamp(now_ms());
        let known = metrics.0.into_iter().filter(|(name, value)| value.is_finite() && name.len() <= METRIC_NAME);
        let message: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MESSAGE).collect();
        let progress = TaskProgress {
            done: done.filter(|done| done.is_finite()).map(|done| done.clamp(0.0, 1.0)),
            message,
            metrics: Metrics(known.take(METRICS).collect()),
            at,
        };
        let fields = json!({
            "round": key.round, "attempt": key.attempt, "kind": key.kind, "client": key.client,
            "done": progress.done, "message": progress.message, "metrics": progress.metrics,
        });
        (self.live)(LiveEvent { job: self.job.clone(), at, kind: "task-progress", fields });
        self.clients.insert(key.client.clone(), progress);
    }

    /// What those say who are still awaited.
    pub(crate) fn of(&self, run: &RunView) -> BTreeMap<ClientId, TaskProgress> {
        if self.round != (run.round, run.attempt, run.kind) {
            return BTreeMap::new();
        }
        let awaited = self.clients.iter().filter(|(client, _)| run.awaited.contains(client));
        awaited.map(|(client, progress)| (client.clone(), progress.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    fn run(round: u32) -> RunView {
        serde_json::from_value(json!({"phase": "collecting", "round": round, "max_round_num": 5, "attempt": 1,
            "kind": "train", "deadline": null, "awaited": ["a", "b"], "accepted": 0, "refused": 0, "failed": 0,
            "accuracy": null, "model": null}))
        .unwrap()
    }

    #[test]
    fn the_awaited_are_heard_within_bounds_and_nobody_else() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&told);
        let job = JobKey::new("default".parse().unwrap(), "j".parse().unwrap());
        let mut live = LiveProgress::new(job.clone(), Arc::new(move |event| heard.lock().unwrap().push(event)));
        let key = |client: &str, round| TaskKey {
            job: job.clone(),
            run: 1,
            round,
            attempt: 1,
            kind: TaskKind::Train,
            client: client.parse().unwrap(),
        };
        let many = Metrics((0..100).map(|n| (format!("m{n:03}"), if n == 0 { f64::NAN } else { 1.0 })).collect());
        live.told(&run(1), &key("a", 1), Some(7.0), &"x\n".repeat(1000), many);
        live.told(&run(1), &key("c", 1), Some(0.5), "a stranger", Metrics::default());
        live.told(&run(1), &key("b", 2), Some(0.5), "another round", Metrics::default());
        live.told(&run(1), &key("b", 1), Some(f64::NAN), "", Metrics::default());
        let shown = live.of(&run(1));
        let a = &shown[&"a".parse::<ClientId>().unwrap()];
        assert_eq!((a.done, a.message.chars().count(), a.metrics.0.len()), (Some(1.0), MESSAGE, METRICS));
        assert!(!a.message.contains('\n') && a.metrics.get("m000").is_none());
        assert_eq!((shown.len(), shown[&"b".parse::<ClientId>().unwrap()].done), (2, None));
        assert_eq!(told.lock().unwrap().len(), 2);
        assert!(live.of(&run(2)).is_empty(), "another round");
    }
}
