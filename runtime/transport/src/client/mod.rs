//! The dialling end: keeps one session with the server for as long as the link is open, over as many connections as it takes.

mod blobs;
mod dial;

pub use blobs::BlobClient;

use crate::handshake::{VERSIONS, credit_proto, exports_proto, liveness_of, terms};
use crate::limits::Limits;
use crate::link::{Export, Link, LinkEvents, Outgoing, Shared, keep, read};
use crate::proto::Hello;
use crate::proto::frame::Body;
use crate::proto::{Frame, Welcome};
use crate::{Credentials, Dial, Refusal};
use backon::{BackoffBuilder, ExponentialBuilder};
use bytes::Bytes;
use dial::Dialer;
use futures_util::StreamExt as _;
use nsfl_types::{ClientId, Code};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long to wait between two attempts: doubling from `first` to `max`, with jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Redial {
    /// After the first failure.
    pub first: Duration,
    /// At most; also after a refusal that will not go away by itself.
    pub max: Duration,
}

impl Default for Redial {
    fn default() -> Self {
        Self { first: Duration::from_millis(50), max: Duration::from_secs(5) }
    }
}

/// How a client reaches its server.
#[derive(Clone)]
pub struct ClientConfig {
    /// `host:port`.
    pub server: String,
    /// The client's certificate, key and authority.
    pub credentials: Credentials,
    /// The name this client believes to have; when given, the server compares it with the certificate's.
    pub claimed: Option<ClientId>,
    /// Which start of this process this is: larger than that of every earlier one (such as milliseconds since the epoch).
    pub incarnation: u64,
    /// What the server may address on this node.
    pub exports: Vec<Export>,
    /// Bounds.
    pub limits: Limits,
    /// Waits between attempts.
    pub redial: Redial,
}

/// Begins dialling in the background, for as long as the link is open. Call it within a tokio runtime.
#[must_use]
pub fn connect(config: ClientConfig) -> (Link, LinkEvents, BlobClient) {
    let dialer = Dialer::grpc(config.server.clone(), config.credentials.clone(), config.limits);
    keep_dialling(dialer, config)
}

/// The same over another carrier: `config.server` and the credentials are not used.
#[must_use]
pub fn connect_over(dial: Arc<dyn Dial>, config: ClientConfig) -> (Link, LinkEvents, BlobClient) {
    keep_dialling(Dialer::carried(dial, config.limits), config)
}

fn keep_dialling(dialer: Dialer, config: ClientConfig) -> (Link, LinkEvents, BlobClient) {
    let observer = Box::new(|refusal: &Refusal| {
        tracing::warn!(code = %refusal.code, reason = %refusal.reason, "frame from the server refused");
    });
    let (shared, receiver) = Shared::new(config.limits, config.exports.clone().into(), false, observer);
    let blobs = BlobClient::new(dialer.clone(), config.limits, config.redial);
    tokio::spawn(keep(Arc::clone(&shared)));
    tokio::spawn(stay_connected(Arc::clone(&shared), dialer, config));
    (Link::new(Arc::clone(&shared)), LinkEvents::new(receiver, shared), blobs)
}

/// What the last welcome gave, to resume with.
#[derive(Default)]
struct Resumption {
    session: u64,
    token: Bytes,
}

async fn stay_connected(shared: Arc<Shared>, dialer: Dialer, config: ClientConfig) {
    let mut resumption = Resumption::default();
    let mut waits = backoff(config.redial);
    let mut dial = 0;
    loop {
        dial += 1;
        let mut connected_at = None;
        let run = run_connection(&shared, &dialer, &config, dial, &mut resumption, &mut connected_at);
        let ended = tokio::select! {
            biased;
            ended = run => ended,
            () = closed_for(&shared, Duration::from_secs(3)) => return,
        };
        if shared.is_closed() {
            return;
        }
        // A connection that held for a while was a good one: start over with short waits.
        if connected_at.is_some_and(|at: Instant| at.elapsed() >= config.redial.max) {
            waits = backoff(config.redial);
        }
        let fatal = ended.is_fatal() || ended.code == Code::Stale;
        if fatal {
            tracing::error!(server = %config.server, code = %ended.code, reason = %ended.reason, "server refuses this client");
            shared.turned_away(ended);
        } else {
            tracing::info!(server = %config.server, code = %ended.code, reason = %ended.reason, "connection ended, dialling again");
        }
        let wait = if fatal { config.redial.max } else { waits.next().unwrap_or(config.redial.max) };
        tokio::select! {
            biased;
            () = shared.closed().cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// One connection from dial to end; says what ended it.
async fn run_connection(
    shared: &Arc<Shared>,
    dialer: &Dialer,
    config: &ClientConfig,
    dial: u64,
    resumption: &mut Resumption,
    connected_at: &mut Option<Instant>,
) -> Refusal {
    let dialled = match dialer.dial().await {
        Ok(dialled) => dialled,
        Err(refusal) => return refusal,
    };
    let resumes = shared.resumable();
    let (connection, credit, received) = shared.open();
    let hello = Hello {
        min_version: *VERSIONS.start(),
        max_version: *VERSIONS.end(),
        incarnation: config.incarnation,
        dial,
        session: if resumes { resumption.session } else { 0 },
        token: if resumes { resumption.token.clone() } else { Bytes::new() },
        received,
        credit: Some(credit_proto(credit, &config.limits)),
        exports: exports_proto(&config.exports),
        claimed: config.claimed.as_ref().map(ToString::to_string).unwrap_or_default(),
    };
    let outgoing = Outgoing::new(Arc::clone(shared), Arc::clone(&connection), Body::Hello(Box::new(hello)));
    let greeting = async {
        let mut inbound = dialled.calls.session(outgoing.boxed()).await?;
        match inbound.next().await.transpose()? {
            Some(Frame { body: Some(Body::Welcome(welcome)), .. }) => Ok((inbound, *welcome)),
            _ => Err(Refusal::new(Code::BadFrame, "the server's first frame is not a welcome")),
        }
    };
    let greeted = tokio::time::timeout(config.limits.handshake, greeting).await;
    let (inbound, welcome) = match greeted {
        Ok(Ok(greeted)) => greeted,
        Ok(Err(refusal)) => return dialled.trouble.refusal().unwrap_or(refusal),
        Err(_) => return Refusal::new(Code::Timeout, "no welcome in time"),
    };
    let Welcome { resumed, received, session, .. } = welcome;
    let known = std::mem::take(resumption);
    if !VERSIONS.contains(&welcome.version) || (resumed && (known.session != session || !resumes)) {
        return Refusal::new(Code::BadVersion, "the server's welcome does not fit the hello");
    }
    if resumed && !shared.can_resume(received) {
        return Refusal::new(Code::LinkLost, "the session cannot be resumed");
    }
    let liveness = liveness_of(&welcome);
    let agreed = match terms(dialled.peer, welcome.exports, welcome.credit, liveness) {
        Ok(agreed) => agreed,
        Err(refusal) => return refusal,
    };
    if !shared.attach(&connection, resumed.then_some(received), agreed) {
        return Refusal::new(Code::LinkLost, "the session ended meanwhile");
    }
    *resumption = Resumption { session, token: welcome.token };
    *connected_at = Some(Instant::now());
    read(shared, &connection, inbound).await
}

/// Ends this long after the link was closed: time for the farewell to leave.
async fn closed_for(shared: &Shared, linger: Duration) {
    shared.closed().cancelled().await;
    tokio::time::sleep(linger).await;
}

fn backoff(redial: Redial) -> impl Iterator<Item = Duration> + Send {
    ExponentialBuilder::default()
        .with_min_delay(redial.first)
        .with_max_delay(redial.max)
        .with_jitter()
        .without_max_times()
        .build()
}
