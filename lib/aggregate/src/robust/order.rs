//! Coordinate-wise median and trimmed mean (Yin et al. 2018, arXiv 1803.01498).
//!
//! Variants: the median of an even number is the mean of the middle two; the trimmed mean drops the f lowest and f highest
//! values of each coordinate, n ≥ 2f + 1. Sample counts do not enter. Neither keeps a state.

use super::at_least;
use crate::columns::{Columns, LANES, Values, mean};
use crate::{AggregateError, Combine, Inputs, Rule};
use std::sync::Arc;

/// The median.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Median;

impl Rule for Median {
    fn name(&self) -> &'static str {
        "median"
    }

    fn takes_all(&self) -> bool {
        false
    }

    fn combine(&self, inputs: &Inputs<'_>) -> Result<Combine, AggregateError> {
        Ok(Combine::Columns { members: (0..inputs.members()).collect(), each: Arc::new(Median) })
    }
}

impl Columns for Median {
    fn combine(&self, values: &Values<'_>) -> [f64; LANES] {
        let n = values.len();
        let high = values.row(n / 2);
        if n % 2 == 1 {
            return high;
        }
        let low = values.row(n / 2 - 1);
        std::array::from_fn(|lane| low[lane].midpoint(high[lane]))
    }
}

/// The trimmed mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrimmedMean {
    /// How many are dropped at each end.
    pub f: usize,
}

impl Rule for TrimmedMean {
    fn name(&self) -> &'static str {
        "trimmed_mean"
    }

    fn takes_all(&self) -> bool {
        false
    }

    fn check(&self, members: usize) -> Result<(), AggregateError> {
        at_least(Rule::name(self), 2 * self.f + 1, members, || format!("n ≥ 2f + 1 with f = {}", self.f))
    }

    fn combine(&self, inputs: &Inputs<'_>) -> Result<Combine, AggregateError> {
        Ok(Combine::Columns { members: (0..inputs.members()).collect(), each: Arc::new(*self) })
    }
}

impl Columns for TrimmedMean {
    fn combine(&self, values: &Values<'_>) -> [f64; LANES] {
        let kept = self.f..values.len() - self.f;
        let mut sums = [0.0; LANES];
        for row in kept.clone() {
            sums.iter_mut().zip(values.row(row)).for_each(|(sum, value)| *sum += value);
        }
        let count = crate::member::real(kept.len());
        let (low, high) = (values.row(kept.start), values.row(kept.end - 1));
        std::array::from_fn(|lane| {
            if sums[lane].is_finite() {
                // rounding does not leave the hull
                (sums[lane] / count).clamp(low[lane], high[lane])
            } else {
                mean(kept.clone().map(|row| values.at(row, lane)), kept.len())
            }
        })
    }
}
