//! Clipping of one sample's gradient: the bound on what a sample can do to a step, which differential privacy rests on.

/// A bound C on a gradient's Euclidean norm, over all tensors together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Clip(f64);

impl Clip {
    /// A bound that is finite and above 0; else none.
    #[must_use]
    pub fn new(bound: f64) -> Option<Self> {
        (bound.is_finite() && bound > 0.0).then_some(Self(bound))
    }

    /// C.
    #[must_use]
    pub fn bound(self) -> f64 {
        self.0
    }

    /// Adds g · min(1, C/‖g‖) to `sum`. Rounding does not break the bound, and a gradient that is not finite adds nothing.
    ///
    /// # Panics
    /// Slices of different lengths.
    #[allow(clippy::cast_possible_truncation, reason = "rounded to the precision of weights")]
    pub fn add(self, sample: &[f32], sum: &mut [f32]) {
        assert_eq!(sample.len(), sum.len(), "a gradient of this model");
        let norm = sample.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        if norm <= self.0 {
            sum.iter_mut().zip(sample).for_each(|(s, g)| *s += g);
        } else if norm.is_finite() {
            // more than what rounding to single precision may add
            let factor = self.0 / norm * (1.0 - f64::from(f32::EPSILON));
            sum.iter_mut().zip(sample).for_each(|(s, g)| *s += (f64::from(*g) * factor) as f32);
        }
    }
}
