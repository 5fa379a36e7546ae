//! The server process: a transport with a memory store that answers calls and counts tells, and beside it the bare
//! stream. Ends with its standard input.

use crate::{bare, dial};
use async_trait::async_trait;
use bytes::Bytes;
use nsfl_store::memory::MemoryBlobStore;
use nsfl_store::{BlobStore, BlobWriter, Owner};
use nsfl_transport::{
    BlobService, Delivery, Export, Limits, Link, LinkAcceptor, LinkError, LinkEvent, LinkEvents, Liveness, PeerId,
    Refusal, ServerConfig, serve,
};
use nsfl_types::{BlobRef, Code, Digest};
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Environment variable: this process is the server, and the certificates are in that folder.
pub(crate) const FOLDER: &str = "NSFL_LINK_BENCH_SERVER";
pub(crate) const EXPORT: u16 = 1;
/// A call that asks for the number of tells taken so far.
pub(crate) const COUNT: Bytes = Bytes::from_static(b"count");
/// A call that asks for the server's resident bytes.
pub(crate) const MEMORY: Bytes = Bytes::from_static(b"memory");
/// A call that asks how many bytes were handed to the link of the peer that stopped reading.
pub(crate) const FLOODED: Bytes = Bytes::from_static(b"flooded");

/// The process, as the client sees it.
pub(crate) struct Process {
    child: Child,
    pub(crate) link: SocketAddr,
    pub(crate) bare: SocketAddr,
}

impl Process {
    pub(crate) fn start(folder: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .env(FOLDER, folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut address = || lines.next().unwrap().unwrap().parse().unwrap();
        let (link, bare) = (address(), address());
        Self { child, link, bare }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }
}

pub(crate) async fn run(folder: &Path) {
    let credentials = dial::credentials(folder, "server");
    let gateway = Arc::new(Gateway { store: MemoryBlobStore::default(), counts: Arc::default() });
    let bare = bare::serve(&credentials).await;
    let (limits, liveness) = (Limits::default(), Liveness::default());
    let config = ServerConfig { listen: "127.0.0.1:0".parse().unwrap(), credentials, limits, liveness };
    let server = serve(config, gateway.clone(), gateway).await.unwrap();
    println!("{}\n{bare}", server.local_addr());
    let until_stdin_closes = || std::io::stdin().read(&mut [0; 1]);
    tokio::task::spawn_blocking(until_stdin_closes).await.unwrap().unwrap();
}

pub(crate) fn owner() -> Owner {
    Owner::new("bench").unwrap()
}

/// The number in an answer.
pub(crate) fn number(answer: &Bytes) -> u64 {
    u64::from_le_bytes(answer[..].try_into().unwrap())
}

#[derive(Default)]
struct Counts {
    tells: AtomicU64,
    flooded: AtomicU64,
}

struct Gateway {
    store: MemoryBlobStore,
    counts: Arc<Counts>,
}

#[async_trait]
impl LinkAcceptor for Gateway {
    fn exports(&self, _: &PeerId) -> Result<Vec<Export>, Refusal> {
        Ok(vec![Export { index: EXPORT, name: "bench".into(), version: 1 }])
    }

    async fn opened(&self, peer: PeerId, link: Link, events: LinkEvents) {
        let counts = Arc::clone(&self.counts);
        if peer.name.as_str() == "stopped" {
            tokio::spawn(flood(link, counts.clone()));
        }
        tokio::spawn(answer(events, counts));
    }

    fn refused(&self, _: Option<&PeerId>, _: SocketAddr, _: Code, _: &str) {}
}

async fn answer(mut events: LinkEvents, counts: Arc<Counts>) {
    while let Some(event) = events.recv().await {
        let LinkEvent::Message(mut message) = event else { continue };
        let payload = message.payload.clone();
        let reply = message.reply.take();
        message.done();
        let Some(reply) = reply else {
            counts.tells.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        let figure = |value: u64| Bytes::copy_from_slice(&value.to_le_bytes());
        let answered = reply.reply(match payload {
            p if p == COUNT => figure(counts.tells.load(Ordering::Relaxed)),
            p if p == FLOODED => figure(counts.flooded.load(Ordering::Relaxed)),
            p if p == MEMORY => figure(resident()),
            other => other,
        });
        answered.unwrap();
    }
}

/// Sends as fast as the link takes it, until it is closed.
async fn flood(link: Link, counts: Arc<Counts>) {
    let size = 64 << 10;
    loop {
        let payload = Bytes::from(vec![1; size]);
        match link.send(EXPORT, payload, Delivery::AtLeastOnce, Duration::from_secs(1)).await {
            Ok(()) => drop(counts.flooded.fetch_add(size as u64, Ordering::Relaxed)),
            Err(LinkError::Full | LinkError::Down) if link.stats().connected => {}
            Err(_) => return,
        }
    }
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}

#[async_trait]
impl BlobService for Gateway {
    async fn read(&self, _: &PeerId, digest: Digest) -> Result<Bytes, Refusal> {
        Ok(self.store.open(digest).await?)
    }

    async fn write(&self, peer: &PeerId, blob: BlobRef) -> Result<(Box<dyn BlobWriter>, Owner), Refusal> {
        Ok((self.store.begin(peer.name.as_str(), blob).await?, owner()))
    }

    async fn held(&self, peer: &PeerId, digest: Digest) -> Result<u64, Refusal> {
        Ok(self.store.held(peer.name.as_str(), digest).await?)
    }
}
