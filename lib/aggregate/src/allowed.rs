//! What numbers a parameter or a member's fact may be, and how to say so.

use std::fmt;

/// A range of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    /// Finite and above 0.
    Positive,
    /// Finite and at least 0.
    NotNegative,
    /// From 0 and below 1.
    Fraction,
    /// A whole number from 0.
    Whole,
    /// A whole number from 1.
    Count,
    /// A whole number from 1 to `MOST_ITERATIONS`: none that would never end.
    Iterations,
}

/// Of an iterative rule in one round.
const MOST_ITERATIONS: f64 = 100_000.0;

/// Whole numbers up to here are told apart in an `f64`, and no count comes near.
const MOST: f64 = 1e15;

impl Allowed {
    /// Whether `value` is one of them.
    #[must_use]
    pub fn holds(self, value: f64) -> bool {
        value.is_finite()
            && match self {
                Self::Positive => value > 0.0,
                Self::NotNegative => value >= 0.0,
                Self::Fraction => (0.0..1.0).contains(&value),
                Self::Whole => (0.0..=MOST).contains(&value) && value.fract() == 0.0,
                Self::Count => (1.0..=MOST).contains(&value) && value.fract() == 0.0,
                Self::Iterations => (1.0..=MOST_ITERATIONS).contains(&value) && value.fract() == 0.0,
            }
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Positive => "a finite number above 0",
            Self::NotNegative => "a finite number ≥ 0",
            Self::Fraction => "a number from 0 and below 1",
            Self::Whole => "an integer ≥ 0",
            Self::Count => "an integer ≥ 1",
            Self::Iterations => "an integer from 1 to 100000",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_not_finite_is_never_allowed() {
        use Allowed::{Count, Fraction, Iterations, NotNegative, Positive, Whole};
        for allowed in [Positive, NotNegative, Fraction, Whole, Count, Iterations] {
            assert!([f64::NAN, f64::INFINITY, -1.0].iter().all(|x| !allowed.holds(*x)), "{allowed}");
            assert_eq!(allowed.holds(0.0), matches!(allowed, NotNegative | Fraction | Whole), "{allowed}");
            assert_eq!(allowed.holds(1.0), allowed != Fraction, "{allowed}");
            assert_eq!(allowed.holds(0.5), !matches!(allowed, Whole | Count | Iterations), "{allowed}");
        }
    }
}
