//! Which tasks the client holds and who may run now: a queue in the order of arrival behind a number of slots and what
//! there is of cores, GPUs and memory. Pure: it starts nothing.
//!
//! The task at the head of the queue waits until there is room for it, and the others wait behind it: a large task is
//! never passed by small ones, so that its turn comes.

use nsfl_types::{Resource, TaskKey};
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
    total: Resource,
    tasks: BTreeMap<TaskKey, Task>,
    queue: VecDeque<TaskKey>,
}

#[derive(Debug)]
struct Task {
    stand: Stand,
    need: Resource,
}

impl Roster {
    pub(crate) fn new(slots: usize, total: Resource) -> Self {
        Self { slots, total, tasks: BTreeMap::new(), queue: VecDeque::new() }
    }

    /// A task that needs more than there is in all, from a time when there was more, needs all there is.
    pub(crate) fn add(&mut self, key: TaskKey, stand: Stand, need: &Resource) {
        if stand == Stand::Queued {
            self.queue.push_back(key.clone());
        }
        let need = Resource {
            worker_num: need.worker_num,
            cpu: need.cpu.min(self.total.cpu),
            gpu: need.gpu.min(self.total.gpu),
            memory_mb: need.memory_mb.min(self.total.memory_mb),
        };
        self.tasks.insert(key, Task { stand, need });
    }

    pub(crate) fn stand(&self, key: &TaskKey) -> Option<Stand> {
        self.tasks.get(key).map(|task| task.stand)
    }

    /// The task needs its slot no longer.
    pub(crate) fn offering(&mut self, key: &TaskKey) {
        if let Some(task) = self.tasks.get_mut(key) {
            task.stand = Stand::Offering;
        }
    }

    pub(crate) fn remove(&mut self, key: &TaskKey) {
        self.tasks.remove(key);
        self.queue.retain(|queued| queued != key);
    }

    /// The longest waiting task, if there is room for it; it has it now.
    pub(crate) fn next(&mut self) -> Option<TaskKey> {
        let need = &self.tasks.get(self.queue.front()?)?.need;
        if self.count(Stand::Busy) >= self.slots || !self.fits(need) {
            return None;
        }
        let key = self.queue.pop_front()?;
        self.tasks.get_mut(&key)?.stand = Stand::Busy;
        Some(key)
    }

    pub(crate) fn keys(&self) -> Vec<TaskKey> {
        self.tasks.keys().cloned().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.tasks.len()
    }

    pub(crate) fn count(&self, stand: Stand) -> usize {
        self.tasks.values().filter(|task| task.stand == stand).count()
    }

    fn fits(&self, need: &Resource) -> bool {
        // a sum of decimal fractions may miss the whole by the last bit
        let fits = |of: fn(&Resource) -> f64| {
            let used: f64 =
                self.tasks.values().filter(|task| task.stand == Stand::Busy).map(|task| of(&task.need)).sum();
            used + of(need) <= of(&self.total) * (1.0 + 1e-9)
        };
        fits(|r| r.cpu) && fits(|r| r.gpu) && fits(|r| r.memory_mb)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nsfl_types::{JobKey, TaskKind};
    use proptest::prelude::*;

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

    fn resource(cpu: f64, memory_mb: f64) -> Resource {
        Resource { worker_num: 1, cpu, gpu: 0.0, memory_mb }
    }

    #[test]
    fn tasks_run_in_the_order_they_came_as_slots_come_free() {
        let mut roster = Roster::new(1, resource(1.0, 100.0));
        for round in [3, 1, 2] {
            roster.add(key(round), Stand::Queued, &resource(1.0, 100.0));
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

    #[test]
    fn tasks_run_beside_each_other_as_far_as_there_is_room_and_none_passes_a_larger_one() {
        let mut roster = Roster::new(4, resource(1.0, 1000.0));
        for (round, cpu) in [(1, 0.1), (2, 0.2), (3, 0.7), (4, 1.0), (5, 0.1)] {
            roster.add(key(round), Stand::Queued, &resource(cpu, 100.0));
        }
        assert_eq!([roster.next(), roster.next(), roster.next()], [1, 2, 3].map(|round| Some(key(round))));
        roster.remove(&key(3));
        assert_eq!(roster.next(), None, "task 5 would fit, but 4 came first");
        roster.remove(&key(1));
        roster.offering(&key(2));
        assert_eq!((roster.next(), roster.next()), (Some(key(4)), None));
    }

    #[test]
    fn a_task_from_a_time_when_there_was_more_runs_alone() {
        let mut roster = Roster::new(2, resource(1.0, 100.0));
        roster.add(key(1), Stand::Queued, &resource(8.0, 9000.0));
        roster.add(key(2), Stand::Queued, &resource(0.1, 1.0));
        assert_eq!((roster.next(), roster.next()), (Some(key(1)), None));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Comes {
            cpu: f64,
            memory_mb: f64,
        },
        /// The n-th of those running.
        Ends(usize),
        Offers(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => (0.0..1.5, 0.0..1500.0).prop_map(|(cpu, memory_mb)| Step::Comes { cpu, memory_mb }),
            1 => any::<usize>().prop_map(Step::Ends),
            1 => any::<usize>().prop_map(Step::Offers),
        ];
        proptest::collection::vec(step, 1..60)
    }

    proptest! {
        /// `needs` is what each task asks for at most of what there is.
        #[test]
        fn never_more_runs_than_there_is_and_every_task_has_its_turn(steps in steps(), slots in 1..5_usize) {
            let total = resource(1.0, 1000.0);
            let mut roster = Roster::new(slots, total.clone());
            let (mut needs, mut running, mut begun) = (Vec::new(), Vec::new(), Vec::new());
            let drained = std::iter::repeat_n(Step::Ends(0), steps.len());
            for step in steps.clone().into_iter().chain(drained) {
                match step {
                    Step::Comes { cpu, memory_mb } => {
                        roster.add(key(u32::try_from(needs.len()).unwrap()), Stand::Queued, &resource(cpu, memory_mb));
                        needs.push((cpu.min(1.0), memory_mb.min(1000.0)));
                    }
                    Step::Ends(n) | Step::Offers(n) if !running.is_empty() => {
                        let ended = running.remove(n % running.len());
                        match step {
                            Step::Ends(_) => roster.remove(&key(ended)),
                            _ => roster.offering(&key(ended)),
                        }
                    }
                    Step::Ends(_) | Step::Offers(_) => {}
                }
                while let Some(next) = roster.next() {
                    running.push(next.round);
                    begun.push(next.round);
                }
                prop_assert!(running.len() <= slots);
                let sum = |of: fn(&(f64, f64)) -> f64| running.iter().map(|n| of(&needs[*n as usize])).sum::<f64>();
                prop_assert!(sum(|need| need.0) <= total.cpu + 1e-6 && sum(|need| need.1) <= total.memory_mb + 1e-3);
            }
            prop_assert_eq!(begun, (0..u32::try_from(needs.len()).unwrap()).collect::<Vec<_>>());
        }
    }
}
