//! What carries connections below sessions and blobs. gRPC over TCP and TLS is built in; another is given by who composes
//! the node, such as a network in memory that loses, delays and cuts. Handshake, session and transfers are the same over each.

use crate::proto::{Chunk, Frame, GetRequest, PutReply, StatReply, StatRequest};
use crate::server::Service;
use crate::{PeerId, Refusal};
use async_trait::async_trait;
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, StreamExt as _};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What the peer sends, until the connection breaks.
pub type Inbound<T> = BoxStream<'static, Result<T, Refusal>>;
/// What is sent to the peer.
pub type Outbound<T> = BoxStream<'static, T>;

/// The dialling end of a carrier.
#[async_trait]
pub trait Dial: Send + Sync + 'static {
    /// A new connection, and who is at its other end: found out by the carrier, not by what the peer says.
    ///
    /// # Errors
    /// There is none now, or the peer is not who it should be.
    async fn dial(&self) -> Result<(PeerId, Arc<dyn Calls>), Refusal>;
}

/// The calls of one connection.
#[async_trait]
pub trait Calls: Send + Sync + 'static {
    /// Frames both ways. It ends when either stream ends.
    async fn session(&self, outgoing: Outbound<Frame>) -> Result<Inbound<Frame>, Refusal>;
    /// A blob from an offset.
    async fn get(&self, request: GetRequest) -> Result<Inbound<Chunk>, Refusal>;
    /// A blob to the server; answered once it is durable.
    async fn put(&self, chunks: Outbound<Chunk>) -> Result<PutReply, Refusal>;
    /// How much of a blob the server holds.
    async fn stat(&self, request: StatRequest) -> Result<StatReply, Refusal>;
}

/// The accepting end of a carrier.
pub trait Carrier: Send + Sync + 'static {
    /// Brings peers' calls to `service` while the future is polled. Once `stop` is cancelled no new connections are taken and
    /// the future ends with the last of those there are; dropped, all end at once.
    fn serve(&self, service: CarriedService, stop: CancellationToken) -> BoxFuture<'static, ()>;
}

/// What a carrier calls when a peer does. `peer` is whom the carrier has found at the other end.
#[derive(Clone)]
pub struct CarriedService(pub(crate) Arc<Service>);

impl CarriedService {
    /// Opens or resumes a session.
    ///
    /// # Errors
    /// The peer is turned away.
    pub async fn session(&self, peer: &PeerId, inbound: Inbound<Frame>) -> Result<Outbound<Frame>, Refusal> {
        Ok(self.0.take_session(&self.0.unlocated(peer), inbound).await?.boxed())
    }

    /// Sends a blob.
    ///
    /// # Errors
    /// It is not the peer's to read.
    pub async fn get(&self, peer: &PeerId, request: GetRequest) -> Result<Outbound<Chunk>, Refusal> {
        Ok(self.0.take_get(&self.0.unlocated(peer), request).await?.boxed())
    }

    /// Receives a blob.
    ///
    /// # Errors
    /// It is not the peer's to write, or it did not come whole.
    pub async fn put(&self, peer: &PeerId, chunks: Inbound<Chunk>) -> Result<PutReply, Refusal> {
        self.0.take_put(&self.0.unlocated(peer), chunks).await
    }

    /// How much of a blob is held.
    ///
    /// # Errors
    /// It is not the peer's.
    pub async fn stat(&self, peer: &PeerId, request: StatRequest) -> Result<StatReply, Refusal> {
        self.0.take_stat(&self.0.unlocated(peer), request).await
    }
}
