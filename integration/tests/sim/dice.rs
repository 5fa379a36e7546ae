//! The one source of chance of a simulation, and what a life of a node is: once it has ended, nothing it waits for comes.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(Clone)]
pub struct Dice(Arc<Mutex<StdRng>>);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// From `low` to `high`, both included.
    pub fn between(&self, low: u64, high: u64) -> u64 {
        self.0.lock().unwrap().random_range(low..=high)
    }

    pub fn index(&self, len: usize) -> usize {
        self.0.lock().unwrap().random_range(0..len)
    }

    /// True so many times out of a thousand.
    pub fn per_mille(&self, share: u64) -> bool {
        share > 0 && self.between(1, 1000) <= share
    }

    pub fn coin(&self) -> bool {
        self.between(0, 1) == 0
    }

    pub fn millis(&self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.between(low, high))
    }
}

/// One life of a node: from its start to its crash.
#[derive(Clone)]
pub struct NodeLife(Arc<(String, AtomicBool)>);

impl NodeLife {
    pub fn begin(node: &str) -> Self {
        Self(Arc::new((node.to_owned(), AtomicBool::new(true))))
    }

    pub fn node(&self) -> &str {
        &self.0.0
    }

    pub fn end(&self) {
        self.0.1.store(false, Ordering::Relaxed);
    }

    pub fn lasts(&self) -> bool {
        self.0.1.load(Ordering::Relaxed)
    }

    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Goes on while the life lasts; after it, never.
    pub async fn lasting(&self) {
        if !self.lasts() {
            std::future::pending::<()>().await;
        }
    }
}
