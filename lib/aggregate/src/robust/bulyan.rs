//! Bulyan: Krum θ = n − 2f times, each time without those taken, and then by coordinate the mean of the θ − 2f values
//! nearest the median of the taken (El Mhamdi et al. 2018, arXiv 1802.07927).
//!
//! Variant: scores are made anew after each removal, among those left, with (left − f − 2) neighbours and never fewer than
//! one. The median of an even number is the mean of the middle two; of two values equally far from it the lower stays.
//! n ≥ 4f + 3. Sample counts do not enter. Keeps no state.

use super::{at_least, by_score};
use crate::columns::{Columns, LANES, Values, mean};
use crate::{AggregateError, Combine, Inputs, Pass, Rule};
use std::sync::Arc;

/// The rule's parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bulyan {
    /// How many members may be Byzantine.
    pub f: usize,
}

impl Rule for Bulyan {
    fn name(&self) -> &'static str {
        "bulyan"
    }

    fn pass(&self) -> Pass {
        Pass::Products
    }

    fn check(&self, members: usize) -> Result<(), AggregateError> {
        at_least(self.name(), 4 * self.f + 3, members, || format!("n ≥ 4f + 3 with f = {}", self.f))
    }

    fn combine(&self, inputs: &Inputs<'_>) -> Result<Combine, AggregateError> {
        let geometry = inputs.geometry()?;
        let mut left: Vec<usize> = (0..inputs.members()).collect();
        let mut members = Vec::new();
        while members.len() < inputs.members() - 2 * self.f {
            let best = by_score(geometry, &left, self.f)[0];
            left.retain(|member| *member != best);
            members.push(best);
        }
        members.sort_unstable();
        let keep = members.len() - 2 * self.f;
        Ok(Combine::Columns { members, each: Arc::new(NearestMedian { keep }) })
    }
}

/// The mean of the values nearest the median.
#[derive(Debug)]
struct NearestMedian {
    keep: usize,
}

impl Columns for NearestMedian {
    fn combine(&self, values: &Values<'_>) -> [f64; LANES] {
        let n = values.len();
        let (low, high) = (values.row((n - 1) / 2), values.row(n / 2));
        std::array::from_fn(|lane| {
            let median = low[lane].midpoint(high[lane]);
            // the nearest are neighbours in the sorted column: drop the farther end until enough are dropped
            let (mut first, mut last) = (0, n - 1);
            while last - first + 1 > self.keep {
                let (below, above) = (median - values.at(first, lane), values.at(last, lane) - median);
                if below > above { first += 1 } else { last -= 1 }
            }
            mean((first..=last).map(|row| values.at(row, lane)), last - first + 1)
        })
    }
}
