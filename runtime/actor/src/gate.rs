//! The gate before a mailbox: one permit a message, given back when the message leaves the mailbox, however it leaves.
//!
//! It counts and bounds; the queue itself is ractor's.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

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
}

#[derive(Default)]
struct Queue {
    next: u64,
    since: BTreeMap<u64, Instant>,
    high_water: usize,
}

impl Gate {
    pub(crate) fn new(capacity: usize) -> Arc<Self> {
        let capacity = capacity.clamp(1, Semaphore::MAX_PERMITS);
        Arc::new(Self {
            capacity,
            permits: Semaphore::new(capacity),
            waiting: AtomicUsize::new(0),
            queue: Mutex::default(),
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
            depth: queue.since.len(),
            capacity: self.capacity,
            high_water: queue.high_water,
            waiting: self.waiting.load(Ordering::Relaxed),
            oldest_ms: queue.since.values().next().map_or(0, |since| since.elapsed().as_millis() as u64),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("nothing panics while it holds the queue's lock")
    }
}

/// The right to one place in a mailbox. Travels with the message; dropping it frees the place.
pub(crate) struct Ticket {
    gate: Arc<Gate>,
    number: u64,
}

impl Ticket {
    fn new(gate: &Arc<Gate>) -> Self {
        let mut queue = gate.queue();
        let number = queue.next;
        queue.next += 1;
        queue.since.insert(number, Instant::now());
        queue.high_water = queue.high_water.max(queue.since.len());
        Self { gate: Arc::clone(gate), number }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.gate.queue().since.remove(&self.number);
        self.gate.permits.add_permits(1);
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
