//! SCAFFOLD's server rule: x + η/m Σ Δᵢ and c + 1/N Σ (cᵢ⁺ − cᵢ) (Karimireddy et al. 2020, arXiv 1910.06378, option II).
//!
//! Variant: the control variate c travels beside the model, as tensors named `scaffold.c/<tensor>` of the same file, so
//! that a member's update of such a tensor is cᵢ⁺ − cᵢ. Equal weights: sample counts do not enter. Default: η 1. Keeps no
//! state beside the model: c is in its file.

use nsfl_tensor::{Layout, TensorError, TensorSpec};

/// What the names of control variates begin with.
pub const CONTROL_PREFIX: &str = "scaffold.c/";

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
}
