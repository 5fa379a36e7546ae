//! One connection to the server: over the carrier that is given, or TCP, TLS, HTTP/2, and what went wrong with it.

use crate::carrier::{Calls, Dial, Inbound, Outbound};
use crate::limits::{CONNECTION_WINDOW, HTTP2_FRAME, Limits, STREAM_WINDOW, wire_bytes};
use crate::proto::transport_client::TransportClient;
use crate::proto::{Chunk, Frame, GetRequest, PutReply, StatReply, StatRequest};
use crate::tls::refusal_of;
use crate::{Credentials, PeerId, Refusal};
use async_trait::async_trait;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use hyper_util::rt::TokioIo;
use nsfl_types::Code;
use rustls_pki_types::ServerName;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint, Uri};

/// Dials one server with one set of credentials, or over another carrier.
#[derive(Clone)]
pub(super) struct Dialer {
    to: To,
    limits: Limits,
}

#[derive(Clone)]
enum To {
    Grpc { server: String, credentials: Credentials },
    Carried(Arc<dyn Dial>),
}

/// A connection, used once: when it ends, dial again.
#[derive(Clone)]
pub(super) struct Dialled {
    pub(super) calls: Arc<dyn Calls>,
    pub(super) peer: PeerId,
    pub(super) trouble: Trouble,
}

/// The TLS error a connection ended with, which HTTP/2 does not pass on. In TLS 1.3 a server refuses a client's certificate
/// only after the client believes the handshake to be done.
#[derive(Clone, Default)]
pub(super) struct Trouble(Arc<Mutex<Option<Refusal>>>);

impl Trouble {
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, error: &io::Error) {
        if let Some(tls) = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>()) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal_of(tls));
        }
    }
}

impl Dialer {
    pub(super) fn grpc(server: String, credentials: Credentials, limits: Limits) -> Self {
        Self { to: To::Grpc { server, credentials }, limits }
    }

    pub(super) fn carried(dial: Arc<dyn Dial>, limits: Limits) -> Self {
        Self { to: To::Carried(dial), limits }
    }

    pub(super) async fn dial(&self) -> Result<Dialled, Refusal> {
        let dialling = tokio::time::timeout(self.limits.handshake, async {
            match &self.to {
                To::Grpc { server, credentials } => self.connect(server, credentials).await,
                To::Carried(dial) => {
                    let (peer, calls) = dial.dial().await?;
                    Ok(Dialled { calls, peer, trouble: Trouble::default() })
                }
            }
        });
        dialling.await.unwrap_or_else(|_| Err(Refusal::new(Code::Timeout, "no connection in time")))
    }

    async fn connect(&self, server: &str, credentials: &Credentials) -> Result<Dialled, Refusal> {
        let lost = |error: io::Error| Refusal::new(Code::LinkLost, format!("{server}: {error}"));
        let tcp = TcpStream::connect(server).await.map_err(lost)?;
        tcp.set_nodelay(true).map_err(lost)?;
        let config = credentials.client_config().map_err(|e| refusal_of(&e))?;
        // Only the URI in the certificate is looked at; TLS wants some name all the same.
        let name = ServerName::try_from("nsfl").expect("'nsfl' is a valid DNS name");
        let tls = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.map_err(|error| {
            let tls = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
            tls.map(refusal_of).unwrap_or_else(|| lost(error))
        })?;
        let certificate = tls.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let certificate = certificate.ok_or_else(|| Refusal::new(Code::NoCertificate, "no server certificate"))?;
        let peer = PeerId::from_certificate(certificate)?;
        let trouble = Trouble::default();
        let channel = self.http2(Watched { tls, trouble: trouble.clone() }).await;
        let channel = channel.map_err(|error| {
            trouble.refusal().unwrap_or_else(|| Refusal::new(Code::LinkLost, format!("HTTP/2: {error}")))
        })?;
        let decode = wire_bytes(self.limits.payload_bytes.max(self.limits.chunk_bytes).max(1 << 20));
        let client = TransportClient::new(channel).max_decoding_message_size(decode);
        Ok(Dialled { calls: Arc::new(Grpc(client)), peer, trouble })
    }

    async fn http2(&self, stream: Watched) -> Result<Channel, tonic::transport::Error> {
        let mut once = Some(stream);
        let connector = tower::service_fn(move |_: Uri| {
            let stream = once.take().map(TokioIo::new);
            async move { stream.ok_or_else(|| io::Error::new(io::ErrorKind::NotConnected, "the connection has ended")) }
        });
        Endpoint::from_static("http://nsfl")
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(HTTP2_FRAME)
            .http2_keep_alive_interval(Duration::from_secs(15))
            .keep_alive_timeout(Duration::from_secs(15))
            .connect_with_connector(connector)
            .await
    }
}

/// The calls of an HTTP/2 connection.
struct Grpc(TransportClient<Channel>);

#[async_trait]
impl Calls for Grpc {
    async fn session(&self, outgoing: Outbound<Frame>) -> Result<Inbound<Frame>, Refusal> {
        let inbound = self.0.clone().session(Sent(outgoing)).await?.into_inner();
        Ok(inbound.map_err(Refusal::from).boxed())
    }

    async fn get(&self, request: GetRequest) -> Result<Inbound<Chunk>, Refusal> {
        let chunks = self.0.clone().get(request).await?.into_inner();
        Ok(chunks.map_err(Refusal::from).boxed())
    }

    async fn put(&self, chunks: Outbound<Chunk>) -> Result<PutReply, Refusal> {
        Ok(self.0.clone().put(Sent(chunks)).await?.into_inner())
    }

    async fn stat(&self, request: StatRequest) -> Result<StatReply, Refusal> {
        Ok(self.0.clone().stat(request).await?.into_inner())
    }
}

/// A named type for what is sent: with the bare trait object the compiler cannot show that the call may change threads.
struct Sent<T>(Outbound<T>);

impl<T> Stream for Sent<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.0.poll_next_unpin(cx)
    }
}

/// A TLS stream that remembers its last TLS error.
struct Watched {
    tls: TlsStream<TcpStream>,
    trouble: Trouble,
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.tls).poll_read(cx, buf);
        if let Poll::Ready(Err(error)) = &polled {
            self.trouble.note(error);
        }
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tls.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(cx)
    }
}
