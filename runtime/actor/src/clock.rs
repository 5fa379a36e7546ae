//! The clock actors read: wall time at the start of the process plus monotonic time since.
//! It never jumps while a process lives, and it follows tokio's paused time in tests. A simulation sets it as it likes.

use crate::simulation;
use std::sync::OnceLock;
use std::time::SystemTime;
use tokio::time::Instant;

/// Milliseconds since the Unix epoch.
pub fn now_ms() -> u64 {
    if let Some(simulated) = simulation::now_ms() {
        return simulated;
    }
    static START: OnceLock<(u64, Instant)> = OnceLock::new();
    let (wall_ms, start) = START.get_or_init(|| {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let wall_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        (wall_ms.saturating_add_signed(nsfl_fault_point::clock_offset_ms()), Instant::now())
    });
    let elapsed = Instant::now().saturating_duration_since(*start);
    wall_ms.saturating_add(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}
