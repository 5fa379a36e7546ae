//! Rules that bound what a few members can do, whatever they send. All need to see the updates together.

use crate::{AggregateError, Geometry};

pub(crate) mod bulyan;
pub(crate) mod centered_clipping;
pub(crate) mod geometric_median;
pub(crate) mod krum;
pub(crate) mod network;
pub(crate) mod order;

/// Refuses fewer members than `least`; `condition` says why.
pub(crate) fn at_least(
    rule: &'static str,
    least: usize,
    members: usize,
    condition: impl FnOnce() -> String,
) -> Result<(), AggregateError> {
    if members == 0 {
        Err(AggregateError::NoMembers)
    } else if members < least {
        Err(AggregateError::TooFew { rule, least, condition: condition(), members })
    } else {
        Ok(())
    }
}

/// Members with the sum of squared distances to the `among − f − 2` nearest others of `among`, lowest first. Equal sums are
/// in the order of the members. At least one neighbour counts, if there is one.
pub(crate) fn by_score(geometry: &Geometry, among: &[usize], f: usize) -> Vec<usize> {
    let neighbours = among.len().saturating_sub(f + 2).max(1).min(among.len().saturating_sub(1));
    let mut distances = Vec::with_capacity(among.len());
    let mut scored: Vec<(f64, usize)> = Vec::with_capacity(among.len());
    for a in among {
        distances.clear();
        distances.extend(among.iter().filter(|b| *b != a).map(|b| geometry.squared_distance(*a, *b)));
        distances.sort_by(f64::total_cmp);
        scored.push((distances[..neighbours].iter().sum(), *a));
    }
    scored.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    scored.into_iter().map(|(_, member)| member).collect()
}
