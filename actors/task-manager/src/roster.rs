//! Which tasks the client holds and who may run now: a queue in the order of arrival behind a number of slots.
//! Pure: it starts nothing.

use nsfl_types::TaskKey;
use std::collections::{BTreeMap, VecDeque};

/// How a task stands here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stand {
    /// Waits for a slot.
    Queued,
    /// Has an executor and a slot: its model is fetched, or it trains.
    Busy,
    /// Has an executor and needs no slot: its outcome waits to be answered.
    Offering,
}

/// The tasks.
#[derive(Debug)]
pub(crate) struct Roster {
    slots: usize,
    tasks: BTreeMap<TaskKey, Stand>,
    queue: VecDeque<TaskKey>,
}

impl Roster {
    pub(crate) fn new(slots: usize) -> Self {
        Self { slots, tasks: BTreeMap::new(), queue: VecDeque::new() }
    }

    pub(crate) fn add(&mut self, key: TaskKey, stand: Stand) {
        if stand == Stand::Queued {
            self.queue.push_back(key.clone());
        }
        self.tasks.insert(key, stand);
    }

    pub(crate) fn stand(&self, key: &TaskKey) -> Option<Stand> {
        self.tasks.get(key).copied()
    }

    /// The task needs its slot no longer.
    pub(crate) fn offering(&mut self, key: &TaskKey) {
        if let Some(stand) = self.tasks.get_mut(key) {
            *stand = Stand::Offering;
        }
    }

    pub(crate) fn remove(&mut self, key: &TaskKey) {
        self.tasks.remove(key);
        self.queue.retain(|queued| queued != key);
    }

    /// The longest waiting task, if there is a slot; it has it now.
    pub(crate) fn next(&mut self) -> Option<TaskKey> {
        if self.count(Stand::Busy) >= self.slots {
            return None;
        }
        let key = self.queue.pop_front()?;
        self.tasks.insert(key.clone(), Stand::Busy);
        Some(key)
    }

    pub(crate) fn keys(&self) -> Vec<TaskKey> {
        self.tasks.keys().cloned().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.tasks.len()
    }

    pub(crate) fn count(&self, stand: Stand) -> usize {
        self.tasks.values().filter(|s| **s == stand).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nsfl_types::{JobKey, TaskKind};

    fn key(round: u32) -> TaskKey {
        TaskKey {
            job: JobKey::new("default".parse().unwrap(), "j".parse().unwrap()),
            run: 1,
            round,
            attempt: 1,
            kind: TaskKind::Train,
            client: "c1".parse().unwrap(),
        }
    }

    #[test]
    fn tasks_run_in_the_order_they_came_as_slots_come_free() {
        let mut roster = Roster::new(1);
        for round in [3, 1, 2] {
            roster.add(key(round), Stand::Queued);
        }
        assert_eq!(roster.next(), Some(key(3)));
        assert_eq!(roster.next(), None);
        roster.offering(&key(3));
        assert_eq!(roster.next(), Some(key(1)), "a task that only waits for its answer holds no slot");
        roster.remove(&key(2));
        roster.remove(&key(1));
        assert_eq!(roster.next(), None, "a task removed from the queue does not run");
        assert_eq!(roster.keys(), [key(3)]);
        assert_eq!((roster.count(Stand::Offering), roster.len()), (1, 1));
    }
}
