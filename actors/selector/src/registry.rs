//! The table behind the selector: who is registered, since when, over which session. Time is an argument.

use nsfl_messages::wire::{ClientInfo, ClientLoad};
use nsfl_messages::{ClientView, Cohort, SelectRequest};
use nsfl_select::{Candidate, Capacity, Request};
use nsfl_types::{ClientId, Resource, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

struct Entry {
    info: ClientInfo,
    load: ClientLoad,
    session: u64,
    linked: bool,
    registered: Timestamp,
    last_seen: Timestamp,
}

/// Registered clients by id.
#[derive(Default)]
pub(crate) struct Registry {
    clients: BTreeMap<ClientId, Entry>,
    cordoned: BTreeSet<ClientId>,
}

impl Registry {
    /// `cordoned`: clients that get no tasks, whether they are there or not.
    pub(crate) fn new(cordoned: BTreeSet<ClientId>) -> Self {
        Self { clients: BTreeMap::new(), cordoned }
    }

    /// Whether that changed anything.
    pub(crate) fn cordon(&mut self, client: ClientId, cordoned: bool) -> bool {
        if cordoned { self.cordoned.insert(client) } else { self.cordoned.remove(&client) }
    }

    /// Whether it was there.
    pub(crate) fn forget(&mut self, client: &ClientId) -> bool {
        self.clients.remove(client).is_some()
    }

    /// Whether that changed anything but the time of its last sign of life. An older session changes nothing.
    pub(crate) fn register(&mut self, now: Timestamp, info: ClientInfo, session: u64) -> bool {
        let known = self.clients.get(&info.client);
        if known.is_some_and(|e| e.session > session) {
            return false;
        }
        let changed = known.is_none_or(|e| e.session < session || !e.linked || e.info != info);
        let registered = known.map_or(now, |e| e.registered);
        let load = known.map(|e| e.load.clone()).unwrap_or_default();
        let entry = Entry { load, session, linked: true, registered, last_seen: now, info };
        self.clients.insert(entry.info.client.clone(), entry);
        changed
    }

    pub(crate) fn heartbeat(&mut self, now: Timestamp, client: &ClientId, session: u64, load: ClientLoad) {
        if let Some(entry) = self.clients.get_mut(client).filter(|e| e.session == session) {
            (entry.load, entry.last_seen, entry.linked) = (load, now, true);
        }
    }

    /// Whether that changed anything: news of an older session does not.
    pub(crate) fn lost(&mut self, client: &ClientId, session: u64) -> bool {
        match self.clients.get_mut(client).filter(|e| e.session == session) {
            Some(entry) => std::mem::replace(&mut entry.linked, false),
            None => false,
        }
    }

    /// Forgets clients silent for `expiry_ms`; who they were.
    pub(crate) fn expire(&mut self, now: Timestamp, expiry_ms: u64) -> Vec<ClientId> {
        let late = |e: &Entry| now.since_ms(e.last_seen) >= expiry_ms;
        let gone: Vec<ClientId> = self.clients.iter().filter(|(_, e)| late(e)).map(|(c, _)| c.clone()).collect();
        for client in &gone {
            self.clients.remove(client);
        }
        gone
    }

    pub(crate) fn select(&self, request: &SelectRequest) -> Cohort {
        let spec = &request.spec;
        let wanted = Request {
            count: request.count,
            runtime: spec.runtime,
            resource: capacity(&spec.resource),
            datasets: spec.datasets.clone(),
            labels: Vec::new(),
            only: spec.clients.clone(),
            random: spec.random_client,
            untrained_first: spec.untrained_first,
            used: request.used.clone(),
        };
        let candidates: Vec<Candidate> = {
            let free = |e: &&Entry| e.linked && !request.except.contains(&e.info.client);
            self.clients.values().filter(free).map(|e| self.candidate(e)).collect()
        };
        let selection = nsfl_select::select(&wanted, &candidates, request.seed);
        let mut left_out: Vec<(ClientId, String)> =
            selection.left_out.into_iter().map(|left| (left.client, left.reason.to_string())).collect();
        left_out
            .extend(self.clients.values().filter(|e| !e.linked).map(|e| (e.info.client.clone(), "link down".into())));
        Cohort { clients: selection.clients, left_out }
    }

    pub(crate) fn views(&self) -> Vec<ClientView> {
        let view = |e: &Entry| ClientView {
            info: e.info.clone(),
            load: e.load.clone(),
            state: if e.linked { "online" } else { "lost" }.into(),
            registered: e.registered,
            last_seen: e.last_seen,
            cordoned: self.cordoned.contains(&e.info.client),
        };
        self.clients.values().map(view).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.clients.len()
    }

    pub(crate) fn online(&self) -> usize {
        self.clients.values().filter(|e| e.linked).count()
    }

    /// A client's load is shown but not held against it: asking reserves nothing, heartbeats lag behind rounds, and a
    /// client that is busy queues the task.
    fn candidate(&self, e: &Entry) -> Candidate {
        Candidate {
            client: e.info.client.clone(),
            runtimes: e.info.runtimes.clone(),
            label: e.info.label.clone(),
            max_tasks: e.info.max_tasks,
            current_tasks: 0,
            cordoned: self.cordoned.contains(&e.info.client),
            resource: capacity(&e.info.resource),
            datasets: e.info.datasets.clone(),
        }
    }
}

fn capacity(resource: &Resource) -> Capacity {
    Capacity { cpu: resource.cpu, gpu: resource.gpu, memory_mb: resource.memory_mb }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nsfl_types::{Resource, Runtime};

    fn info(name: &str) -> ClientInfo {
        ClientInfo {
            client: name.parse().unwrap(),
            address: "127.0.0.1".into(),
            os: "linux".into(),
            version: "0".into(),
            runtimes: vec![Runtime::Builtin],
            label: String::new(),
            max_tasks: 1,
            resource: Resource { worker_num: 1, cpu: 2.0, gpu: 0.0, memory_mb: 4000.0 },
            datasets: BTreeMap::new(),
        }
    }

    #[test]
    fn news_of_an_older_session_changes_nothing() {
        let (mut r, c) = (Registry::default(), "c1".parse().unwrap());
        assert!(r.register(Timestamp(1), info("c1"), 1));
        assert!(r.register(Timestamp(2), info("c1"), 2));
        assert!(!r.register(Timestamp(3), info("c1"), 2) && !r.register(Timestamp(3), info("c1"), 1));
        assert!(!r.lost(&c, 1));
        assert_eq!(r.online(), 1);
        assert!(r.lost(&c, 2));
        assert!(!r.lost(&c, 2));
        assert_eq!((r.online(), r.len()), (0, 1));
    }

    #[test]
    fn a_silent_client_expires_and_a_heartbeat_keeps_it() {
        let mut r = Registry::default();
        r.register(Timestamp(0), info("a"), 1);
        r.register(Timestamp(0), info("b"), 2);
        r.heartbeat(Timestamp(900), &"b".parse().unwrap(), 2, ClientLoad { current_tasks: 1 });
        assert_eq!(r.expire(Timestamp(1000), 1000), vec!["a".parse().unwrap()]);
        assert_eq!(r.len(), 1);
    }

    #[test]
    fn a_cordoned_client_is_not_a_candidate_until_it_is_uncordoned_also_when_it_comes_later() {
        let c: ClientId = "c1".parse().unwrap();
        let mut r = Registry::new([c.clone()].into());
        r.register(Timestamp(1), info("c1"), 1);
        let cordoned = |r: &Registry| (r.candidate(&r.clients[&c]).cordoned, r.views()[0].cordoned);
        assert_eq!(cordoned(&r), (true, true));
        assert!(r.cordon(c.clone(), false) && !r.cordon(c.clone(), false));
        assert_eq!(cordoned(&r), (false, false));
        assert!(r.cordon(c.clone(), true) && r.forget(&c) && !r.forget(&c));
        r.register(Timestamp(2), info("c1"), 2);
        assert_eq!(cordoned(&r), (true, true), "after it was forgotten");
    }
}
