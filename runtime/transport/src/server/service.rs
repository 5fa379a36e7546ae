//! The four RPCs. Each asks for admission first.

use super::accept::PeerInfo;
use super::sessions::{Admitted, Sessions};
use super::transfers::Transfers;
use super::{BlobService, LinkAcceptor};
use crate::limits::Limits;
use crate::link::{Link, LinkEvents, Observer, Outgoing, read};
use crate::proto::frame::Body;
use crate::proto::transport_server::Transport;
use crate::proto::{Chunk, Frame, GetRequest, Hello, PutReply, StatReply, StatRequest};
use crate::{Inbound, PeerId, Refusal};
use bytes::Bytes;
use futures_util::stream::Map;
use futures_util::{Stream, StreamExt, TryStreamExt};
use nsfl_types::{Code, Digest};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

pub(crate) struct Service {
    acceptor: Arc<dyn LinkAcceptor>,
    blobs: Arc<dyn BlobService>,
    sessions: Arc<Sessions>,
    limits: Limits,
    transfers: Transfers,
}

impl Service {
    pub(super) fn new(
        acceptor: Arc<dyn LinkAcceptor>,
        blobs: Arc<dyn BlobService>,
        sessions: Arc<Sessions>,
        limits: Limits,
        end: CancellationToken,
    ) -> Self {
        let transfers = Transfers::new(Arc::clone(&blobs), limits, end);
        Self { acceptor, blobs, sessions, limits, transfers }
    }

    async fn open_session(&self, info: &PeerInfo, mut inbound: Inbound<Frame>) -> Result<Outgoing, Refusal> {
        let first = tokio::time::timeout(self.limits.handshake, inbound.next())
            .await
            .map_err(|_| Refusal::new(Code::Timeout, "no hello in time"))?
            .transpose()?;
        let Some(Frame { body: Some(Body::Hello(hello)), .. }) = first else {
            return Err(Refusal::new(Code::BadFrame, "the first frame is not a hello"));
        };
        let admitted = self.admit(info, *hello)?;
        let Admitted { shared, connection, welcome, opened } = admitted;
        if let Some(receiver) = opened {
            let events = LinkEvents::new(receiver, Arc::clone(&shared));
            let (acceptor, peer) = (Arc::clone(&self.acceptor), (*info.peer).clone());
            let link = Link::new(Arc::clone(&shared));
            // On a task of its own: it runs to its end even when the peer hangs up meanwhile.
            let opening = tokio::spawn(async move { acceptor.opened(peer, link, events).await });
            opening.await.map_err(|e| Refusal::new(Code::Internal, format!("the link was not taken: {e}")))?;
        }
        let outgoing = Outgoing::new(Arc::clone(&shared), Arc::clone(&connection), Body::Welcome(Box::new(welcome)));
        let peer = Arc::clone(&info.peer);
        tokio::spawn(async move {
            let reason = read(&shared, &connection, inbound).await;
            tracing::debug!(peer = %peer, reason = %reason, "connection ended");
        });
        Ok(outgoing)
    }

    fn admit(&self, info: &PeerInfo, hello: Hello) -> Result<Admitted, Refusal> {
        let exports = self.acceptor.exports(&info.peer)?;
        let (acceptor, to_name) = (Arc::clone(&self.acceptor), info.clone());
        let observer: Observer = Box::new(move |refusal| {
            acceptor.refused(Some(&to_name.peer), to_name.remote, refusal.code, &refusal.reason);
        });
        self.sessions.admit(&info.peer, hello, exports, observer)
    }

    pub(crate) async fn take_session(&self, info: &PeerInfo, inbound: Inbound<Frame>) -> Result<Outgoing, Refusal> {
        self.open_session(info, inbound).await.map_err(|refusal| self.told(info, refusal))
    }

    pub(crate) async fn take_put(&self, info: &PeerInfo, chunks: Inbound<Chunk>) -> Result<PutReply, Refusal> {
        let put = self.transfers.put(&info.peer, chunks).await;
        Ok(PutReply { length: put.map_err(|refusal| self.told(info, refusal))? })
    }

    pub(crate) async fn take_get(
        &self,
        info: &PeerInfo,
        request: GetRequest,
    ) -> Result<impl Stream<Item = Chunk> + Send + use<>, Refusal> {
        let GetRequest { digest, offset } = request;
        let get = async { self.transfers.get(&info.peer, digest_of(&digest)?, offset).await };
        get.await.map_err(|refusal| self.told(info, refusal))
    }

    pub(crate) async fn take_stat(&self, info: &PeerInfo, request: StatRequest) -> Result<StatReply, Refusal> {
        let stat = async { self.blobs.held(&info.peer, digest_of(&request.digest)?).await };
        Ok(StatReply { held: stat.await.map_err(|refusal| self.told(info, refusal))? })
    }

    /// A peer of a carrier that has no addresses.
    pub(crate) fn unlocated(&self, peer: &PeerId) -> PeerInfo {
        PeerInfo { peer: Arc::new(peer.clone()), remote: SocketAddr::from(([0, 0, 0, 0], 0)) }
    }

    /// Tells the gateway of a refusal on its way to the peer.
    fn told(&self, info: &PeerInfo, refusal: Refusal) -> Refusal {
        self.acceptor.refused(Some(&info.peer), info.remote, refusal.code, &refusal.reason);
        refusal
    }
}

type Frames = Map<Outgoing, fn(Frame) -> Result<Frame, Status>>;

#[tonic::async_trait]
impl Transport for Service {
    type SessionStream = Frames;
    type GetStream = Pin<Box<dyn Stream<Item = Result<Chunk, Status>> + Send>>;

    async fn session(&self, request: Request<Streaming<Frame>>) -> Result<Response<Frames>, Status> {
        let info = peer_of(&request)?;
        let inbound = request.into_inner().map_err(Refusal::from).boxed();
        Ok(Response::new(self.take_session(&info, inbound).await?.map(Ok)))
    }

    async fn put(&self, request: Request<Streaming<Chunk>>) -> Result<Response<PutReply>, Status> {
        let info = peer_of(&request)?;
        let chunks = request.into_inner().map_err(Refusal::from).boxed();
        Ok(Response::new(self.take_put(&info, chunks).await?))
    }

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<Self::GetStream>, Status> {
        let info = peer_of(&request)?;
        let chunks = self.take_get(&info, request.into_inner()).await?;
        Ok(Response::new(Box::pin(chunks.map(Ok))))
    }

    async fn stat(&self, request: Request<StatRequest>) -> Result<Response<StatReply>, Status> {
        let info = peer_of(&request)?;
        Ok(Response::new(self.take_stat(&info, request.into_inner()).await?))
    }
}

/// The identity the accept loop has found; without it nothing is served.
fn peer_of<T>(request: &Request<T>) -> Result<PeerInfo, Status> {
    let known = request.extensions().get::<PeerInfo>().cloned();
    known.ok_or_else(|| Refusal::new(Code::NoCertificate, "no identity on this connection").into())
}

/// 32 bytes.
pub(super) fn digest_of(bytes: &Bytes) -> Result<Digest, Refusal> {
    let digest: Result<[u8; 32], _> = bytes[..].try_into();
    digest.map(Digest::from_bytes).map_err(|_| Refusal::new(Code::BadFrame, "a digest has 32 bytes"))
}
