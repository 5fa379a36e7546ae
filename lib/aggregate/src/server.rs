//! Server optimizers: how the pseudo-gradient Δ of a round moves the model, and what is kept for the next round.

use crate::state::Slot;
use crate::{AggregateError, member::real};

/// A server optimizer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Server {
    /// x + ηΔ. Keeps nothing.
    Sgd {
        /// η.
        learning_rate: f64,
    },
    /// FedAvgM: v = βv − Δ; x − ηv (Hsu et al. 2019, arXiv 1909.06335). With `nesterov`: x − η(βv − Δ). Defaults: β 0.9, η 1,
    /// v 0 before the first round. Keeps v.
    Momentum {
        /// η.
        learning_rate: f64,
        /// β.
        beta: f64,
        /// One step ahead.
        nesterov: bool,
    },
    /// FedAdagrad, FedYogi, FedAdam: m = β1 m + (1−β1)Δ; x + η m/(√v + τ) (Reddi et al. 2021, arXiv 2003.00295). Variant: no
    /// bias correction, v τ² before the first round. Defaults: β1 0.9, β2 0.99, τ 1e-3, η 1. Keeps m and v.
    Adaptive {
        /// Which.
        kind: Adaptive,
        /// η.
        learning_rate: f64,
        /// β1.
        beta1: f64,
        /// β2; not used by FedAdagrad.
        beta2: f64,
        /// τ.
        tau: f64,
    },
    /// FedDyn: h − α/N Σ Δᵢ; mean y − h/α (Acar et al. 2021, arXiv 2111.04263). Δ is the plain mean over m members, so that
    /// Σ Δᵢ is mΔ. Default: α 0.01, h 0 before the first round. Keeps h.
    Dyn {
        /// α.
        alpha: f64,
    },
}

/// How v grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adaptive {
    /// v + Δ².
    Adagrad,
    /// v − (1−β2)Δ² sign(v−Δ²).
    Yogi,
    /// β2 v + (1−β2)Δ².
    Adam,
}

impl Server {
    /// What is kept for each weight.
    #[must_use]
    pub fn slots(&self) -> Vec<Slot> {
        let slot = |name, initial| Slot { name, initial };
        match self {
            Self::Sgd { .. } => vec![],
            Self::Momentum { .. } => vec![slot("fedavgm.v", 0.0)],
            Self::Adaptive { kind, tau, .. } => {
                let (m, v) = match kind {
                    Adaptive::Adagrad => ("fedadagrad.m", "fedadagrad.v"),
                    Adaptive::Yogi => ("fedyogi.m", "fedyogi.v"),
                    Adaptive::Adam => ("fedadam.m", "fedadam.v"),
                };
                vec![slot(m, 0.0), slot(v, tau * tau)]
            }
            Self::Dyn { .. } => vec![slot("feddyn.h", 0.0)],
        }
    }

    pub(crate) fn check(&self) -> Result<(), AggregateError> {
        match *self {
            Self::Sgd { learning_rate }
            | Self::Momentum { learning_rate, .. }
            | Self::Adaptive { learning_rate, .. }
                if !(learning_rate.is_finite() && learning_rate > 0.0) =>
            {
                Err(AggregateError::BadLearningRate(learning_rate))
            }
            _ => Ok(()),
        }
    }

    /// η for a tensor that is only added to: all that `Sgd` is.
    pub(crate) fn plain_rate(&self) -> Option<f64> {
        if let Self::Sgd { learning_rate } = self { Some(*learning_rate) } else { None }
    }

    /// Moves `x` and the slots, all of one block. `members` of `clients` made Δ.
    pub(crate) fn step(
        &self,
        (members, clients): (usize, usize),
        delta: &[f64],
        x: &mut [f64],
        slots: &mut [Vec<f64>],
    ) {
        match (*self, slots) {
            (Self::Sgd { learning_rate }, _) => {
                x.iter_mut().zip(delta).for_each(|(x, d)| *x += learning_rate * d);
            }
            (Self::Momentum { learning_rate, beta, nesterov }, [v, ..]) => {
                for ((x, d), v) in x.iter_mut().zip(delta).zip(v) {
                    *v = beta * *v - d;
                    *x -= learning_rate * if nesterov { beta * *v - d } else { *v };
                }
            }
            (Self::Adaptive { kind, learning_rate, beta1, beta2, tau }, [m, v, ..]) => {
                for (((x, d), m), v) in x.iter_mut().zip(delta).zip(m).zip(v) {
                    *m = beta1 * *m + (1.0 - beta1) * d;
                    let square = d * d;
                    *v = match kind {
                        Adaptive::Adagrad => *v + square,
                        Adaptive::Yogi => *v - (1.0 - beta2) * square * sign(*v - square),
                        Adaptive::Adam => beta2 * *v + (1.0 - beta2) * square,
                    };
                    *x += learning_rate * *m / (v.sqrt() + tau);
                }
            }
            (Self::Dyn { alpha }, [h, ..]) => {
                let share = alpha * real(members) / real(clients.max(members));
                for ((x, d), h) in x.iter_mut().zip(delta).zip(h) {
                    *h -= share * d;
                    *x += d - *h / alpha;
                }
            }
            _ => debug_assert!(false, "as many slots as the optimizer has"),
        }
    }
}

/// −1, 0 or 1; `signum` has no 0.
fn sign(x: f64) -> f64 {
    if x == 0.0 { 0.0 } else { x.signum() }
}
