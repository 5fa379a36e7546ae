//! A mean over seeds with its deviation.

use serde::Serialize;
use std::fmt;

/// Mean and sample standard deviation, written as `96.57 ± 0.32`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// The sample standard deviation; 0 of one value.
    pub sd: f64,
}

impl Spread {
    /// Of these values; not a number of none.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a number of seeds")]
    pub fn of(values: &[f64]) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Self { mean, sd: (squares / (count - 1.0).max(1.0)).sqrt() }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} ± {:.2}", self.mean, self.sd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deviation_is_the_samples_and_one_value_has_none() {
        assert_eq!(Spread::of(&[1.0, 2.0, 3.0]).to_string(), "2.00 ± 1.00");
        assert_eq!(Spread::of(&[96.5]).to_string(), "96.50 ± 0.00");
    }
}
