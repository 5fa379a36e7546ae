//! FedNova: x − τ_eff Σ pᵢdᵢ with dᵢ = (x − yᵢ)/‖aᵢ‖₁ and τ_eff = Σ pᵢ‖aᵢ‖₁ (Wang et al. 2020, arXiv 2007.07481).
//!
//! Variant: the normalised average with τ_eff as in the paper's experiments. ‖a‖₁ is K for plain SGD, for momentum ρ
//! (K − ρ(1−ρ^K)/(1−ρ))/(1−ρ), and for a proximal term μ with α = η_l·μ (1−(1−α)^K)/α; both at once are not offered.
//! Each member reports `local_steps`, and where it uses them `momentum`, or `mu` with `local_learning_rate`. Keeps no state.

use crate::member::ordered_sum;
use crate::{AggregateError, Combine, Fact, Inputs, Rule};
use nsfl_types::Metrics;

const NAME: &str = "fednova";

/// The rule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FedNova;

impl Rule for FedNova {
    fn name(&self) -> &'static str {
        NAME
    }

    fn facts(&self) -> Vec<Fact> {
        vec![Fact::LOCAL_STEPS, Fact::MOMENTUM, Fact::MU, Fact::LOCAL_LEARNING_RATE]
    }

    fn combine(&self, inputs: &Inputs<'_>) -> Result<Combine, AggregateError> {
        let lengths: Vec<f64> = inputs.numbers.iter().map(|numbers| length(numbers)).collect::<Result<_, _>>()?;
        let weights: Vec<f64> = inputs.weights.iter().zip(&lengths).map(|(w, a)| w / a).collect();
        let products: Vec<f64> = inputs.weights.iter().zip(&lengths).map(|(w, a)| w * a).collect();
        let total = ordered_sum(inputs.weights);
        Ok(Combine::Sum { weights, times: ordered_sum(&products) / total, over: total, previous: 0.0 })
    }
}

/// ‖a‖₁ of a member.
fn length(numbers: &Metrics) -> Result<f64, AggregateError> {
    let steps = Fact::LOCAL_STEPS.of(NAME, numbers)?.unwrap_or(1.0);
    let momentum = Fact::MOMENTUM.of(NAME, numbers)?.unwrap_or(0.0);
    let mu = Fact::MU.of(NAME, numbers)?.unwrap_or(0.0);
    if mu > 0.0 {
        let rate = Fact::LOCAL_LEARNING_RATE.demanded().of(NAME, numbers)?.unwrap_or(0.0);
        let alpha = rate * mu;
        let bad = |fact, value, allowed: &str| {
            Err(AggregateError::BadFact { rule: NAME, fact, value, allowed: allowed.to_owned() })
        };
        if momentum > 0.0 {
            return bad("momentum", momentum, "0 together with the metric 'mu'");
        }
        if alpha >= 1.0 {
            return bad("mu", mu, "a number below 1 / local_learning_rate");
        }
        // −expm1(K·ln(1−α)) = 1 − (1−α)^K, also for small α
        return Ok(-f64::exp_m1(steps * f64::ln_1p(-alpha)) / alpha);
    }
    let rest = 1.0 - momentum;
    Ok((steps - momentum * (1.0 - momentum.powf(steps)) / rest) / rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(numbers: &[(&str, f64)]) -> Result<f64, AggregateError> {
        length(&Metrics(numbers.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()))
    }

    /// Each step's gradient counts what later steps make of it.
    #[test]
    fn lengths_are_the_sums_of_what_each_step_counts() {
        assert_eq!(of(&[("local_steps", 5.0)]), Ok(5.0));
        let momentum: f64 = (0..5).map(|k| (0..=k).map(|j| 0.9_f64.powi(j)).sum::<f64>()).sum();
        assert!((of(&[("local_steps", 5.0), ("momentum", 0.9)]).unwrap() - momentum).abs() < 1e-12);
        let prox: f64 = (0..5).map(|k| 0.98_f64.powi(k)).sum();
        let found = of(&[("local_steps", 5.0), ("mu", 0.2), ("local_learning_rate", 0.1)]).unwrap();
        assert!((found - prox).abs() < 1e-12);
    }

    #[test]
    fn what_does_not_fit_together_is_refused_by_the_metrics_name() {
        let says = |numbers: &[(&str, f64)]| of(numbers).unwrap_err().to_string();
        assert!(says(&[]).contains("'local_steps'"));
        assert!(says(&[("local_steps", 2.0), ("mu", 0.1)]).contains("'local_learning_rate'"));
        assert!(says(&[("local_steps", 2.0), ("mu", 0.1), ("local_learning_rate", 10.0)]).contains("'mu' is 0.1"));
        let both = [("local_steps", 2.0), ("mu", 0.1), ("local_learning_rate", 0.1), ("momentum", 0.9)];
        assert!(says(&both).contains("'momentum' is 0.9"));
    }
}
