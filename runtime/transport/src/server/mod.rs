//! The accepting end: one port for control and blobs. Who may do what is the gateway's affair, asked through two traits.

mod accept;
mod service;
mod sessions;
mod transfers;

use crate::limits::{CONNECTION_WINDOW, HTTP2_FRAME, Limits, Liveness, STREAM_WINDOW, wire_bytes};
use crate::link::{Export, Link, LinkEvents};
use crate::proto::transport_server::TransportServer;
use crate::{CarriedService, Carrier, Credentials, PeerId, PeerRole, Refusal, TransportError};
use async_trait::async_trait;
use bytes::Bytes;
use nsfl_store::{BlobWriter, Owner};
use nsfl_types::{BlobRef, Code, Digest};
pub(crate) use service::Service;
use sessions::Sessions;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// How a server listens.
#[derive(Clone)]
pub struct ServerConfig {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The server's certificate, key and authority.
    pub credentials: Credentials,
    /// Bounds.
    pub limits: Limits,
    /// Heartbeat, silence and time to live, told to the clients.
    pub liveness: Liveness,
}

/// Admits links. Implemented by the gateway.
#[async_trait]
pub trait LinkAcceptor: Send + Sync + 'static {
    /// What this peer may address now. Asked for every connection, also of a session that goes on.
    ///
    /// # Errors
    /// The peer is not admitted.
    fn exports(&self, peer: &PeerId) -> Result<Vec<Export>, Refusal>;

    /// A new session: `Up` is its first event, `Down` its last. A resumed one goes on on the link it has.
    /// The peer's messages are read once this returns.
    async fn opened(&self, peer: PeerId, link: Link, events: LinkEvents);

    /// Something was refused: a handshake, a session, a frame or a blob. To be counted and logged.
    fn refused(&self, peer: Option<&PeerId>, remote: SocketAddr, code: Code, detail: &str);
}

/// Admits blobs: what may this peer read or write now? Implemented by the gateway.
#[async_trait]
pub trait BlobService: Send + Sync + 'static {
    /// The whole blob, memory-mapped where there is a file; it is sent in slices of this.
    ///
    /// # Errors
    /// `BlobRefused` or `NotFound`.
    async fn read(&self, peer: &PeerId, digest: Digest) -> Result<Bytes, Refusal>;

    /// A writer at the offset held, and who will own the blob once it is whole.
    ///
    /// # Errors
    /// `BlobRefused`, `TooLarge`, `Busy`, or the store's.
    async fn write(&self, peer: &PeerId, blob: BlobRef) -> Result<(Box<dyn BlobWriter>, Owner), Refusal>;

    /// Bytes held of a blob this peer may write or read.
    ///
    /// # Errors
    /// `BlobRefused`, or the store's.
    async fn held(&self, peer: &PeerId, digest: Digest) -> Result<u64, Refusal>;
}

/// A listening server. Dropped, it stops at once.
pub struct Server {
    local: SocketAddr,
    stop: CancellationToken,
    end_transfers: CancellationToken,
    sessions: Arc<Sessions>,
    serving: AbortOnDropHandle<()>,
}

/// Listens and serves until [`Server::shutdown`].
///
/// # Errors
/// An address that cannot be listened on, credentials that are not a server's.
pub async fn serve(
    config: ServerConfig,
    acceptor: Arc<dyn LinkAcceptor>,
    blobs: Arc<dyn BlobService>,
) -> Result<Server, TransportError> {
    check_role(&config)?;
    let tls = config.credentials.server_config()?;
    let failed = |source| TransportError::Listen { address: config.listen, source };
    let listener = tokio::net::TcpListener::bind(config.listen).await.map_err(failed)?;
    let local = listener.local_addr().map_err(failed)?;
    Ok(Server::start(&config, local, Arc::clone(&acceptor), blobs, |service, stop| {
        let incoming = accept::listen(listener, tls, config.limits, acceptor, stop.clone());
        let decode = wire_bytes(config.limits.payload_bytes.max(config.limits.chunk_bytes).max(1 << 20));
        let builder = tonic::transport::Server::builder()
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(HTTP2_FRAME)
            .max_concurrent_streams(32)
            .http2_keepalive_interval(Some(config.liveness.unreachable))
            .http2_keepalive_timeout(Some(config.liveness.unreachable));
        let service = TransportServer::from_arc(service).max_decoding_message_size(decode);
        tokio::spawn(async move {
            let served = builder.serve_with_incoming_shutdown(service, incoming, stop.cancelled_owned()).await;
            if let Err(error) = served {
                tracing::error!(error = %error, "server ended");
            }
        })
    }))
}

/// The same over another carrier: the credentials only say who this server is.
///
/// # Errors
/// Credentials that are not a server's.
pub fn serve_over(
    carrier: &dyn Carrier,
    config: &ServerConfig,
    acceptor: Arc<dyn LinkAcceptor>,
    blobs: Arc<dyn BlobService>,
) -> Result<Server, TransportError> {
    check_role(config)?;
    Ok(Server::start(config, config.listen, acceptor, blobs, |service, stop| {
        tokio::spawn(carrier.serve(CarriedService(service), stop))
    }))
}

fn check_role(config: &ServerConfig) -> Result<(), Refusal> {
    let identity = config.credentials.identity();
    if identity.role == PeerRole::Server {
        return Ok(());
    }
    Err(Refusal::new(Code::WrongIdentity, format!("{identity} is not a server's certificate")))
}

impl Server {
    fn start(
        config: &ServerConfig,
        local: SocketAddr,
        acceptor: Arc<dyn LinkAcceptor>,
        blobs: Arc<dyn BlobService>,
        carry: impl FnOnce(Arc<Service>, CancellationToken) -> JoinHandle<()>,
    ) -> Self {
        let (stop, end_transfers) = (CancellationToken::new(), CancellationToken::new());
        let sessions = Arc::new(Sessions::new(config.limits, config.liveness));
        let service = Service::new(acceptor, blobs, Arc::clone(&sessions), config.limits, end_transfers.clone());
        let serving = AbortOnDropHandle::new(carry(Arc::new(service), stop.clone()));
        Self { local, stop, end_transfers, sessions, serving }
    }

    /// The address listened on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Tells every peer to go away, waits up to `timeout` for transfers under way, then ends those.
    pub async fn shutdown(mut self, timeout: Duration) {
        self.stop.cancel();
        self.end_sessions();
        if tokio::time::timeout(timeout, &mut self.serving).await.is_err() {
            self.end_transfers.cancel();
        }
    }

    fn end_sessions(&self) {
        self.sessions.close_all(&Refusal::new(Code::LinkLost, "the server is shutting down"));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
        self.end_sessions();
        self.end_transfers.cancel();
    }
}
