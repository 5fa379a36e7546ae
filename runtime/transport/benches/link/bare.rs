//! What is measured against: a bidirectional gRPC stream with mutual TLS that sends each frame back. No sessions, no
//! flow control but HTTP/2's.

use crate::{PAYLOAD, at, dial};
use nsfl_transport::proto::frame::Body;
use nsfl_transport::proto::transport_server::{Transport, TransportServer};
use nsfl_transport::proto::{Ask, Chunk, Frame, GetRequest, PutReply, StatReply, StatRequest};
use nsfl_transport::{CONNECTION_WINDOW, Credentials, HTTP2_FRAME, STREAM_WINDOW};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status, Streaming};

const QUEUE: usize = 1024;

/// The client's end.
pub(crate) struct Stream {
    out: mpsc::Sender<Frame>,
    back: Streaming<Frame>,
}

impl Stream {
    pub(crate) async fn open(folder: &Path, server: SocketAddr) -> Self {
        let (out, queue) = mpsc::channel(QUEUE);
        let mut client = dial::grpc(folder, "bare", server).await;
        let back = client.session(ReceiverStream::new(queue)).await.unwrap().into_inner();
        Self { out, back }
    }

    /// Calls a second with so many under way.
    pub(crate) async fn calls(&mut self, count: usize, in_flight: usize) -> f64 {
        let began = Instant::now();
        for _ in 0..in_flight {
            self.out.send(frame()).await.unwrap();
        }
        for answered in 0..count {
            self.back.message().await.unwrap().unwrap();
            if answered + in_flight < count {
                self.out.send(frame()).await.unwrap();
            }
        }
        count as f64 / began.elapsed().as_secs_f64()
    }

    pub(crate) async fn latency(&mut self) -> String {
        let mut all = Vec::new();
        for _ in 0..5000 {
            let began = Instant::now();
            self.calls(1, 1).await;
            all.push(began.elapsed().as_micros());
        }
        all.sort_unstable();
        format!("p50 {} p99 {}", at(&all, 50), at(&all, 99))
    }
}

fn frame() -> Frame {
    let ask = Ask { export: 1, payload: PAYLOAD, correlation: 9, timeout_ms: 20_000 };
    Frame { body: Some(Body::Ask(ask)), ..Frame::default() }
}

/// Listens on loopback.
pub(crate) async fn serve(credentials: &Credentials) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(credentials.server_config().unwrap()));
    let incoming = futures_util::stream::unfold((listener, acceptor), |(listener, acceptor)| async move {
        let accepted = async {
            let (tcp, _) = listener.accept().await?;
            tcp.set_nodelay(true)?;
            acceptor.accept(tcp).await
        };
        let stream: io::Result<TlsStream<TcpStream>> = accepted.await;
        Some((stream.map(Accepted), (listener, acceptor)))
    });
    let builder = tonic::transport::Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(HTTP2_FRAME);
    tokio::spawn(builder.serve_with_incoming(TransportServer::new(Echo), incoming));
    address
}

/// tonic asks what it was accepted on.
struct Accepted(TlsStream<TcpStream>);

impl Connected for Accepted {
    type ConnectInfo = ();
    fn connect_info(&self) {}
}

impl AsyncRead for Accepted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

struct Echo;

type Answers<T> = Pin<Box<dyn futures_util::Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Transport for Echo {
    type SessionStream = Answers<Frame>;
    type GetStream = Answers<Chunk>;

    async fn session(&self, request: Request<Streaming<Frame>>) -> Result<Response<Answers<Frame>>, Status> {
        let mut frames = request.into_inner();
        let (sender, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            while let Ok(Some(frame)) = frames.message().await {
                if sender.send(Ok(frame)).await.is_err() {
                    return;
                }
            }
        });
        let answers = ReceiverStream::new(receiver);
        Ok(Response::new(Box::pin(answers)))
    }

    async fn put(&self, _: Request<Streaming<Chunk>>) -> Result<Response<PutReply>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    async fn get(&self, _: Request<GetRequest>) -> Result<Response<Answers<Chunk>>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    async fn stat(&self, _: Request<StatRequest>) -> Result<Response<StatReply>, Status> {
        Err(Status::unimplemented("not measured"))
    }
}
