//! What each client may read and write: what its open tasks name, and the results of each. Bookkeeping only: no IO,
//! and time is an argument. It outlives sessions, so that a client that comes back goes on where it was.

use nsfl_types::{BlobRef, ClientId, Digest, TaskKey};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// How long after its time a task may still be read for and written for: links are slow, clocks differ.
const GRACE: Duration = Duration::from_secs(600);
/// Blobs a task may hand in: its update, and what its script put for the extender.
const RESULTS: usize = 2;
/// Blobs a client may write beyond that: those of trainers that ran again and did not repeat.
const SPARE_RESULTS: usize = 4;

/// The open tasks of all clients, and what they have written.
#[derive(Debug, Default)]
pub(crate) struct Access {
    clients: BTreeMap<ClientId, Rights>,
}

#[derive(Debug, Default)]
struct Rights {
    tasks: BTreeMap<TaskKey, Open>,
    written: BTreeSet<Digest>,
}

/// A task that was sent and not yet answered for good.
#[derive(Debug)]
struct Open {
    reads: Vec<Digest>,
    until: Instant,
    results: Vec<Digest>,
}

impl Access {
    /// A task goes out to its client, who has `timeout` for it and may read `reads`. Tasks whose time is long over are
    /// forgotten; gives back what was written for them.
    pub(crate) fn open(
        &mut self,
        now: Instant,
        key: TaskKey,
        reads: impl IntoIterator<Item = BlobRef>,
        timeout: Duration,
    ) -> Vec<Digest> {
        let rights = self.clients.entry(key.client.clone()).or_default();
        let until = now.checked_add(timeout.saturating_add(GRACE)).unwrap_or(now + GRACE);
        let reads = reads.into_iter().map(|blob| blob.digest).collect();
        let results = rights.tasks.get(&key).map(|known| known.results.clone()).unwrap_or_default();
        rights.tasks.insert(key, Open { reads, until, results });
        let over: Vec<TaskKey> = rights.tasks.iter().filter(|(_, t)| t.until < now).map(|(k, _)| k.clone()).collect();
        over.iter().flat_map(|key| rights.close(key)).collect()
    }

    /// The client is about to write this blob. False when it may not: no task is open, or it has written too many.
    pub(crate) fn write(&mut self, now: Instant, client: &ClientId, digest: Digest) -> bool {
        let Some(rights) = self.clients.get_mut(client) else { return false };
        let known =
            rights.written.contains(&digest) || rights.written.len() < rights.tasks.len() * RESULTS + SPARE_RESULTS;
        let allowed = known && rights.tasks.values().any(|task| now <= task.until);
        if allowed {
            rights.written.insert(digest);
        }
        allowed
    }

    /// The client reports these as the results of a task.
    pub(crate) fn reported(&mut self, key: &TaskKey, results: Vec<Digest>) {
        if let Some(task) = self.clients.get_mut(&key.client).and_then(|rights| rights.tasks.get_mut(key)) {
            task.results = results;
        }
    }

    /// The task is answered for good. Gives back what the client has written that no open task of its needs.
    pub(crate) fn close(&mut self, key: &TaskKey) -> Vec<Digest> {
        let Some(rights) = self.clients.get_mut(&key.client) else { return Vec::new() };
        let released = rights.close(key);
        if rights.tasks.is_empty() {
            self.clients.remove(&key.client);
        }
        released
    }

    /// Whether the client may read this blob.
    pub(crate) fn may_read(&self, now: Instant, client: &ClientId, digest: Digest) -> bool {
        self.running(now, client).any(|task| task.reads.contains(&digest))
    }

    /// Whether the client has a task whose result it may write.
    pub(crate) fn may_write(&self, now: Instant, client: &ClientId) -> bool {
        self.running(now, client).next().is_some()
    }

    /// Whether the client has a task that was not answered for good.
    pub(crate) fn has_open(&self, client: &ClientId) -> bool {
        self.clients.contains_key(client)
    }

    fn running(&self, now: Instant, client: &ClientId) -> impl Iterator<Item = &Open> {
        let tasks = self.clients.get(client).into_iter().flat_map(|rights| rights.tasks.values());
        tasks.filter(move |task| now <= task.until)
    }
}

impl Rights {
    /// With the last task goes all that was written, reported or not.
    fn close(&mut self, key: &TaskKey) -> Vec<Digest> {
        let Some(closed) = self.tasks.remove(key) else { return Vec::new() };
        if self.tasks.is_empty() {
            return std::mem::take(&mut self.written).into_iter().collect();
        }
        let wanted = |digest: &Digest| self.tasks.values().any(|task| task.results.contains(digest));
        closed.results.into_iter().filter(|digest| !wanted(digest) && self.written.remove(digest)).collect()
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

    fn digest(n: usize) -> Digest {
        Digest::of(&n.to_le_bytes())
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
        assert!(!access.write(now, &c2, digest(1)));
        let over = now + MINUTE + GRACE + MINUTE;
        assert!(!access.may_read(over, &c1, base.digest) && !access.write(over, &c1, digest(1)));
        access.close(&key("c1", 1));
        assert!(!access.may_read(now, &c1, base.digest) && !access.may_write(now, &c1));
    }

    #[test]
    fn a_result_is_given_back_when_the_last_task_that_has_it_closes() {
        let (now, mut access, client) = (Instant::now(), Access::default(), "c1".parse().unwrap());
        for round in [1, 2, 3] {
            access.open(now, key("c1", round), None, MINUTE);
        }
        assert!(access.write(now, &client, digest(1)) && access.write(now, &client, digest(1)));
        access.reported(&key("c1", 1), vec![digest(1)]);
        access.reported(&key("c1", 2), vec![digest(1)]);
        assert_eq!(access.close(&key("c1", 1)), []);
        assert_eq!(access.close(&key("c1", 2)), [digest(1)]);
        assert!(access.write(now, &client, digest(2)));
        assert_eq!(access.close(&key("c1", 3)), [digest(2)], "what was never reported goes with the last task");
        assert!(!access.has_open(&client));
    }

    #[test]
    fn a_task_sent_again_keeps_its_result_and_one_long_over_gives_it_back() {
        let (now, mut access, client) = (Instant::now(), Access::default(), "c1".parse().unwrap());
        access.open(now, key("c1", 1), None, MINUTE);
        access.write(now, &client, digest(1));
        access.reported(&key("c1", 1), vec![digest(1)]);
        assert_eq!(access.open(now, key("c1", 1), None, MINUTE), []);
        let over = now + MINUTE + GRACE + MINUTE;
        assert_eq!(access.open(over, key("c1", 2), None, MINUTE), [digest(1)]);
        assert_eq!(access.close(&key("c1", 1)), []);
        assert!(access.has_open(&client));
    }

    #[test]
    fn one_open_task_is_no_licence_to_fill_the_disk() {
        let (now, mut access, client) = (Instant::now(), Access::default(), "c1".parse().unwrap());
        access.open(now, key("c1", 1), None, MINUTE);
        let written = (0..100).filter(|n| access.write(now, &client, digest(*n))).count();
        assert_eq!(written, RESULTS + SPARE_RESULTS);
        assert!(access.write(now, &client, digest(0)), "one begun may be gone on with");
    }
}
