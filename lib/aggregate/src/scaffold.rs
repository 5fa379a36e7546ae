//! SCAFFOLD's server rule: x + η/m Σ Δᵢ and c + 1/N Σ (cᵢ⁺ − cᵢ) (Karimireddy et al. 2020, arXiv 1910.06378, option II).
//!
//! Variant: the control variate c travels beside the model, as tensors named `scaffold.c/<tensor>` of the same file, so
//! that a member's update of such a tensor is cᵢ⁺ − cᵢ. Equal weights: sample counts do not enter. Keeps no state.

use crate::fedavg::check;
use crate::{AggregateError, MemberFacts, Plan};
use nsfl_tensor::{Layout, TensorError, TensorSpec};

/// What the names of control variates begin with.
pub const CONTROL_PREFIX: &str = "scaffold.c/";

/// The rule's parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scaffold {
    /// η, the server learning rate.
    pub learning_rate: f64,
    /// N, all clients of the job; at least as many as there are members.
    pub clients: usize,
}

impl Scaffold {
    /// Plans the sum over `members`; their order decides only which index each has.
    ///
    /// # Errors
    /// No members, a learning rate out of range, or facts of another model.
    pub fn plan(&self, base: &Layout, members: &[MemberFacts]) -> Result<Plan, AggregateError> {
        check(base, members, self.learning_rate)?;
        let of = |count: usize| u32::try_from(count).map_or(f64::from(u32::MAX), f64::from);
        let own = self.learning_rate / of(members.len());
        let control = 1.0 / of(self.clients.max(members.len()));
        let factor = |tensor: &TensorSpec| if is_control(&tensor.name) { control } else { own };
        Ok(Plan::new(base, members, vec![1.0; members.len()], factor))
    }
}

/// Whether a tensor of this name is a control variate.
#[must_use]
pub fn is_control(name: &str) -> bool {
    name.starts_with(CONTROL_PREFIX)
}

/// The layout of a model with a control variate for each of its floating-point tensors.
///
/// # Errors
/// A tensor that has the name of one already.
pub fn with_controls(model: &Layout) -> Result<Layout, TensorError> {
    let items = |tensor: &TensorSpec| (tensor.name.clone(), tensor.dtype, tensor.shape.clone());
    let floats = model.tensors().iter().filter(|tensor| tensor.dtype.is_float() && !is_control(&tensor.name));
    let controls =
        floats.map(|tensor| (format!("{CONTROL_PREFIX}{}", tensor.name), tensor.dtype, tensor.shape.clone()));
    Layout::new(model.tensors().iter().map(items).chain(controls))
}

/// The layout of the model alone.
///
/// # Errors
/// None: a part of a layout is one.
pub fn without_controls(model: &Layout) -> Result<Layout, TensorError> {
    let own = model.tensors().iter().filter(|tensor| !is_control(&tensor.name));
    Layout::new(own.map(|tensor| (tensor.name.clone(), tensor.dtype, tensor.shape.clone())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nsfl_tensor::DType;

    #[test]
    fn each_floating_point_tensor_has_a_control_and_a_counter_has_none() {
        let model = [("n".to_owned(), DType::I64, vec![]), ("w".to_owned(), DType::F32, vec![2])];
        let model = Layout::new(model).unwrap();
        let both = with_controls(&model).unwrap();
        let names: Vec<&str> = both.tensors().iter().map(|tensor| tensor.name.as_str()).collect();
        assert_eq!(names, ["n", "scaffold.c/w", "w"]);
        assert_eq!(without_controls(&both).unwrap(), model);
        assert!(with_controls(&both).is_err(), "a model that brings its own");
    }

    #[test]
    fn a_round_without_members_or_with_a_bad_learning_rate_is_refused() {
        let rule = Scaffold { learning_rate: 0.0, clients: 1 };
        assert_eq!(rule.plan(&Layout::default(), &[]).unwrap_err(), AggregateError::NoMembers);
        let member = MemberFacts { weight: 1.0, facts: nsfl_tensor::UpdateFacts::default() };
        assert!(matches!(rule.plan(&Layout::default(), &[member]), Err(AggregateError::BadLearningRate(_))));
    }
}
