//! The gateway: listens, and finds the session of whom a command is for. Sessions route what comes in.

use crate::admission::Admission;
use crate::blobs::Blobs;
use crate::hub::Hub;
use crate::look;
use crate::session::SessionMsg;
use nsfl_actor::{Context, Failure, Next, Role};
use nsfl_fault_point::Step;
use nsfl_messages::GatewayMsg;
use nsfl_messages::wire::TaskCommand;
use nsfl_store::MarkKind;
use nsfl_transport::{Refusal, Server, serve, serve_over};
use nsfl_types::{ClientId, Code};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Time that transfers under way have when the node ends.
const LAST_TRANSFERS: Duration = Duration::from_secs(2);

/// The gateway.
pub(crate) struct Gateway {
    hub: Arc<Hub>,
    server: Option<Server>,
}

impl Role for Gateway {
    type Msg = GatewayMsg;
    type Args = Arc<Hub>;
    const KIND: &'static str = "gateway";

    async fn start(hub: Arc<Hub>, _: &Context<GatewayMsg>) -> Result<Self, Failure> {
        for mark in hub.config.access.marks().await? {
            hub.bar(mark.client, mark.kind == MarkKind::Removed);
        }
        let admission = Arc::new(Admission { hub: Arc::clone(&hub) });
        let blobs = Arc::new(Blobs { hub: Arc::clone(&hub) });
        let config = &hub.config.server;
        let server = match &hub.config.carrier {
            Some(carrier) => serve_over(carrier.as_ref(), config, admission, blobs)?,
            None => serve(config.clone(), admission, blobs).await?,
        };
        tracing::info!(address = %server.local_addr(), "gateway listens");
        hub.config.local.send_replace(Some(server.local_addr()));
        Ok(Self { hub, server: Some(server) })
    }

    async fn handle(&mut self, msg: GatewayMsg, ctx: &Context<GatewayMsg>) -> Result<Next, Failure> {
        match msg {
            GatewayMsg::ToClient { client, command } => self.send(client, command).await,
            GatewayMsg::Links { reply } => reply.send(look::links(&self.hub)),
            GatewayMsg::Observe { client, reply } => {
                let hub = Arc::clone(&self.hub);
                ctx.run(async move { reply.send(look::observe(&hub, &client).await) });
            }
            GatewayMsg::Bar { client, barred } => {
                self.hub.bar(client.clone(), barred);
                if let Some(link) = self.hub.link(&client).filter(|_| barred) {
                    link.close(&Refusal::new(Code::NotAllowed, "an operator has removed this client"));
                }
            }
        }
        Ok(Next::Continue)
    }

    fn observe(&self) -> Value {
        let counts = self.hub.counters.counts();
        json!({
            "listens": self.server.as_ref().map(|server| server.local_addr().to_string()),
            "sessions": self.hub.sessions.keys().len(),
            "refused": counts.refused,
            "dropped": counts.dropped,
            "bytes_read": counts.bytes_read,
            "bytes_written": counts.bytes_written,
            "uploads": self.hub.uploads.in_flight(),
            "uploads_waiting": self.hub.uploads.waiting(),
        })
    }

    async fn stop(&mut self, _: &Context<GatewayMsg>) {
        self.hub.config.local.send_replace(None);
        if let Some(server) = self.server.take() {
            server.shutdown(LAST_TRANSFERS).await;
        }
    }
}

impl Gateway {
    async fn send(&self, client: ClientId, command: TaskCommand) {
        let step = Step::new("gateway", &command);
        step.reach("begin");
        self.hub.settle(&command).await;
        step.reach("after-grant");
        let session = self.hub.sessions.get(&client);
        let sent = session.is_some_and(|session| session.try_tell(SessionMsg::Command(command)).is_ok());
        if !sent {
            self.hub.counters.dropped();
            tracing::info!(%client, "command for a client without a link dropped");
        }
    }
}
