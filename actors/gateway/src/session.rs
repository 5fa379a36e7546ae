//! One client's session: what comes over its link goes to the registry and to the coordinators, each message checked
//! against the certificate's name; commands go out. It decides nothing about tasks.

use crate::hub::{Hub, uploads_of};
use bytes::Bytes;
use nsfl_actor::{Context, Failure, Next, Role, SendError};
use nsfl_fault_point::Step;
use nsfl_messages::wire::{self, ClientInfo, EXPORT_REGISTRY, EXPORT_TASKS, RegistryReport, TaskCommand, TaskReport};
use nsfl_messages::{CoordinatorMsg, SelectorMsg};
use nsfl_telemetry::TraceContext;
use nsfl_transport::{Delivery, Incoming, Link, LinkEvent, LinkEvents};
use nsfl_types::{ClientId, Code, JobKey, TaskKey};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Mutex;

/// To a session.
#[derive(Debug)]
pub(crate) enum SessionMsg {
    /// For the client.
    Command(TaskCommand),
    /// Something happened on the link; `None` when it is closed for good.
    Event(Option<LinkEvent>),
}

/// What a session is started with.
#[derive(Clone)]
pub(crate) struct SessionArgs {
    pub(crate) hub: Arc<Hub>,
    pub(crate) client: ClientId,
    pub(crate) session: u64,
    pub(crate) link: Link,
    pub(crate) events: Arc<Mutex<LinkEvents>>,
}

/// A client's session.
pub(crate) struct Session {
    args: SessionArgs,
    info: Option<ClientInfo>,
    received: u64,
    refused: u64,
    sent: u64,
    silent: bool,
}

/// What became of a message.
enum Routed {
    /// Its receiver has it, or none is needed.
    Done,
    /// It is not the client's to send.
    Refused(Code, String),
    /// Its receiver did not take it in time: the session ends, and a new one reconciles.
    Stuck,
}

impl Role for Session {
    type Msg = SessionMsg;
    type Args = SessionArgs;
    const KIND: &'static str = "session";

    async fn start(args: SessionArgs, ctx: &Context<SessionMsg>) -> Result<Self, Failure> {
        args.hub.sessions.insert(args.client.clone(), ctx.address().clone());
        args.hub.linked(&args.client, args.session, &args.link);
        args.tell_coordinators(true);
        let session = Self { args, info: None, received: 0, refused: 0, sent: 0, silent: false };
        session.listen(ctx);
        Ok(session)
    }

    async fn handle(&mut self, msg: SessionMsg, ctx: &Context<SessionMsg>) -> Result<Next, Failure> {
        match msg {
            SessionMsg::Command(command) => self.send(&command),
            SessionMsg::Event(None) => return Ok(Next::Stop),
            SessionMsg::Event(Some(LinkEvent::Down { reason })) => {
                tracing::info!(client = %self.args.client, session = self.args.session, %reason, "session ended");
                return Ok(Next::Stop);
            }
            SessionMsg::Event(Some(LinkEvent::Up { resumed })) => {
                tracing::info!(client = %self.args.client, session = self.args.session, resumed, "link up");
                if std::mem::take(&mut self.silent) {
                    self.args.tell_coordinators(true);
                    // it was not to be selected meanwhile
                    let _ = self.register().await;
                }
                self.listen(ctx);
            }
            SessionMsg::Event(Some(LinkEvent::Unreachable)) => {
                tracing::info!(client = %self.args.client, session = self.args.session, "client silent");
                self.silent = true;
                self.args.tell_coordinators(false);
                self.lost().await;
                self.listen(ctx);
            }
            SessionMsg::Event(Some(LinkEvent::Message(incoming))) => {
                self.receive(incoming).await;
                self.listen(ctx);
            }
        }
        Ok(Next::Continue)
    }

    fn observe(&self) -> Value {
        json!({
            "client": self.args.client,
            "session": self.args.session,
            "link": self.args.link.stats(),
            "silent": self.silent,
            "received": self.received,
            "refused": self.refused,
            "sent": self.sent,
        })
    }

    async fn stop(&mut self, _: &Context<SessionMsg>) {
        self.args.hub.sessions.remove(&self.args.client);
        self.args.hub.unlinked(&self.args.client, self.args.session);
        self.args.tell_coordinators(false);
        self.lost().await;
    }
}

impl SessionArgs {
    /// Every coordinator learns of the link's end and of the client's return; what they await is theirs to know.
    fn tell_coordinators(&self, up: bool) {
        let coordinators = &self.hub.config.coordinators;
        for coordinator in coordinators.keys().iter().filter_map(|job| coordinators.get(job)) {
            let (client, session) = (self.client.clone(), self.session);
            if let Err(error) = coordinator.try_tell(CoordinatorMsg::Link { client, session, up }) {
                tracing::debug!(client = %self.client, %error, "coordinator not told of a link");
            }
        }
    }
}

impl Session {
    /// Takes the next event once this one is handled: what waits meanwhile holds the client's credit.
    fn listen(&self, ctx: &Context<SessionMsg>) {
        let events = Arc::clone(&self.args.events);
        let next = async move { events.lock().await.recv().await };
        ctx.spawn(next, |event| SessionMsg::Event(event.ok().flatten()));
    }

    async fn receive(&mut self, incoming: Incoming) {
        self.received += 1;
        Step::new("session", &"message").reach("begin");
        tracing::debug!(client = %self.args.client, trace = incoming.trace, export = incoming.export, "report received");
        let routed = match incoming.export {
            EXPORT_REGISTRY => match wire::decode(&incoming.payload) {
                Ok(report) => self.registry(report).await,
                Err(error) => Routed::Refused(Code::BadFrame, error.to_string()),
            },
            EXPORT_TASKS => match wire::decode(&incoming.payload) {
                Ok(report) => self.task(report).await,
                Err(error) => Routed::Refused(Code::BadFrame, error.to_string()),
            },
            other => Routed::Refused(Code::NotAddressable, format!("export {other}")),
        };
        match routed {
            Routed::Done => incoming.done(),
            Routed::Refused(code, detail) => {
                self.refused += 1;
                self.args.hub.refuse(&self.args.client, code, &detail);
                incoming.done();
            }
            Routed::Stuck => self.args.hub.refuse(&self.args.client, Code::Busy, "no receiver in time"),
        }
    }

    async fn registry(&mut self, report: RegistryReport) -> Routed {
        match report {
            RegistryReport::Register(info) if info.client != self.args.client => {
                Routed::Refused(Code::WrongIdentity, format!("registers as {}", info.client))
            }
            RegistryReport::Register(info) => {
                self.info = Some(info);
                self.register().await
            }
            RegistryReport::Heartbeat(load) => {
                let (client, session) = (self.args.client.clone(), self.args.session);
                // it may have started anew since: then it knows the client by this
                let routed = self.register().await;
                // one that does not get through is followed by another
                let _ = self.args.hub.config.selector.try_tell(SelectorMsg::Heartbeat { client, session, load });
                routed
            }
        }
    }

    async fn lost(&self) {
        let SessionArgs { hub, client, session, .. } = &self.args;
        let lost = SelectorMsg::Lost { client: client.clone(), session: *session };
        if let Err(error) = hub.config.selector.tell(lost).await {
            // it expires the client by itself
            tracing::warn!(%client, %error, "selector not told of a lost link");
        }
    }

    async fn register(&self) -> Routed {
        let Some(info) = self.info.clone() else { return Routed::Done };
        let register = SelectorMsg::Register { info, session: self.args.session };
        if self.args.hub.config.selector.tell(register).await.is_ok() { Routed::Done } else { Routed::Stuck }
    }

    async fn task(&mut self, report: TaskReport) -> Routed {
        let keys = match &report {
            TaskReport::Inventory { tasks } => tasks.iter().collect(),
            other => Vec::from_iter(other.key()),
        };
        if let Some(foreign) = keys.into_iter().find(|key| key.client != self.args.client) {
            return Routed::Refused(Code::WrongIdentity, format!("reports on task {foreign}"));
        }
        match report {
            TaskReport::Inventory { tasks } => self.inventory(tasks).await,
            TaskReport::Started { ref key }
            | TaskReport::Done { ref key, .. }
            | TaskReport::Failed { ref key, .. }
            | TaskReport::Progress { ref key, .. }
            | TaskReport::Uploading { ref key } => {
                let key = key.clone();
                if let TaskReport::Done { update, extra, .. } = &report {
                    let written = update.iter().chain(extra).map(|blob| blob.digest).collect();
                    self.args.hub.access().reported(&key, written);
                }
                match self.report(&key.job, report).await {
                    Some(routed) => routed,
                    None => {
                        self.not_running(key).await;
                        Routed::Done
                    }
                }
            }
        }
    }

    /// Every coordinator learns that the client is (back) here and what it has of its job; nobody wants the rest.
    async fn inventory(&mut self, tasks: Vec<TaskKey>) -> Routed {
        let SessionArgs { hub, client, .. } = &self.args;
        if tasks.is_empty() && !hub.access().has_open(client) {
            // left from before the server's last start
            if let Err(error) = hub.config.blobs.release_all(&uploads_of(client)).await {
                tracing::warn!(%client, %error, "uploads not released");
            }
        }
        let mut by_job: BTreeMap<JobKey, Vec<TaskKey>> =
            hub.config.coordinators.keys().into_iter().map(|job| (job, Vec::new())).collect();
        for key in tasks {
            by_job.entry(key.job.clone()).or_default().push(key);
        }
        for (job, tasks) in by_job {
            match self.report(&job, TaskReport::Inventory { tasks: tasks.clone() }).await {
                Some(Routed::Stuck) => return Routed::Stuck,
                Some(_) => {}
                None => {
                    for key in tasks {
                        self.not_running(key).await;
                    }
                }
            }
        }
        Routed::Done
    }

    /// To the job's coordinator; `None` when there is none. One between two lives asks its clients by itself.
    async fn report(&self, job: &JobKey, report: TaskReport) -> Option<Routed> {
        let coordinator = self.args.hub.config.coordinators.get(job)?;
        let client = self.args.client.clone();
        Some(match coordinator.tell(CoordinatorMsg::Report { client, report }).await {
            Ok(()) => Routed::Done,
            Err(SendError::Full) => Routed::Stuck,
            Err(SendError::Down) => {
                self.args.hub.counters.dropped();
                tracing::info!(client = %self.args.client, %job, "report for a coordinator that is down");
                Routed::Done
            }
        })
    }

    async fn not_running(&mut self, key: TaskKey) {
        let reason = format!("job {} is not running", key.job);
        let refuse = TaskCommand::Refuse { key, code: Code::Stale, reason };
        self.args.hub.settle(&refuse).await;
        self.send(&refuse);
    }

    fn send(&mut self, command: &TaskCommand) {
        self.sent += 1;
        let payload = Bytes::from(wire::encode(command));
        let link = self.args.link.traced(&TraceContext::of_task(command.key()).to_string());
        if let Err(error) = link.try_send(EXPORT_TASKS, payload, Delivery::AtLeastOnce) {
            self.args.hub.counters.dropped();
            tracing::info!(client = %self.args.client, %error, "command dropped");
        }
    }
}
