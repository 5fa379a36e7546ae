//! What the federated optimizers add to the gradients of a step, before the optimizer makes it. So both are right with
//! momentum and weight decay too.
//!
//! FedProx (Li et al. 2020, arXiv 1812.06127): μ (w − w₀). SCAFFOLD (Karimireddy et al. 2020, arXiv 1910.06378): c − cᵢ;
//! the new cᵢ is the mean of the local gradients, which for plain SGD is the paper's option II, cᵢ − c + (x − y) / (K η).

use crate::error::TorchError;
use crate::parameters::Federated;
use crate::state::{self, CONTROL, State};
use nsfl_tensor::TensorError;
use nsfl_trainer::TaskError;
use std::collections::BTreeMap;
use std::path::Path;
use tch::{Device, TchError, Tensor};

/// What this client kept of an earlier round, in the task's folder.
const KEPT: &str = "state/scaffold.safetensors";
/// What the next round will find there if the server takes this update.
const TO_KEEP: &str = "out/state/scaffold.safetensors";

/// The work of one task's federated optimizer.
pub(crate) enum Correction {
    None,
    FedProx { mu: f64, start: Vec<Tensor> },
    Scaffold(Scaffold),
}

pub(crate) struct Scaffold {
    /// Global control variate, of every float tensor.
    global: BTreeMap<String, Tensor>,
    /// Local one, by the same names.
    local: BTreeMap<String, Tensor>,
    /// c − cᵢ of each trained tensor.
    difference: Vec<Tensor>,
    /// Sum of each trained tensor's gradients.
    sums: Vec<Tensor>,
    steps: u32,
}

impl Correction {
    /// `controls` came with the weights in `base`.
    pub(crate) fn new(
        federated: Federated,
        state: &State,
        controls: BTreeMap<String, Tensor>,
        base: &Path,
        device: Device,
    ) -> Result<Self, TorchError> {
        Ok(match federated {
            Federated::None => Self::None,
            Federated::FedProx { mu } => {
                let start =
                    state.trainable().map(|(_, w)| Ok(w.f_detach()?.copy())).collect::<Result<_, TchError>>()?;
                Self::FedProx { mu, start }
            }
            Federated::Scaffold => Self::Scaffold(Scaffold::new(state, controls, base, device)?),
        })
    }

    /// After `backward`, before the step.
    pub(crate) fn apply(&mut self, state: &State) -> Result<(), TorchError> {
        let _guard = tch::no_grad_guard();
        for (i, (_, weight)) in state.trainable().enumerate() {
            let mut gradient = weight.f_grad()?;
            if !gradient.defined() {
                continue; // the loss does not depend on it
            }
            match self {
                Self::None => {}
                Self::FedProx { mu, start } => {
                    let _ = gradient.f_add_(&weight.f_sub(&start[i])?.f_mul_scalar(*mu)?)?;
                }
                Self::Scaffold(scaffold) => {
                    let _ = scaffold.sums[i].f_add_(&gradient)?;
                    let _ = gradient.f_add_(&scaffold.difference[i])?;
                }
            }
        }
        if let Self::Scaffold(scaffold) = self {
            scaffold.steps += 1;
        }
        Ok(())
    }

    /// Tensors to go beside the weights. SCAFFOLD's local control variate is written for the next round.
    pub(crate) fn finish(self, state: &State) -> Result<BTreeMap<String, Tensor>, TorchError> {
        match self {
            Self::None | Self::FedProx { .. } => Ok(BTreeMap::new()),
            Self::Scaffold(scaffold) => scaffold.finish(state),
        }
    }
}

impl Scaffold {
    fn new(state: &State, global: BTreeMap<String, Tensor>, base: &Path, device: Device) -> Result<Self, TorchError> {
        let kept = Path::new(KEPT);
        let mut local = if kept.exists() { state::read(kept)? } else { BTreeMap::new() };
        let (mut difference, mut sums) = (Vec::new(), Vec::new());
        for (name, weight) in state.trainable() {
            let unfit = |tensor: String, path: &Path| {
                let source = TensorError::Missing { tensor };
                TaskError::Weights { path: path.to_owned(), source }
            };
            let same = |t: &Tensor| t.size() == weight.size() && t.kind() == weight.kind();
            let c = global.get(name).filter(|c| same(c)).ok_or_else(|| unfit(format!("{CONTROL}{name}"), base))?;
            if !local.contains_key(name) {
                local.insert(name.to_owned(), c.f_zeros_like()?);
            }
            let own = Some(&local[name]).filter(|t| same(t)).ok_or_else(|| unfit(name.to_owned(), kept))?;
            difference.push(c.f_sub(own)?.f_to(device)?);
            sums.push(weight.f_detach()?.f_zeros_like()?);
        }
        Ok(Self { global, local, difference, sums, steps: 0 })
    }

    fn finish(mut self, state: &State) -> Result<BTreeMap<String, Tensor>, TorchError> {
        let steps = f64::from(self.steps.max(1));
        let mut travels: BTreeMap<String, Tensor> = BTreeMap::new();
        for ((name, _), sum) in state.trainable().zip(&self.sums) {
            let new = sum.f_div_scalar(steps)?.f_to(Device::Cpu)?;
            let old = self.local.insert(name.to_owned(), new.shallow_clone());
            let change = old.map_or_else(|| Ok(new.shallow_clone()), |old| new.f_sub(&old))?;
            travels.insert(format!("{CONTROL}{name}"), self.global[name].f_add(&change)?);
        }
        for (name, c) in self.global {
            travels.entry(format!("{CONTROL}{name}")).or_insert(c); // not trained: no change
        }
        let to_keep = Path::new(TO_KEEP);
        let folder = to_keep.parent().unwrap_or(to_keep);
        let failed = |source| TaskError::File { path: folder.to_owned(), action: "made", source };
        std::fs::create_dir_all(folder).map_err(failed)?;
        state::write(to_keep, &self.local)?;
        Ok(travels)
    }
}
