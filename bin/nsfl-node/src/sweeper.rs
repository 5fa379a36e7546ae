//! Removes blobs that nobody owns any more, now and then. Who owns what is the other roles' business.

use nsfl_actor::{Context, Failure, Next, Role, Timer};
use nsfl_store::{BlobStore, SweepReport};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

#[derive(Clone)]
pub(crate) struct SweeperArgs {
    pub(crate) blobs: Arc<dyn BlobStore>,
    /// Held by who needs that nothing is removed for a moment.
    pub(crate) sweeping: Arc<Mutex<()>>,
    pub(crate) every: Duration,
    /// Partial uploads untouched for this long are given up.
    pub(crate) idle: Duration,
}

pub(crate) struct Sweeper {
    args: SweeperArgs,
    total: SweepReport,
    next: Timer,
}

#[derive(Debug)]
pub(crate) enum SweeperMsg {
    Sweep,
}

impl Role for Sweeper {
    type Msg = SweeperMsg;
    type Args = SweeperArgs;
    const KIND: &'static str = "sweeper";

    async fn start(args: SweeperArgs, ctx: &Context<SweeperMsg>) -> Result<Self, Failure> {
        let next = ctx.send_after(args.every, SweeperMsg::Sweep);
        Ok(Self { args, total: SweepReport::default(), next })
    }

    async fn handle(&mut self, SweeperMsg::Sweep: SweeperMsg, ctx: &Context<SweeperMsg>) -> Result<Next, Failure> {
        let _sweeping = self.args.sweeping.lock().await;
        let swept = self.args.blobs.sweep(self.args.idle).await?;
        if swept != SweepReport::default() {
            tracing::debug!(blobs = swept.blobs, partials = swept.partials, bytes = swept.bytes, "blobs swept");
        }
        self.total.blobs += swept.blobs;
        self.total.partials += swept.partials;
        self.total.bytes += swept.bytes;
        self.next = ctx.send_after(self.args.every, SweeperMsg::Sweep);
        Ok(Next::Continue)
    }

    fn observe(&self) -> Value {
        json!({"blobs": self.total.blobs, "partials": self.total.partials, "bytes": self.total.bytes})
    }
}
