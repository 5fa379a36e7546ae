//! Bulyan: Krum θ = n − 2f times, each time without those taken, and then by coordinate the mean of the θ − 2f values
//! nearest the median of the taken (El Mhamdi et al. 2018, arXiv 1802.07927).
//!
//! Variant: scores are made anew after each removal, among those left, with (left − f − 2) neighbours and never fewer than
//! one. The median of an even number is the mean of the middle two; of two values equally far from it the lower stays.
//! n ≥ 4f + 3. Sample counts do not enter. Keeps no state.

use super::{at_least, by_score};
use crate::columns::{Columns, LANES, Values};
use crate::member::real;
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

    fn takes_all(&self) -> bool {
        false
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
    /// The nearest are neighbours in the sorted column: a window that begins at the first row and moves on by one row for
    /// each that is farther from the median than the row it would take up instead.
    fn combine(&self, values: &Values<'_>) -> [f64; LANES] {
        let (n, keep) = (values.len(), self.keep);
        let (low, high) = (values.row((n - 1) / 2), values.row(n / 2));
        let medians: [f64; LANES] = std::array::from_fn(|lane| low[lane].midpoint(high[lane]));
        let moves = |row: usize| -> [bool; LANES] {
            let (out, into) = (values.row(row), values.row(row + keep));
            std::array::from_fn(|lane| medians[lane] - out[lane] > into[lane] - medians[lane])
        };
        let mut sums = [0.0; LANES];
        let (mut first, mut last) = ([f64::INFINITY; LANES], [f64::NEG_INFINITY; LANES]);
        for row in 0..n {
            let came = if row < keep { [true; LANES] } else { moves(row - keep) };
            let left = if row + keep < n { moves(row) } else { [false; LANES] };
            let own = values.row(row);
            for lane in 0..LANES {
                let stays = came[lane] & !left[lane];
                sums[lane] += if stays { own[lane] } else { 0.0 };
                first[lane] = if stays & (own[lane] < first[lane]) { own[lane] } else { first[lane] };
                last[lane] = if stays & (own[lane] > last[lane]) { own[lane] } else { last[lane] };
            }
        }
        let count = real(keep);
        // rounding does not leave the window, and neither does a sum beyond the range
        std::array::from_fn(|lane| (sums[lane] / count).clamp(first[lane], last[lane]))
    }
}
