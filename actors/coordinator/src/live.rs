//! How far the awaited clients are: shown while it is true, stored nowhere, and bounded whatever clients say.

use nsfl_actor::now_ms;
use nsfl_messages::{Live, LiveEvent, TaskProgress};
use nsfl_types::{ClientId, JobKey, Metrics, TaskKey, Timestamp};
use serde_json::json;
use std::collections::BTreeMap;

/// Characters kept of a message, numbers kept of the metrics.
const MESSAGE: usize = 200;
const METRICS: usize = 16;
const METRIC_NAME: usize = 64;

/// What each client has said last, of its newest task.
pub(crate) struct LiveProgress {
    job: JobKey,
    live: Live,
    clients: BTreeMap<ClientId, (TaskKey, TaskProgress)>,
}

impl LiveProgress {
    pub(crate) fn new(job: JobKey, live: Live) -> Self {
        Self { job, live, clients: BTreeMap::new() }
    }

    /// The word of a client that is awaited.
    pub(crate) fn told(&mut self, key: &TaskKey, done: Option<f64>, message: &str, metrics: Metrics) {
        let known = metrics.0.into_iter().filter(|(name, value)| value.is_finite() && name.len() <= METRIC_NAME);
        let message: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MESSAGE).collect();
        self.tell(
            key,
            TaskProgress {
                done: done.filter(|done| done.is_finite()).map(|done| done.clamp(0.0, 1.0)),
                message,
                metrics: Metrics(known.take(METRICS).collect()),
                at: Timestamp(now_ms()),
                uploading: None,
            },
        );
    }

    /// A client that is awaited has trained and brings what it has made; what it said of its training stays.
    pub(crate) fn uploads(&mut self, key: &TaskKey) -> Timestamp {
        let at = Timestamp(now_ms());
        let known = self.clients.get(&key.client).filter(|(of, _)| of == key).map(|(_, progress)| progress.clone());
        let blank =
            TaskProgress { done: None, message: String::new(), metrics: Metrics::default(), at, uploading: None };
        self.tell(key, TaskProgress { done: Some(1.0), uploading: Some(at), at, ..known.unwrap_or(blank) });
        at
    }

    fn tell(&mut self, key: &TaskKey, progress: TaskProgress) {
        let fields = json!({
            "round": key.round, "attempt": key.attempt, "kind": key.kind, "client": key.client,
            "done": progress.done, "message": progress.message, "metrics": progress.metrics,
        });
        (self.live)(LiveEvent { job: self.job.clone(), at: progress.at, kind: "task-progress", fields });
        self.clients.insert(key.client.clone(), (key.clone(), progress));
    }

    /// What those say who are still awaited.
    pub(crate) fn of(&self, awaited: impl Fn(&TaskKey) -> bool) -> BTreeMap<ClientId, TaskProgress> {
        let heard = self.clients.iter().filter(|(_, (key, _))| awaited(key));
        heard.map(|(client, (_, progress))| (client.clone(), progress.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nsfl_types::TaskKind;
    use std::sync::{Arc, Mutex};

    #[test]
    fn clients_are_heard_within_bounds_and_shown_while_they_are_awaited() {
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
        live.told(&key("a", 1), Some(7.0), &"x\n".repeat(1000), many);
        live.told(&key("b", 1), Some(f64::NAN), "", Metrics::default());
        let shown = live.of(|key| key.round == 1);
        let a = &shown[&"a".parse::<ClientId>().unwrap()];
        assert_eq!((a.done, a.message.chars().count(), a.metrics.0.len()), (Some(1.0), MESSAGE, METRICS));
        assert!(!a.message.contains('\n') && a.metrics.get("m000").is_none());
        assert_eq!((shown.len(), shown[&"b".parse::<ClientId>().unwrap()].done), (2, None));
        assert_eq!(told.lock().unwrap().len(), 2);
        assert!(live.of(|key| key.round == 2).is_empty(), "another round");
        let (began, client) = (live.uploads(&key("a", 1)), "a".parse::<ClientId>().unwrap());
        let shown = live.of(|key| key.round == 1);
        assert_eq!((shown[&client].uploading, shown[&client].message.len()), (Some(began), MESSAGE));
        live.uploads(&key("a", 2));
        assert!(
            live.of(|key| key.round == 2)[&client].message.is_empty(),
            "what it said of another task is not of this one"
        );
    }
}
