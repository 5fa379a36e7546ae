//! The client's end of the link: says who is here whenever it comes up, gives signs of life, carries commands in and
//! reports out. It keeps nothing: what did not go out is made again by those who made it.

use crate::message::{TaskManagerMsg, UplinkMsg};
use crate::site::Site;
use bytes::Bytes;
use nsfl_actor::{Context, Failure, Next, Role, Supervisor, Timer};
use nsfl_fault_point::Step;
use nsfl_messages::wire::{
    self, ClientLoad, EXPORT_OBSERVE, EXPORT_REGISTRY, EXPORT_TASKS, ObserveAnswer, ObserveQuestion, RegistryReport,
    TaskCommand, TaskReport,
};
use nsfl_telemetry::TraceContext;
use nsfl_transport::{Delivery, Incoming, Link, LinkEvent, LinkEvents};
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// However long the server would wait for the actors.
const OBSERVE: Duration = Duration::from_secs(5);

/// What an uplink is started with. The link outlives it.
#[derive(Clone)]
pub(crate) struct UplinkArgs {
    pub(crate) site: Arc<Site>,
    pub(crate) link: Link,
    pub(crate) events: Arc<Mutex<LinkEvents>>,
    /// The client's tree, if the server may look at it.
    pub(crate) observed: Option<Supervisor>,
}

/// The uplink.
pub(crate) struct Uplink {
    args: UplinkArgs,
    load: u32,
    beat: Timer,
    commands: u64,
    reports: u64,
    dropped: u64,
    undecodable: u64,
    last_down: Option<String>,
}

impl Role for Uplink {
    type Msg = UplinkMsg;
    type Args = UplinkArgs;
    const KIND: &'static str = "uplink";

    async fn start(args: UplinkArgs, ctx: &Context<UplinkMsg>) -> Result<Self, Failure> {
        let beat = ctx.send_after(args.site.config.heartbeat, UplinkMsg::Beat);
        let mut uplink =
            Self { args, load: 0, beat, commands: 0, reports: 0, dropped: 0, undecodable: 0, last_down: None };
        if uplink.args.link.stats().connected {
            uplink.introduce().await;
        }
        uplink.listen(ctx);
        Ok(uplink)
    }

    async fn handle(&mut self, msg: UplinkMsg, ctx: &Context<UplinkMsg>) -> Result<Next, Failure> {
        Step::new("uplink", &msg).reach("begin");
        match msg {
            UplinkMsg::Event(None) => return Err(Failure::new("the link is closed")),
            UplinkMsg::Event(Some(event)) => {
                self.event(event, ctx).await;
                self.listen(ctx);
            }
            UplinkMsg::Report(report) => {
                self.reports += 1;
                let trace = report.key().map(|key| TraceContext::of_task(key).to_string());
                let delivery = match report {
                    // the next one says more
                    TaskReport::Progress { .. } | TaskReport::Uploading { .. } => Delivery::AtMostOnce,
                    _ => Delivery::AtLeastOnce,
                };
                self.send(EXPORT_TASKS, &report, delivery, trace.as_deref());
            }
            UplinkMsg::Load(tasks) => self.load = tasks,
            UplinkMsg::Beat => {
                let load = ClientLoad { current_tasks: self.load };
                if self.args.link.stats().connected {
                    self.send(EXPORT_REGISTRY, &RegistryReport::Heartbeat(load), Delivery::AtMostOnce, None);
                }
                self.beat = ctx.send_after(self.args.site.config.heartbeat, UplinkMsg::Beat);
            }
        }
        Ok(Next::Continue)
    }

    fn observe(&self) -> Value {
        json!({
            "link": self.args.link.stats(),
            "server": self.args.link.peer().map(|peer| peer.to_string()),
            "commands": self.commands,
            "reports": self.reports,
            "dropped": self.dropped,
            "undecodable": self.undecodable,
            "last_down": self.last_down,
        })
    }
}

impl Uplink {
    /// Takes the next event once this one is handled: what waits meanwhile holds the server's credit.
    fn listen(&self, ctx: &Context<UplinkMsg>) {
        let events = Arc::clone(&self.args.events);
        let next = async move { events.lock().await.recv().await };
        ctx.spawn(next, |event| UplinkMsg::Event(event.ok().flatten()));
    }

    async fn event(&mut self, event: LinkEvent, ctx: &Context<UplinkMsg>) {
        match event {
            LinkEvent::Up { resumed } => {
                tracing::info!(resumed, "link up");
                self.last_down = None;
                self.introduce().await;
            }
            LinkEvent::Message(incoming) if incoming.export == EXPORT_OBSERVE => self.observed(incoming, ctx),
            LinkEvent::Message(incoming) => self.command(incoming).await,
            LinkEvent::Unreachable => tracing::warn!("server silent"),
            LinkEvent::Down { reason } => {
                tracing::warn!(%reason, "link down");
                self.last_down = Some(reason.to_string());
            }
        }
    }

    /// Who is here, and then what is held here.
    async fn introduce(&mut self) {
        let register = RegistryReport::Register(self.args.site.config.info.clone());
        self.send(EXPORT_REGISTRY, &register, Delivery::AtLeastOnce, None);
        if let Err(error) = self.args.site.manager.tell(TaskManagerMsg::LinkUp).await {
            // it tells by itself what it holds when it starts
            tracing::warn!(%error, "task manager not told of the link");
        }
    }

    /// A command that the task manager did not take is let go undone: the session ends, and a new one reconciles.
    async fn command(&mut self, incoming: Incoming) {
        tracing::debug!(trace = incoming.trace, bytes = incoming.payload.len(), "command received");
        match wire::decode::<TaskCommand>(&incoming.payload) {
            Ok(command) => match self.args.site.manager.tell(TaskManagerMsg::Command(command)).await {
                Ok(()) => {
                    self.commands += 1;
                    incoming.done();
                }
                Err(error) => tracing::warn!(%error, "command not taken by the task manager"),
            },
            Err(error) => {
                self.undecodable += 1;
                tracing::warn!(export = incoming.export, %error, "undecodable command");
                incoming.done();
            }
        }
    }

    /// Answers beside: this actor is one of those that are looked at. Without an answer the server is told so.
    fn observed(&mut self, incoming: Incoming, ctx: &Context<UplinkMsg>) {
        let question = wire::decode::<ObserveQuestion>(&incoming.payload);
        let (Some(root), Ok(question), Some(reply)) = (self.args.observed.clone(), question, incoming.reply) else {
            self.undecodable += 1;
            return;
        };
        ctx.run(async move {
            let view = root.observe(Duration::from_millis(question.within_ms).min(OBSERVE)).await;
            let tree = serde_json::to_string(&view).unwrap_or_default();
            if let Err(error) = reply.reply(Bytes::from(wire::encode(&ObserveAnswer { tree }))) {
                tracing::debug!(%error, "actors not shown");
            }
        });
    }

    fn send<T: Serialize>(&mut self, export: u16, message: &T, delivery: Delivery, trace: Option<&str>) {
        let link = trace.map_or_else(|| self.args.link.clone(), |trace| self.args.link.traced(trace));
        if let Err(error) = link.try_send(export, Bytes::from(wire::encode(message)), delivery) {
            self.dropped += 1;
            tracing::debug!(export, %error, "message not sent");
        }
    }
}
