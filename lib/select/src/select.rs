//! The choice itself: those who fit, in order, as many as are wanted. The same candidates, in any order, with the
//! same seed give the same choice.

use crate::fit::{Candidate, Request, Unfit, unfit};
use nsfl_types::{ClientId, seed_for};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::fmt;

/// A client that does not fit, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeftOut {
    /// The client.
    pub client: ClientId,
    /// The first reason.
    pub reason: Unfit,
}

/// A choice. Shown to people as `2 of 3 clients: c4 lacks data set 'digits'`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Selection {
    /// The clients chosen, best first; fewer than wanted when too few fit.
    pub clients: Vec<ClientId>,
    /// How many were wanted.
    pub count: u32,
    /// Those who do not fit, sorted by name. Who fits and came too late in the order is not among them.
    pub left_out: Vec<LeftOut>,
}

const SHOWN_LEFT_OUT: usize = 5;

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} clients", self.clients.len(), self.count)?;
        for (i, LeftOut { client, reason }) in self.left_out.iter().take(SHOWN_LEFT_OUT).enumerate() {
            write!(f, "{} {client} {reason}", if i == 0 { ":" } else { ";" })?;
        }
        match self.left_out.len().saturating_sub(SHOWN_LEFT_OUT) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// Chooses `request.count` of the candidates, who have distinct names. `seed` decides only when drawing by lot.
#[must_use]
pub fn select(request: &Request, candidates: &[Candidate], seed: u64) -> Selection {
    let mut fit = Vec::new();
    let mut left_out = Vec::new();
    for candidate in candidates {
        match unfit(request, candidate) {
            None => fit.push(candidate),
            Some(reason) => left_out.push(LeftOut { client: candidate.client.clone(), reason }),
        }
    }
    let absent = request.only.iter().filter(|name| candidates.iter().all(|c| c.client != **name));
    left_out.extend(absent.map(|client| LeftOut { client: client.clone(), reason: Unfit::NotConnected }));
    left_out.sort_by(|a, b| a.client.cmp(&b.client));

    fit.sort_by_cached_key(|candidate| {
        let used = request.untrained_first && request.used.contains(&candidate.client);
        let rank = if request.random {
            Rank::Lot(seed_for(seed, &[candidate.client.as_str()]))
        } else {
            Rank::Score(Reverse(Total(score(request, candidate))))
        };
        (used, rank, candidate.client.clone())
    });
    let clients = fit.iter().take(request.count as usize).map(|c| c.client.clone()).collect();
    Selection { clients, count: request.count, left_out }
}

/// How well a candidate suits: ceil(samples / 32) for each requested data set, plus GPUs × 10, CPU cores × 1 and
/// memory in GB × 1.
#[must_use]
pub fn score(request: &Request, candidate: &Candidate) -> f64 {
    let samples = request.datasets.iter().filter_map(|name| candidate.datasets.get(name));
    #[allow(clippy::cast_precision_loss, reason = "a score, not a count")]
    let data: f64 = samples.map(|samples| samples.div_ceil(32) as f64).sum();
    let has = &candidate.resource;
    data + has.gpu * 10.0 + has.cpu + has.memory_mb / 1000.0
}

/// A lot is a hash of the client's name, so that who else is there does not move it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Lot(u64),
    Score(Reverse<Total>),
}

/// A float in its total order.
struct Total(f64);

impl PartialEq for Total {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Total {}

impl PartialOrd for Total {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Total {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}
