//! Krum and Multi-Krum: the updates that lie closest to their neighbours (Blanchard et al. 2017, NeurIPS).
//!
//! Score: the sum of squared distances to the n − f − 2 nearest others. `krum` takes the update of the lowest score,
//! `multikrum` the plain mean of the m lowest; sample counts do not enter. n ≥ 2f + 3. Default: m = n − f. Equal scores are
//! decided by the members' ids. Distances come from inner products over all floating-point tensors. Keeps no state.

use super::{at_least, by_score};
use crate::{AggregateError, Combine, Inputs, Pass, Rule};

/// The rule's parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Krum {
    /// How many members may be Byzantine.
    pub f: usize,
    /// How many updates are averaged.
    pub take: Take,
}

/// How many updates are averaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Take {
    /// One: `krum`.
    One,
    /// m, at most n − f: `multikrum`.
    Some(usize),
    /// n − f: `multikrum` without m.
    AllButF,
}

impl Rule for Krum {
    fn name(&self) -> &'static str {
        if self.take == Take::One { "krum" } else { "multikrum" }
    }

    fn takes_all(&self) -> bool {
        false
    }

    fn pass(&self) -> Pass {
        Pass::Products
    }

    fn check(&self, members: usize) -> Result<(), AggregateError> {
        let f = self.f;
        at_least(self.name(), 2 * f + 3, members, || format!("n ≥ 2f + 3 with f = {f}"))?;
        match self.take {
            Take::Some(m) => at_least(self.name(), m + f, members, || format!("m ≤ n − f with m = {m}, f = {f}")),
            _ => Ok(()),
        }
    }

    fn combine(&self, inputs: &Inputs<'_>) -> Result<Combine, AggregateError> {
        let n = inputs.members();
        let take = match self.take {
            Take::One => 1,
            Take::Some(m) => m,
            Take::AllButF => n - self.f,
        };
        let all: Vec<usize> = (0..n).collect();
        Ok(Combine::mean_of(n, &by_score(inputs.geometry()?, &all, self.f)[..take]))
    }
}
