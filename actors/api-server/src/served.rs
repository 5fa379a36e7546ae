//! Requests served, by class of their status: what the actor shows of its work.

use actix_web::http::StatusCode;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters shared by all workers.
#[derive(Debug, Default)]
pub(crate) struct Served {
    classes: [AtomicU64; 5],
}

impl Served {
    /// One more answer with this status.
    pub(crate) fn count(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        self.classes[class].fetch_add(1, Ordering::Relaxed);
    }

    /// The same as pairs.
    pub(crate) fn counts(&self) -> [(&'static str, u64); 4] {
        [(2, "2xx"), (3, "3xx"), (4, "4xx"), (5, "5xx")]
            .map(|(class, name)| (name, self.classes[class - 1].load(Ordering::Relaxed)))
    }

    /// `{"2xx": n, "3xx": n, "4xx": n, "5xx": n}`.
    pub(crate) fn view(&self) -> Value {
        let of = |class: usize| self.classes[class - 1].load(Ordering::Relaxed);
        json!({"2xx": of(2), "3xx": of(3), "4xx": of(4), "5xx": of(5)})
    }
}
