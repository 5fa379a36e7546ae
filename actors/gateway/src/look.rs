//! What is seen of the links from outside: their figures, and the actors of a client that shows them.

use crate::hub::Hub;
use bytes::Bytes;
use nsfl_actor::ActorView;
use nsfl_messages::wire::{self, EXPORT_OBSERVE, ObserveAnswer, ObserveQuestion};
use nsfl_messages::{LinkView, LinksView};
use nsfl_transport::Link;
use nsfl_types::{ClientId, Code, Refusal};
use std::time::Duration;

/// A client's actors have so long to answer, and the answer so long to come.
const WITHIN: Duration = Duration::from_secs(2);
const ANSWER: Duration = Duration::from_secs(4);

pub(crate) fn links(hub: &Hub) -> LinksView {
    let counts = hub.counters.counts();
    LinksView {
        links: hub.links().into_iter().map(|(client, session, link)| (client, view(session, &link))).collect(),
        refused: counts.refused,
        dropped: counts.dropped,
        bytes_read: counts.bytes_read,
        bytes_written: counts.bytes_written,
        uploads: hub.uploads.in_flight() as u64,
        uploads_waiting: hub.uploads.waiting() as u64,
    }
}

fn view(session: u64, link: &Link) -> LinkView {
    let stats = link.stats();
    LinkView {
        session,
        connected: stats.connected,
        observable: is_observable(link),
        rtt_us: stats.rtt_us,
        bytes_in: stats.bytes_in,
        bytes_out: stats.bytes_out,
        frames_in: stats.frames_in,
        frames_out: stats.frames_out,
        reconnects: stats.reconnects,
        sessions_lost: stats.sessions_lost,
        outbox_messages: stats.outbox_messages,
        queued_bytes: stats.queued_bytes,
    }
}

fn is_observable(link: &Link) -> bool {
    link.exports().iter().any(|export| export.index == EXPORT_OBSERVE)
}

pub(crate) async fn observe(hub: &Hub, client: &ClientId) -> Result<ActorView, Refusal> {
    let Some(link) = hub.link(client) else {
        return Err(Refusal::new(Code::LinkLost, format!("client {client} has no link at the moment")));
    };
    if !is_observable(&link) {
        let reason =
            format!("client {client} does not show its actors: its site sets `console.observe = true` for that");
        return Err(Refusal::new(Code::NotAddressable, reason));
    }
    let within_ms = u64::try_from(WITHIN.as_millis()).unwrap_or(u64::MAX);
    let question = Bytes::from(wire::encode(&ObserveQuestion { within_ms }));
    let answer = link.ask(EXPORT_OBSERVE, question, ANSWER).await;
    let answer =
        answer.map_err(|error| Refusal::new(error.code(), format!("client {client} does not answer: {error}")))?;
    let unreadable = |error: String| Refusal::new(Code::BadFrame, format!("client {client} answers nonsense: {error}"));
    let answer: ObserveAnswer = wire::decode(&answer).map_err(|error| unreadable(error.to_string()))?;
    serde_json::from_str(&answer.tree).map_err(|error| unreadable(error.to_string()))
}
