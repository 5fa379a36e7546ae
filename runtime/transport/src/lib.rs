//! Links and blobs between nodes: mutual TLS, control sessions, content-addressed streams. Knows no role.
//!
//! A server [`serve`]s, a client [`connect`]s. A [`Link`] carries small messages between exported actors; [`BlobClient`] and
//! [`BlobService`] move what is large. A peer's identity is its certificate's and nothing else's.

mod carrier;
mod client;
mod error;
mod handshake;
mod identity;
mod limits;
mod link;
pub mod provision;
mod refusal;
mod server;
mod session;
mod tls;

/// The generated messages and service, for tools that measure or speak the protocol themselves.
pub mod proto {
    #![allow(missing_docs, unreachable_pub, clippy::all, clippy::unwrap_used)]
    tonic::include_proto!("nsfl.transport.v1");
}

pub use carrier::{Calls, CarriedService, Carrier, Dial, Inbound, Outbound};
pub use client::{BlobClient, ClientConfig, Redial, connect, connect_over};
pub use error::{BlobError, TransportError};
pub use handshake::VERSIONS;
pub use identity::{PeerId, PeerRole};
pub use limits::{CONNECTION_WINDOW, HTTP2_FRAME, Limits, Liveness, STREAM_WINDOW};
pub use link::{Export, Incoming, Link, LinkError, LinkEvent, LinkEvents, LinkStats, Replier};
pub use refusal::Refusal;
pub use server::{BlobService, LinkAcceptor, Server, ServerConfig, serve, serve_over};
pub use session::Delivery;
pub use tls::{Credentials, CredentialsError, provider};
