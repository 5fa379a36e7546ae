//! Hello and Welcome: what they say, and the checks of what they may say.

use crate::limits::{Limits, Liveness};
use crate::link::{Export, PeerTerms};
use crate::proto::{self, Hello, Welcome};
use crate::session::Credit;
use crate::{PeerId, Refusal};
use nsfl_types::Code;
use std::sync::Arc;
use std::time::Duration;

/// Transport protocol versions spoken here.
pub const VERSIONS: std::ops::RangeInclusive<u32> = 1..=1;

const MAX_EXPORTS: usize = 256;
const MAX_NAME: usize = 128;

/// The highest version both speak.
pub(crate) fn agree(hello: &Hello) -> Result<u32, Refusal> {
    let (low, high) = (hello.min_version.max(*VERSIONS.start()), hello.max_version.min(*VERSIONS.end()));
    if low <= high {
        return Ok(high);
    }
    let reason = format!(
        "this node speaks transport versions {} to {}, the peer {} to {}",
        VERSIONS.start(),
        VERSIONS.end(),
        hello.min_version,
        hello.max_version
    );
    Err(Refusal::new(Code::BadVersion, reason))
}

/// The name a client believes to have must be its certificate's.
pub(crate) fn check_claim(hello: &Hello, peer: &PeerId) -> Result<(), Refusal> {
    if hello.claimed.is_empty() || hello.claimed == peer.name.as_str() {
        return Ok(());
    }
    let claimed: String = hello.claimed.chars().take(MAX_NAME).collect();
    Err(Refusal::new(Code::WrongIdentity, format!("claimed to be '{claimed}', the certificate says {peer}")))
}

/// What a hello or welcome says about its sender.
pub(crate) fn terms(
    peer: PeerId,
    exports: Vec<proto::Export>,
    credit: Option<proto::Credit>,
    liveness: Liveness,
) -> Result<PeerTerms, Refusal> {
    let bad = |reason: &str| Refusal::new(Code::BadFrame, reason);
    let credit = credit.ok_or_else(|| bad("no credit was given"))?;
    if exports.len() > MAX_EXPORTS {
        return Err(bad("too many exports"));
    }
    let exports: Option<Arc<[Export]>> = exports.into_iter().map(export_of).collect();
    Ok(PeerTerms {
        peer,
        exports: exports.ok_or_else(|| bad("an export that cannot be"))?,
        credit: Credit { messages: credit.messages, bytes: credit.bytes },
        payload_bytes: credit.payload_bytes as usize,
        liveness,
    })
}

/// The server's liveness, as the client must keep it.
pub(crate) fn liveness_of(welcome: &Welcome) -> Liveness {
    let at_least = |ms: u32, least: u64| Duration::from_millis(u64::from(ms).max(least));
    Liveness {
        heartbeat: at_least(welcome.heartbeat_ms, 10),
        unreachable: at_least(welcome.unreachable_ms, 20),
        ttl: at_least(welcome.ttl_ms, 30),
    }
}

pub(crate) fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

pub(crate) fn credit_proto(credit: Credit, limits: &Limits) -> proto::Credit {
    let payload_bytes = u32::try_from(limits.payload_bytes).unwrap_or(u32::MAX);
    proto::Credit { messages: credit.messages, bytes: credit.bytes, payload_bytes }
}

pub(crate) fn exports_proto(exports: &[Export]) -> Vec<proto::Export> {
    let one = |e: &Export| proto::Export { index: e.index.into(), name: e.name.clone(), version: e.version.into() };
    exports.iter().map(one).collect()
}

fn export_of(export: proto::Export) -> Option<Export> {
    let (index, version) = (u16::try_from(export.index).ok()?, u16::try_from(export.version).ok()?);
    (export.name.len() <= MAX_NAME).then_some(Export { index, name: export.name, version })
}
