//! Client optimizers for native trainers: gradient descent and Adam, and what federated learning puts around them.
//!
//! A model is a flat slice of weights, in whatever order its owner keeps. An optimizer is made for one task, steps once a
//! batch, and says at the end what the client keeps for its next round. It reads no files, knows no model and no data, and
//! draws noise from a key that it is given.
//!
//! | | rule | |
//! |---|---|---|
//! | [`Sgd`], [`Adam`] | as in PyTorch | |
//! | [`FedProx`] | g + μ(w − x) | Li et al. 2020, arXiv 1812.06127 |
//! | [`PerturbedDescent`] | w − ημ(w − x) before each step | the optimizer in FedProx's own code |
//! | [`Scaffold`] | g + c − cᵢ | Karimireddy et al. 2020, arXiv 1910.06378, option II |
//! | [`FedDyn`] | g − hᵢ + α(w − x) | Acar et al. 2021, arXiv 2111.04263 |
//! | [`DpSgd`], [`DpAdam`] | (Σ clip(gᵢ) + noise) / L | Abadi et al. 2016, arXiv 1607.00133 |
//!
//! What is added enters the gradient before momentum and beside weight decay, so all hold with both. The SDK's optimizers
//! for PyTorch and Keras take the same steps; `tests/golden/steps.json` binds both to one reference.

mod adam;
mod clip;
mod feddyn;
mod fedprox;
mod noise;
mod perturbed;
mod private;
mod scaffold;
mod sgd;

pub use adam::{Adam, AdamSettings};
pub use clip::Clip;
pub use feddyn::FedDyn;
pub use fedprox::FedProx;
pub use noise::Noise;
pub use perturbed::PerturbedDescent;
pub use private::{DpAdam, DpSgd, Private};
pub use scaffold::Scaffold;
pub use sgd::{Sgd, SgdSettings};

/// Takes the local steps of one task.
pub trait Optimizer: std::fmt::Debug + Send {
    /// Moves the weights by one step. `gradient` is that of the batch's mean loss at `weights`; where [`Self::clip`] gives
    /// a bound, the sum of the samples' clipped gradients instead. It is used up.
    ///
    /// # Panics
    /// Slices of another length than the optimizer was made for.
    fn step(&mut self, weights: &mut [f32], gradient: &mut [f32]);

    /// The bound on each sample's gradient, for those that have one.
    fn clip(&self) -> Option<Clip> {
        None
    }

    /// What the client has after its last step, which has led to `weights`.
    fn finish(&self, _weights: &[f32]) -> Finished {
        Finished::default()
    }
}

/// What a task leaves beside its weights.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Finished {
    /// The client keeps it for its next round if the server takes this update: SCAFFOLD's cᵢ, FedDyn's hᵢ.
    pub kept: Option<Vec<f32>>,
    /// Travels to the server in the place of SCAFFOLD's c: c + cᵢ⁺ − cᵢ.
    pub control: Option<Vec<f32>>,
}

/// Elements of `values`, computed in double precision.
#[allow(clippy::cast_possible_truncation, reason = "rounded to the precision of weights")]
fn single(values: impl Iterator<Item = f64>) -> Vec<f32> {
    values.map(|value| value as f32).collect()
}
