//! What the loopback tests stand on: a federation, a gateway that writes down what it sees, a proxy, a raw client.

use async_trait::async_trait;
use bytes::Bytes;
use hyper_util::rt::TokioIo;
use nsfl_store::memory::MemoryBlobStore;
use nsfl_store::{BlobStore, BlobWriter, Owner};
use nsfl_transport::proto::frame::Body;
use nsfl_transport::proto::transport_client::TransportClient;
use nsfl_transport::proto::{self, Frame, Hello};
use nsfl_transport::provision::{Authority, PemPair, Validity};
use nsfl_transport::{
    BlobClient, BlobService, ClientConfig, Credentials, Export, Limits, Link, LinkAcceptor, LinkEvent, LinkEvents,
    Liveness, PeerId, Redial, Refusal, Server, ServerConfig, connect, serve,
};
use nsfl_types::{BlobRef, Code, Digest};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex as AsyncMutex, Notify, mpsc};
use tokio::task::AbortHandle;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::{Channel, Endpoint};

pub(crate) const SERVER_EXPORT: u16 = 1;
pub(crate) const CLIENT_EXPORT: u16 = 7;
const BLOB_LIMIT: u64 = 64 << 20;

/// No test hangs.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("in 30 s")
}

pub(crate) fn valid() -> Validity {
    Validity::days(OffsetDateTime::now_utc(), 1)
}

pub(crate) fn expired() -> Validity {
    let now = OffsetDateTime::now_utc();
    Validity { not_before: now - time::Duration::days(3), not_after: now - time::Duration::days(1) }
}

pub(crate) struct Federation {
    pub(crate) authority: Authority,
}

impl Federation {
    pub(crate) fn new(name: &str) -> Self {
        Self { authority: Authority::create(name, valid()).unwrap() }
    }

    /// Credentials that trust this federation, with a certificate perhaps from another.
    pub(crate) fn with(&self, pair: &PemPair) -> Credentials {
        Credentials::from_pem(&self.authority.pem().certificate, &pair.certificate, &pair.key).unwrap()
    }

    pub(crate) fn server(&self) -> Credentials {
        self.with(&self.authority.issue_server(&"main".parse().unwrap(), valid()).unwrap())
    }

    pub(crate) fn client(&self, name: &str) -> Credentials {
        self.with(&self.authority.issue_client(&name.parse().unwrap(), valid()).unwrap())
    }
}

/// A gateway that writes down what it sees.
pub(crate) struct Gateway {
    links: mpsc::UnboundedSender<(PeerId, Link, LinkEvents)>,
    opened: AsyncMutex<mpsc::UnboundedReceiver<(PeerId, Link, LinkEvents)>>,
    refused: mpsc::UnboundedSender<(Option<PeerId>, Code)>,
    refusals: AsyncMutex<mpsc::UnboundedReceiver<(Option<PeerId>, Code)>>,
    pub(crate) store: MemoryBlobStore,
    /// What `read` gives instead of the blob.
    pub(crate) forged: Mutex<Option<Bytes>>,
    pub(crate) forbidden: AtomicBool,
}

impl Gateway {
    pub(crate) fn new() -> Arc<Self> {
        let (links, opened) = mpsc::unbounded_channel();
        let (refused, refusals) = mpsc::unbounded_channel();
        Arc::new(Self {
            links,
            opened: AsyncMutex::new(opened),
            refused,
            refusals: AsyncMutex::new(refusals),
            store: MemoryBlobStore::new(BLOB_LIMIT),
            forged: Mutex::default(),
            forbidden: AtomicBool::new(false),
        })
    }

    pub(crate) async fn opened(&self) -> (PeerId, Link, LinkEvents) {
        soon(async { self.opened.lock().await.recv().await.unwrap() }).await
    }

    pub(crate) async fn refusal(&self) -> (Option<PeerId>, Code) {
        soon(async { self.refusals.lock().await.recv().await.unwrap() }).await
    }
}

#[async_trait]
impl LinkAcceptor for Gateway {
    fn exports(&self, peer: &PeerId) -> Result<Vec<Export>, Refusal> {
        if peer.name.as_str() == "banned" {
            return Err(Refusal::new(Code::NotAllowed, "banned"));
        }
        Ok(vec![Export { index: SERVER_EXPORT, name: "coordinator".into(), version: 3 }])
    }

    async fn opened(&self, peer: PeerId, link: Link, events: LinkEvents) {
        self.links.send((peer, link, events)).unwrap();
    }

    fn refused(&self, peer: Option<&PeerId>, _remote: SocketAddr, code: Code, _detail: &str) {
        self.refused.send((peer.cloned(), code)).unwrap();
    }
}

#[async_trait]
impl BlobService for Gateway {
    async fn read(&self, _peer: &PeerId, digest: Digest) -> Result<Bytes, Refusal> {
        let forged = self.forged.lock().unwrap().clone();
        match forged {
            Some(bytes) => Ok(bytes),
            None => Ok(self.store.open(digest).await?),
        }
    }

    async fn write(&self, peer: &PeerId, blob: BlobRef) -> Result<(Box<dyn BlobWriter>, Owner), Refusal> {
        if self.forbidden.load(Ordering::Relaxed) {
            return Err(Refusal::new(Code::BlobRefused, "not now"));
        }
        Ok((self.store.begin(peer.name.as_str(), blob).await?, owner()))
    }

    async fn held(&self, peer: &PeerId, digest: Digest) -> Result<u64, Refusal> {
        Ok(self.store.held(peer.name.as_str(), digest).await?)
    }
}

pub(crate) fn owner() -> Owner {
    Owner::new("test").unwrap()
}

pub(crate) fn limits() -> Limits {
    Limits { handshake: Duration::from_secs(5), blob_bytes: BLOB_LIMIT, ..Limits::default() }
}

pub(crate) async fn server(credentials: Credentials, gateway: &Arc<Gateway>, liveness: Liveness) -> Server {
    let listen = "127.0.0.1:0".parse().unwrap();
    let config = ServerConfig { listen, credentials, limits: limits(), liveness };
    serve(config, gateway.clone(), gateway.clone()).await.unwrap()
}

pub(crate) fn config(address: SocketAddr, credentials: Credentials) -> ClientConfig {
    ClientConfig {
        server: address.to_string(),
        credentials,
        claimed: None,
        incarnation: 1,
        exports: vec![Export { index: CLIENT_EXPORT, name: "task-manager".into(), version: 1 }],
        limits: limits(),
        redial: Redial { first: Duration::from_millis(5), max: Duration::from_millis(100) },
    }
}

/// A server with its gateway, a proxy before it, and one client connected through it.
pub(crate) struct Pair {
    pub(crate) federation: Federation,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) server: Server,
    pub(crate) proxy: Proxy,
    pub(crate) link: Link,
    pub(crate) events: LinkEvents,
    pub(crate) blobs: BlobClient,
    pub(crate) at_server: Link,
    pub(crate) server_events: LinkEvents,
}

pub(crate) async fn pair(liveness: Liveness) -> Pair {
    let federation = Federation::new("lab");
    let gateway = Gateway::new();
    let server = server(federation.server(), &gateway, liveness).await;
    let proxy = Proxy::start(server.local_addr()).await;
    let (link, mut events, blobs) = connect(config(proxy.address, federation.client("site-1")));
    let (_, at_server, mut server_events) = gateway.opened().await;
    assert!(matches!(next(&mut events).await, LinkEvent::Up { resumed: false }));
    assert!(matches!(next(&mut server_events).await, LinkEvent::Up { resumed: false }));
    Pair { federation, gateway, server, proxy, link, events, blobs, at_server, server_events }
}

pub(crate) async fn next(events: &mut LinkEvents) -> LinkEvent {
    soon(events.recv()).await.expect("the link is open")
}

pub(crate) async fn message(events: &mut LinkEvents) -> nsfl_transport::Incoming {
    match next(events).await {
        LinkEvent::Message(incoming) => incoming,
        other => panic!("a message was expected, not {other:?}"),
    }
}

pub(crate) async fn down(events: &mut LinkEvents) -> Code {
    match next(events).await {
        LinkEvent::Down { reason } => reason.code,
        other => panic!("down was expected, not {other:?}"),
    }
}

/// Forwards TCP until told otherwise.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    state: Arc<ProxyState>,
}

struct ProxyState {
    target: Mutex<SocketAddr>,
    connections: Mutex<Vec<AbortHandle>>,
    /// Bytes that may still pass; below zero the connection that passes them is cut.
    budget: AtomicI64,
    passed: AtomicU64,
    stalled: AtomicBool,
    moves: Notify,
}

impl Proxy {
    pub(crate) async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(ProxyState {
            target: Mutex::new(target),
            connections: Mutex::default(),
            budget: AtomicI64::new(i64::MAX),
            passed: AtomicU64::new(0),
            stalled: AtomicBool::new(false),
            moves: Notify::new(),
        });
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((from, _)) = listener.accept().await {
                let state = shared.clone();
                let task = tokio::spawn(async move {
                    let target = *state.target.lock().unwrap();
                    let Ok(to) = TcpStream::connect(target).await else { return };
                    let ((a, b), (c, d)) = (from.into_split(), to.into_split());
                    tokio::select! {
                        () = state.forward(a, d) => {}
                        () = state.forward(c, b) => {}
                    }
                });
                shared.connections.lock().unwrap().push(task.abort_handle());
            }
        });
        Self { address, state }
    }

    /// Ends every connection without a word.
    pub(crate) fn cut(&self) {
        self.state.connections.lock().unwrap().drain(..).for_each(|c| c.abort());
    }

    /// From now on connections go there.
    pub(crate) fn aim(&self, target: SocketAddr) {
        *self.state.target.lock().unwrap() = target;
    }

    /// Cuts the connection that passes this many bytes from now on.
    pub(crate) fn cut_after(&self, bytes: i64) {
        self.state.budget.store(bytes, Ordering::SeqCst);
    }

    /// Nothing passes, nothing is cut.
    pub(crate) fn stall(&self, stalled: bool) {
        self.state.stalled.store(stalled, Ordering::SeqCst);
        self.state.moves.notify_waiters();
    }

    pub(crate) fn passed(&self) -> u64 {
        self.state.passed.load(Ordering::SeqCst)
    }
}

impl ProxyState {
    async fn forward(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(len @ 1..) = from.read(&mut buffer).await {
            loop {
                let moved = self.moves.notified();
                if !self.stalled.load(Ordering::SeqCst) {
                    break;
                }
                moved.await;
            }
            if self.budget.fetch_sub(len as i64, Ordering::SeqCst) < len as i64 {
                self.budget.store(i64::MAX, Ordering::SeqCst);
                return;
            }
            self.passed.fetch_add(len as u64, Ordering::SeqCst);
            if to.write_all(&buffer[..len]).await.is_err() {
                return;
            }
        }
    }
}

/// A gRPC client over TLS that obeys no rule of the session.
pub(crate) async fn raw_client(
    address: SocketAddr,
    tls: rustls::ClientConfig,
) -> Result<TransportClient<Channel>, String> {
    let tcp = TcpStream::connect(address).await.unwrap();
    let name = rustls_pki_types::ServerName::try_from("nsfl").unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(tls));
    let stream = connector.connect(name, tcp).await.map_err(|e| e.to_string())?;
    let mut once = Some(stream);
    let connector = tower::service_fn(move |_: tonic::transport::Uri| {
        let stream = once.take().map(TokioIo::new);
        async move { stream.ok_or_else(|| std::io::Error::other("once")) }
    });
    let channel = Endpoint::from_static("http://nsfl").connect_with_connector(connector).await;
    Ok(TransportClient::new(channel.map_err(|e| e.to_string())?))
}

pub(crate) fn hello() -> Hello {
    Hello {
        min_version: 1,
        max_version: 1,
        incarnation: 1,
        dial: 1,
        credit: Some(proto::Credit { messages: 1024, bytes: 4 << 20, payload_bytes: 1 << 20 }),
        ..Hello::default()
    }
}

/// A session spoken by hand: frames out, and the stream of frames in.
pub(crate) async fn raw_session(
    address: SocketAddr,
    credentials: &Credentials,
    hello: Hello,
) -> Result<(mpsc::UnboundedSender<Frame>, tonic::Streaming<Frame>), Refusal> {
    let mut client = raw_client(address, credentials.client_config().unwrap()).await.unwrap();
    let (sender, receiver) = mpsc::unbounded_channel();
    sender.send(framed(Body::Hello(Box::new(hello)))).unwrap();
    let inbound = soon(client.session(UnboundedReceiverStream::new(receiver))).await?.into_inner();
    Ok((sender, inbound))
}

pub(crate) fn framed(body: Body) -> Frame {
    Frame { body: Some(body), ..Frame::default() }
}

/// The next frame with a body.
pub(crate) async fn body(inbound: &mut tonic::Streaming<Frame>) -> Body {
    loop {
        if let Some(body) = soon(inbound.message()).await.unwrap().expect("a frame").body {
            return body;
        }
    }
}
