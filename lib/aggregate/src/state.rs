//! What a rule or server optimizer keeps from round to round: named tensors in a file of their own, beside the model.
//!
//! A slot `fedadam.m` of a tensor `w` is the tensor `fedadam.m/w`: of its shape, in `f64` for an `f64` tensor and in `f32`
//! for all others. A state that is not there yet is every slot's initial value.

use nsfl_tensor::{DType, Layout, TensorError, TensorSpec};

/// One number kept for each weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slot {
    /// What the names of its tensors begin with.
    pub name: &'static str,
    /// Its value before the first round.
    pub initial: f64,
}

/// The layout of the slots of these tensors.
pub(crate) fn layout(slots: &[Slot], tensors: &[&TensorSpec]) -> Result<Layout, TensorError> {
    let kept = |dtype: DType| if dtype == DType::F64 { DType::F64 } else { DType::F32 };
    let of = |slot: &Slot| {
        let name = slot.name;
        tensors.iter().map(move |t| (format!("{name}/{}", t.name), kept(t.dtype), t.shape.clone()))
    };
    Layout::new(slots.iter().flat_map(of))
}

/// The index of a slot's tensor.
pub(crate) fn slot_tensor(state: &Layout, slot: &str, tensor: &str) -> Option<usize> {
    let is = |name: &str| name.strip_prefix(slot).and_then(|rest| rest.strip_prefix('/')) == Some(tensor);
    state.tensors().iter().position(|spec| is(&spec.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_is_kept_in_single_and_double_in_double() {
        let tensor = |name: &str, dtype| (name.to_owned(), dtype, vec![2]);
        let model = Layout::new([tensor("h", DType::F16), tensor("d", DType::F64)]).unwrap();
        let slots = [Slot { name: "x.m", initial: 0.0 }, Slot { name: "x.v", initial: 1.0 }];
        let state = layout(&slots, &model.tensors().iter().collect::<Vec<_>>()).unwrap();
        let names: Vec<(&str, DType)> = state.tensors().iter().map(|t| (t.name.as_str(), t.dtype)).collect();
        let expected = [("x.m/d", DType::F64), ("x.v/d", DType::F64), ("x.m/h", DType::F32), ("x.v/h", DType::F32)];
        assert_eq!(names, expected);
        assert_eq!(slot_tensor(&state, "x.v", "h"), Some(3));
        assert_eq!(slot_tensor(&state, "x.v", "n"), None);
    }
}
