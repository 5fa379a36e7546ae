//! The accept loop: TCP, TLS, identity. What fails is told by its kind; nothing unauthenticated gets further.

use super::LinkAcceptor;
use crate::limits::Limits;
use crate::tls::refusal_of;
use crate::{PeerId, Refusal};
use nsfl_types::Code;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct PeerInfo {
    pub(super) peer: Arc<PeerId>,
    pub(super) remote: SocketAddr,
}

/// An authenticated connection.
pub(super) struct PeerStream {
    tls: TlsStream<TcpStream>,
    info: PeerInfo,
    _slot: Slot,
}

/// Starts accepting; what comes out has shown a certificate of this federation.
pub(super) fn listen(
    listener: TcpListener,
    tls: rustls::ServerConfig,
    limits: Limits,
    acceptor: Arc<dyn LinkAcceptor>,
    stop: CancellationToken,
) -> ReceiverStream<io::Result<PeerStream>> {
    let (sender, receiver) = mpsc::channel(16);
    let gate = Arc::new(Gate {
        tls: TlsAcceptor::from(Arc::new(tls)),
        all: Arc::new(Semaphore::new(limits.connections)),
        per_peer: Arc::default(),
        limits,
    });
    tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let (tcp, remote) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Such as too many open files: others may close some.
                    tracing::warn!(error = %error, "accept failed");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let Ok(permit) = Arc::clone(&gate.all).try_acquire_owned() else {
                acceptor.refused(None, remote, Code::Busy, "too many connections");
                continue;
            };
            let (gate, acceptor, sender) = (Arc::clone(&gate), Arc::clone(&acceptor), sender.clone());
            tokio::spawn(async move {
                match gate.admit(tcp, remote, permit).await {
                    // The server may have stopped meanwhile.
                    Ok(stream) => drop(sender.send(Ok(stream)).await),
                    Err((peer, refusal)) => acceptor.refused(peer.as_ref(), remote, refusal.code, &refusal.reason),
                }
            });
        }
    });
    ReceiverStream::new(receiver)
}

struct Gate {
    tls: TlsAcceptor,
    all: Arc<Semaphore>,
    per_peer: Arc<Mutex<HashMap<PeerId, usize>>>,
    limits: Limits,
}

impl Gate {
    async fn admit(
        &self,
        tcp: TcpStream,
        remote: SocketAddr,
        permit: OwnedSemaphorePermit,
    ) -> Result<PeerStream, (Option<PeerId>, Refusal)> {
        let anonymous = |refusal| (None, refusal);
        // Without it small frames wait for the other side's delayed acks; a socket that refuses is gone.
        tcp.set_nodelay(true).map_err(|e| anonymous(Refusal::new(Code::LinkLost, e.to_string())))?;
        let tls = tokio::time::timeout(self.limits.handshake, self.tls.accept(tcp))
            .await
            .map_err(|_| anonymous(Refusal::new(Code::Timeout, "no TLS handshake in time")))?
            .map_err(|error| anonymous(refusal_of_io(&error)))?;
        let certificate = tls.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let certificate = certificate.ok_or_else(|| anonymous(Refusal::new(Code::NoCertificate, "no certificate")))?;
        let peer = PeerId::from_certificate(certificate).map_err(anonymous)?;
        let slot = self.slot(&peer, permit).map_err(|refusal| (Some(peer.clone()), refusal))?;
        Ok(PeerStream { tls, info: PeerInfo { peer: Arc::new(peer), remote }, _slot: slot })
    }

    fn slot(&self, peer: &PeerId, permit: OwnedSemaphorePermit) -> Result<Slot, Refusal> {
        let mut counts = self.per_peer.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(peer.clone()).or_default();
        if *count >= self.limits.connections_per_peer {
            return Err(Refusal::new(Code::Busy, "too many connections of this identity"));
        }
        *count += 1;
        Ok(Slot { peer: peer.clone(), per_peer: Arc::clone(&self.per_peer), _permit: permit })
    }
}

/// Counts a connection for as long as it lives.
struct Slot {
    peer: PeerId,
    per_peer: Arc<Mutex<HashMap<PeerId, usize>>>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut counts = self.per_peer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.peer);
            }
        }
    }
}

/// The refusal behind an IO error of a TLS handshake.
fn refusal_of_io(error: &io::Error) -> Refusal {
    match error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>()) {
        Some(tls) => refusal_of(tls),
        None => Refusal::new(Code::LinkLost, format!("connection ended in the TLS handshake: {error}")),
    }
}

impl Connected for PeerStream {
    type ConnectInfo = PeerInfo;
    fn connect_info(&self) -> PeerInfo {
        self.info.clone()
    }
}

impl AsyncRead for PeerStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_read(cx, buf)
    }
}

impl AsyncWrite for PeerStream {
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
