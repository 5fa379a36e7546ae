//! What each client may read and write: the base models of its open tasks, one result for each. Bookkeeping only:
//! no IO, and time is an argument. It outlives sessions, so that a client that comes back goes on where it was.

use nsfl_types::{BlobRef, ClientId, Digest, TaskKey};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long after its time a task may still be read for and written for: links are slow, clocks differ.
const GRACE: Duration = Duration::from_secs(600);

/// Open tasks of all clients.
#[derive(Debug, Default)]
pub(crate) struct Access {
    clients: BTreeMap<ClientId, BTreeMap<TaskKey, Open>>,
}

/// A task that was sent and not yet answered for good.
#[derive(Debug)]
struct Open {
    base: Option<Digest>,
    until: Instant,
    result: Option<Digest>,
}

impl Access {
    /// A task goes out to its client, who has `timeout` for it and may read `base`. Tasks whose time is long over are
    /// forgotten; gives back the results of those that no open task holds.
    pub(crate) fn open(&mut self, now: Instant, key: TaskKey, base: Option<BlobRef>, timeout: Duration) -> Vec<Digest> {
        let tasks = self.clients.entry(key.client.clone()).or_default();
        let over: Vec<TaskKey> = tasks.iter().filter(|(_, t)| t.until < now).map(|(k, _)| k.clone()).collect();
        let results: Vec<Digest> = over.iter().filter_map(|key| tasks.remove(key)?.result).collect();
        let result = tasks.get(&key).and_then(|known| known.result);
        let until = now.checked_add(timeout.saturating_add(GRACE)).unwrap_or(now + GRACE);
        tasks.insert(key, Open { base: base.map(|blob| blob.digest), until, result });
        results.into_iter().filter(|digest| tasks.values().all(|t| t.result != Some(*digest))).collect()
    }

    /// The client reports this result of a task. False when the task is not open.
    pub(crate) fn reported(&mut self, key: &TaskKey, result: Digest) -> bool {
        let open = self.clients.get_mut(&key.client).and_then(|tasks| tasks.get_mut(key));
        open.map(|open| open.result = Some(result)).is_some()
    }

    /// The task is answered for good. Gives back its result, unless another open task of the client has the same.
    pub(crate) fn close(&mut self, key: &TaskKey) -> Option<Digest> {
        let tasks = self.clients.get_mut(&key.client)?;
        let result = tasks.remove(key)?.result?;
        let wanted = tasks.values().any(|task| task.result == Some(result));
        if tasks.is_empty() {
            self.clients.remove(&key.client);
        }
        (!wanted).then_some(result)
    }

    /// Whether the client may read this blob.
    pub(crate) fn may_read(&self, now: Instant, client: &ClientId, digest: Digest) -> bool {
        self.running(now, client).any(|task| task.base == Some(digest))
    }

    /// Whether the client has a task whose result it may write.
    pub(crate) fn may_write(&self, now: Instant, client: &ClientId) -> bool {
        self.running(now, client).next().is_some()
    }

    /// Number of tasks the client has not been answered for.
    pub(crate) fn open_tasks(&self, client: &ClientId) -> usize {
        self.clients.get(client).map_or(0, BTreeMap::len)
    }

    fn running(&self, now: Instant, client: &ClientId) -> impl Iterator<Item = &Open> {
        self.clients.get(client).into_iter().flat_map(BTreeMap::values).filter(move |task| now <= task.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nsfl_types::{JobKey, TaskKind};

    fn key(client: &str, round: u32) -> TaskKey {
        TaskKey {
            job: JobKey::new("default".parse().unwrap(), "j".parse().unwrap()),
            run: 1,
            round,
            attempt: 1,
            kind: TaskKind::Train,
            client: client.parse().unwrap(),
        }
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_client_reads_the_base_of_its_open_task_and_nothing_else() {
        let (now, mut access) = (Instant::now(), Access::default());
        let (base, other) = (BlobRef::of(b"base"), BlobRef::of(b"other"));
        access.open(now, key("c1", 1), Some(base), MINUTE);
        let (c1, c2) = ("c1".parse().unwrap(), "c2".parse().unwrap());
        assert!(access.may_read(now, &c1, base.digest) && access.may_write(now, &c1));
        assert!(!access.may_read(now, &c1, other.digest));
        assert!(!access.may_read(now, &c2, base.digest) && !access.may_write(now, &c2));
        let over = now + MINUTE + GRACE + MINUTE;
        assert!(!access.may_read(over, &c1, base.digest) && !access.may_write(over, &c1));
        access.close(&key("c1", 1));
        assert!(!access.may_read(now, &c1, base.digest) && !access.may_write(now, &c1));
    }

    #[test]
    fn a_result_is_given_back_when_the_last_task_that_has_it_closes() {
        let (now, mut access) = (Instant::now(), Access::default());
        let result = Digest::of(b"delta");
        assert!(!access.reported(&key("c1", 1), result), "not open yet");
        for round in [1, 2] {
            access.open(now, key("c1", round), None, MINUTE);
            assert!(access.reported(&key("c1", round), result));
        }
        assert_eq!(access.close(&key("c1", 1)), None);
        assert_eq!(access.close(&key("c1", 2)), Some(result));
        assert_eq!(access.close(&key("c1", 2)), None);
        assert_eq!(access.open_tasks(&"c1".parse().unwrap()), 0);
    }

    #[test]
    fn a_task_sent_again_keeps_its_result_and_one_long_over_gives_it_back() {
        let (now, mut access) = (Instant::now(), Access::default());
        let result = Digest::of(b"delta");
        access.open(now, key("c1", 1), None, MINUTE);
        access.reported(&key("c1", 1), result);
        assert_eq!(access.open(now, key("c1", 1), None, MINUTE), []);
        let over = now + MINUTE + GRACE + MINUTE;
        assert_eq!(access.open(over, key("c1", 2), None, MINUTE), [result]);
        assert_eq!(access.open_tasks(&"c1".parse().unwrap()), 1);
    }
}
