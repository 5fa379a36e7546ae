//! Every bound of the transport in one place. Each has a default; nothing here is read from a file.

use std::time::Duration;

/// How much a node takes from a peer and keeps for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest payload of one message, bytes.
    pub payload_bytes: usize,
    /// Messages a peer may have under way to us: sent, and not yet taken by their receiver.
    pub credit_messages: u32,
    /// Their payload bytes; at least twice `payload_bytes` is given.
    pub credit_bytes: u32,
    /// At-least-once messages kept until the peer has committed them.
    pub outbox_messages: usize,
    /// Their payload bytes.
    pub outbox_bytes: usize,
    /// Questions under way to the peer.
    pub asks: usize,
    /// Connections of all peers (server).
    pub connections: usize,
    /// Connections of one identity (server).
    pub connections_per_peer: usize,
    /// TLS handshake, hello and welcome.
    pub handshake: Duration,
    /// Largest blob, bytes.
    pub blob_bytes: u64,
    /// Data in one chunk of a blob, bytes; at most 1 MiB.
    pub chunk_bytes: usize,
    /// A transfer whose peer neither sends nor reads for this long is ended.
    pub blob_idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            payload_bytes: 1 << 20,
            credit_messages: 1024,
            credit_bytes: 4 << 20,
            outbox_messages: 4096,
            outbox_bytes: 16 << 20,
            asks: 1024,
            connections: 4096,
            connections_per_peer: 8,
            handshake: Duration::from_secs(10),
            blob_bytes: 16 << 30,
            chunk_bytes: 256 << 10,
            blob_idle: Duration::from_secs(30),
        }
    }
}

/// When a silent peer is pinged, called unreachable and given up. The server's values hold for both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Liveness {
    /// Between two pings.
    pub heartbeat: Duration,
    /// Without a frame for this long the peer is unreachable and its connection is cut.
    pub unreachable: Duration,
    /// Without a frame for this long the session is over.
    pub ttl: Duration,
}

impl Default for Liveness {
    fn default() -> Self {
        Self { heartbeat: Duration::from_secs(5), unreachable: Duration::from_secs(15), ttl: Duration::from_secs(60) }
    }
}

/// Data of a chunk or frame plus what surrounds it: the largest gRPC message that is decoded.
pub(crate) const fn wire_bytes(payload: usize) -> usize {
    payload + (16 << 10)
}

/// HTTP/2 flow control: unread bytes of one stream and of one connection, and the largest data frame.
pub const STREAM_WINDOW: u32 = 2 << 20;
/// See [`STREAM_WINDOW`].
pub const CONNECTION_WINDOW: u32 = 4 << 20;
/// See [`STREAM_WINDOW`].
pub const HTTP2_FRAME: u32 = 256 << 10;
