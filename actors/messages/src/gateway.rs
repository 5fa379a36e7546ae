//! To the gateway: what goes out to clients, and who is linked.

use crate::wire::TaskCommand;
use nsfl_actor::{ActorView, Reply};
use nsfl_types::{ClientId, Code, Refusal};
use std::collections::BTreeMap;

/// A client's link as the server sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkView {
    /// Numbers sessions in the order they opened.
    pub session: u64,
    /// Whether there is a connection now.
    pub connected: bool,
    /// Whether the client shows its actors.
    pub observable: bool,
    /// Last round trip, microseconds; 0 before the first.
    pub rtt_us: u64,
    /// Payload bytes received.
    pub bytes_in: u64,
    /// Payload bytes sent.
    pub bytes_out: u64,
    /// Frames received.
    pub frames_in: u64,
    /// Frames sent.
    pub frames_out: u64,
    /// Connections after the first.
    pub reconnects: u64,
    /// Sessions after the first.
    pub sessions_lost: u64,
    /// Messages sent that the client has not taken for good.
    pub outbox_messages: u64,
    /// Payload bytes that wait to be written.
    pub queued_bytes: u64,
}

/// What the gateway has counted since the node started, and the links there are.
#[derive(Debug, Clone, Default)]
pub struct LinksView {
    /// By client.
    pub links: BTreeMap<ClientId, LinkView>,
    /// Peers and messages turned away, by code.
    pub refused: BTreeMap<Code, u64>,
    /// Commands that found no link, or a full one.
    pub dropped: u64,
    /// Bytes of blobs that clients have read.
    pub bytes_read: u64,
    /// Bytes of results that clients have written.
    pub bytes_written: u64,
    /// Results being written.
    pub uploads: u64,
    /// Results that wait for their turn.
    pub uploads_waiting: u64,
}

/// To the gateway.
#[derive(Debug)]
pub enum GatewayMsg {
    /// A command for a client. Without a link it is dropped and counted: the next inventory makes up for it.
    ToClient {
        /// For whom.
        client: ClientId,
        /// What. A task that goes out lets its client read the blobs it names.
        command: TaskCommand,
    },
    /// How the links are.
    Links {
        /// The links.
        reply: Reply<LinksView>,
    },
    /// A client's tree of actors, asked of it over its link.
    Observe {
        /// Whose.
        client: ClientId,
        /// The tree, or why there is none.
        reply: Reply<Result<ActorView, Refusal>>,
    },
    /// Turn a client away from now on, or no longer.
    Bar {
        /// Whom.
        client: ClientId,
        /// Away.
        barred: bool,
    },
}
