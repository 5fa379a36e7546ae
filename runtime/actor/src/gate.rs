//! The gate before a mailbox: one permit a message, given back when the message leaves the mailbox, however it leaves.
//!
//! It counts and bounds; the queue itself is ractor's.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::tally::Tally;

/// A mailbox at one moment. `depth` counts messages accepted and not yet taken; `waiting` counts senders held back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailboxView {
    pub depth: usize,
    pub capacity: usize,
    /// The largest depth since the address exists.
    pub high_water: usize,
    pub waiting: usize,
    /// Age of the oldest message in the mailbox; 0 when it is empty.
    pub oldest_ms: u64,
}

pub(crate) struct Gate {
    capacity: usize,
    permits: Semaphore,
    waiting: AtomicUsize,
    queue: Mutex<Queue>,
    tally: Arc<Tally>,
}

/// When each message came, in order. Messages leave at the front but for rare exceptions, which leave a gap.
#[derive(Default)]
struct Queue {
    first: u64,
    since: VecDeque<Option<Instant>>,
    depth: usize,
    high_water: usize,
}

impl Queue {
    fn push(&mut self, now: Instant) -> u64 {
        let number = self.first + self.since.len() as u64;
        self.since.push_back(Some(now));
        self.depth += 1;
        self.high_water = self.high_water.max(self.depth);
        number
    }

    fn remove(&mut self, number: u64) {
        let at = number.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        if at.and_then(|at| self.since.get_mut(at)).and_then(Option::take).is_some() {
            self.depth -= 1;
        }
        while matches!(self.since.front(), Some(None)) {
            self.since.pop_front();
            self.first += 1;
        }
    }

    fn oldest(&self) -> Option<Instant> {
        self.since.front().copied().flatten()
    }
}

impl Gate {
    pub(crate) fn new(capacity: usize, tally: Arc<Tally>) -> Arc<Self> {
        let capacity = capacity.clamp(1, Semaphore::MAX_PERMITS);
        Arc::new(Self {
            capacity,
            permits: Semaphore::new(capacity),
            waiting: AtomicUsize::new(0),
            queue: Mutex::default(),
            tally,
        })
    }

    /// A ticket now, or none when the mailbox is full.
    pub(crate) fn try_enter(self: &Arc<Self>) -> Option<Ticket> {
        self.permits.try_acquire().ok()?.forget();
        Some(Ticket::new(self))
    }

    /// A ticket as soon as there is room, or none when `within` is over first.
    pub(crate) async fn enter(self: &Arc<Self>, within: Duration) -> Option<Ticket> {
        if let Some(ticket) = self.try_enter() {
            return Some(ticket);
        }
        let _waiting = Waiting::new(&self.waiting);
        timeout(within, self.permits.acquire()).await.ok()?.ok()?.forget();
        Some(Ticket::new(self))
    }

    pub(crate) fn view(&self) -> MailboxView {
        let queue = self.queue();
        MailboxView {
            depth: queue.depth,
            capacity: self.capacity,
            high_water: queue.high_water,
            waiting: self.waiting.load(Ordering::Relaxed),
            oldest_ms: queue.oldest().map_or(0, |since| since.elapsed().as_millis() as u64),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("nothing panics while it holds the queue's lock")
    }
}

/// The right to one place in a mailbox. Travels with the message; dropping it frees the place. A message whose ticket is
/// dropped untaken was never read: a dead letter.
pub(crate) struct Ticket {
    gate: Arc<Gate>,
    number: u64,
    since: Instant,
    taken: bool,
}

impl Ticket {
    fn new(gate: &Arc<Gate>) -> Self {
        let since = Instant::now();
        let number = gate.queue().push(since);
        Self { gate: Arc::clone(gate), number, since, taken: false }
    }

    /// The actor reads the message. Gives the time at which it came.
    pub(crate) fn take(mut self) -> Instant {
        self.taken = true;
        self.since
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.gate.queue().remove(self.number);
        self.gate.permits.add_permits(1);
        if !self.taken {
            self.gate.tally.dead_letters.fetch_add(1, Ordering::Relaxed);
        }
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn depth_high_water_and_dead_letters_are_right_in_any_order_of_leaving(
            steps in proptest::collection::vec((any::<bool>(), any::<u8>(), any::<bool>()), 0..200),
        ) {
            let tally = Arc::new(Tally::default());
            let gate = Gate::new(1000, Arc::clone(&tally));
            let (mut inside, mut highest, mut dead): (Vec<Ticket>, usize, u64) = (Vec::new(), 0, 0);
            for (enters, which, read) in steps {
                if enters || inside.is_empty() {
                    inside.push(gate.try_enter().expect("there is room"));
                } else {
                    let ticket = inside.remove(usize::from(which) % inside.len());
                    if read { ticket.take(); } else { dead += 1; drop(ticket) }
                }
                highest = highest.max(inside.len());
                let view = gate.view();
                prop_assert_eq!((view.depth, view.high_water), (inside.len(), highest));
                prop_assert_eq!(gate.queue().oldest(), inside.first().map(|ticket| ticket.since));
                prop_assert_eq!(gate.permits.available_permits(), 1000 - inside.len());
            }
            prop_assert_eq!(tally.dead_letters.load(Ordering::Relaxed), dead);
        }
    }
}
