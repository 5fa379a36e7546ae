//! Waiting for what no event tells of, and processes that are not ours to wait for.

use std::time::{Duration, Instant};

/// A guard against hanging, not a measurement.
pub const SOON: Duration = Duration::from_secs(30);

/// Looks until there is something.
///
/// # Panics
/// There is nothing for too long.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < SOON, "{what}: it did not come to that");
        std::thread::yield_now();
    }
}

/// The trainer that this client has started, once it is one: between its fork and its exec it is still a copy of the client.
#[must_use]
pub fn trainer(client: u32) -> Option<u32> {
    let is_one = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word == b"--task")
    };
    children(client).into_iter().find(is_one)
}

/// The processes it has started and not waited for.
#[must_use]
pub fn children(parent: u32) -> Vec<u32> {
    let threads = std::fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}

/// Whether it runs; one that has ended and is not waited for yet does not.
#[must_use]
pub fn is_there(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}
