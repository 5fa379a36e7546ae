//! What the gateway turned away or could not deliver: counted, and shown by `observe`. Counts by code, so that no
//! peer can make them grow.

use nsfl_types::Code;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Counts since the node started.
#[derive(Debug, Default)]
pub(crate) struct Counters(Mutex<Counts>);

/// The figures.
#[derive(Debug, Default, Clone, Serialize)]
pub(crate) struct Counts {
    /// Peers and messages turned away, by code.
    pub(crate) refused: BTreeMap<Code, u64>,
    /// Commands for clients without a link, or whose link was full.
    pub(crate) dropped: u64,
    /// Blobs read and written by clients, whole ones, in bytes.
    pub(crate) bytes_read: u64,
    /// Bytes of results written by clients.
    pub(crate) bytes_written: u64,
}

impl Counters {
    /// Counts a refusal. Gives the count when it is to be logged: the first few of a code, then every hundredth.
    pub(crate) fn refused(&self, code: Code) -> Option<u64> {
        let count = self.with(|counts| {
            let count = counts.refused.entry(code).or_default();
            *count += 1;
            *count
        });
        (count <= 20 || count.is_multiple_of(100)).then_some(count)
    }

    pub(crate) fn dropped(&self) {
        self.with(|counts| counts.dropped += 1);
    }

    pub(crate) fn read(&self, bytes: u64) {
        self.with(|counts| counts.bytes_read += bytes);
    }

    pub(crate) fn written(&self, bytes: u64) {
        self.with(|counts| counts.bytes_written += bytes);
    }

    pub(crate) fn counts(&self) -> Counts {
        self.with(|counts| counts.clone())
    }

    fn with<T>(&self, act: impl FnOnce(&mut Counts) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
