//! A link's heartbeat: pings, notices silence, gives up. One task a link, on the monotonic clock.

use super::core::{After, Core};
use super::{LinkEvent, Shared};
use crate::Refusal;
use nsfl_types::Code;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Runs until the link is closed.
pub(crate) async fn keep(shared: Arc<Shared>) {
    loop {
        let wait = shared.tick();
        tokio::select! {
            biased;
            () = shared.closed().cancelled() => return,
            () = shared.attached.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

impl Shared {
    /// Does what is due and says when to look again.
    fn tick(&self) -> Duration {
        let stamp_us = self.clock_us();
        let (expired, wait) = self.with(|core, after| beat(core, stamp_us, after));
        if expired {
            self.lose(&Refusal::new(Code::LinkLost, "nothing was heard for the time to live"), true);
        }
        wait
    }
}

/// Whether the session has expired, and when to look again.
fn beat(core: &mut Core, stamp_us: u64, after: &mut After) -> (bool, Duration) {
    let (now, life) = (Instant::now(), core.liveness);
    if !core.live {
        return (false, life.heartbeat);
    }
    let silent = now.duration_since(core.heard);
    if silent >= life.ttl {
        return (true, life.heartbeat);
    }
    if silent >= life.unreachable && !core.unreachable {
        core.unreachable = true;
        core.end_connection(None, after);
        core.event(LinkEvent::Unreachable, after);
    }
    if core.attached && now.duration_since(core.pinged) >= life.heartbeat {
        core.ping(stamp_us, after);
    }
    let until = if core.unreachable { life.ttl } else { life.unreachable };
    let next_ping = life.heartbeat.saturating_sub(now.duration_since(core.pinged));
    let next = if core.attached { next_ping.min(until.saturating_sub(silent)) } else { until.saturating_sub(silent) };
    (false, next.max(Duration::from_millis(1)))
}
