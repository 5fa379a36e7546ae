//! The client selector: knows which clients are there and selects a round's cohort.
//! Knows no job's rounds and keeps nothing on disk: clients register again when they find a new server.

mod registry;

use nsfl_actor::{Address, Context, Failure, Next, Role, Timer, now_ms};
use nsfl_fault_point::Step;
use nsfl_messages::{SchedulerMsg, SelectorMsg};
use nsfl_store::AccessStore;
use nsfl_types::Timestamp;
use registry::Registry;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// What a selector is started with.
#[derive(Clone)]
pub struct SelectorArgs {
    /// Told when clients come, go or change.
    pub scheduler: Address<SchedulerMsg>,
    /// Which clients operators keep away, read at each start.
    pub access: Arc<dyn AccessStore>,
    /// A client without a sign of life for this long is forgotten, in milliseconds.
    pub expiry_ms: u64,
}

/// The client selector.
pub struct Selector {
    args: SelectorArgs,
    registry: Registry,
    expired: u64,
    tick: Timer,
}

impl Selector {
    /// A scheduler that misses this asks again by itself, so a full mailbox is no loss.
    fn tell_scheduler(&self) {
        if let Err(error) = self.args.scheduler.try_tell(SchedulerMsg::ClientsChanged) {
            tracing::debug!(%error, "scheduler not told of changed clients");
        }
    }
}

fn now() -> Timestamp {
    Timestamp(now_ms())
}

fn next_tick(args: &SelectorArgs, ctx: &Context<SelectorMsg>) -> Timer {
    ctx.send_after(Duration::from_millis((args.expiry_ms / 4).max(50)), SelectorMsg::Tick)
}

impl Role for Selector {
    type Msg = SelectorMsg;
    type Args = SelectorArgs;
    const KIND: &'static str = "selector";

    async fn start(args: SelectorArgs, ctx: &Context<SelectorMsg>) -> Result<Self, Failure> {
        let marks = args.access.marks().await?;
        let registry = Registry::new(marks.into_iter().map(|mark| mark.client).collect());
        let tick = next_tick(&args, ctx);
        Ok(Self { args, registry, expired: 0, tick })
    }

    async fn handle(&mut self, msg: SelectorMsg, ctx: &Context<SelectorMsg>) -> Result<Next, Failure> {
        Step::new("selector", &msg).reach("begin");
        match msg {
            SelectorMsg::Register { info, session } => {
                let client = info.client.clone();
                if self.registry.register(now(), info, session) {
                    tracing::info!(%client, session, "client registered");
                    self.tell_scheduler();
                }
            }
            SelectorMsg::Heartbeat { client, session, load } => self.registry.heartbeat(now(), &client, session, load),
            SelectorMsg::Lost { client, session } => {
                if self.registry.lost(&client, session) {
                    tracing::info!(%client, session, "client lost its link");
                    self.tell_scheduler();
                }
            }
            SelectorMsg::Select { request, reply } => reply.send(self.registry.select(&request)),
            SelectorMsg::Cordon { client, cordoned } => {
                if self.registry.cordon(client, cordoned) {
                    self.tell_scheduler();
                }
            }
            SelectorMsg::Forget { client } => {
                if self.registry.forget(&client) {
                    self.tell_scheduler();
                }
            }
            SelectorMsg::List { reply } => reply.send(self.registry.views()),
            SelectorMsg::Tick => {
                let gone = self.registry.expire(now(), self.args.expiry_ms);
                for client in &gone {
                    tracing::info!(%client, "client expired");
                }
                if !gone.is_empty() {
                    self.expired += gone.len() as u64;
                    self.tell_scheduler();
                }
                self.tick = next_tick(&self.args, ctx);
            }
        }
        Ok(Next::Continue)
    }

    fn observe(&self) -> Value {
        json!({"clients": self.registry.len(), "online": self.registry.online(), "expired": self.expired})
    }
}
