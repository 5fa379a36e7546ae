//! How a tensor is treated by its kind, whatever the rule.

use crate::is_control;
use nsfl_tensor::TensorSpec;

/// What a tensor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Integers and booleans, batch counters for instance: the members' maximum.
    Integer,
    /// SCAFFOLD's control variate: c + Σ Δ / N.
    Control,
    /// Running statistics of a normalisation layer: combined with the weights the rule gives the members, brought to the sum
    /// 1, and taken as they are. A server optimizer or a learning rate would drive a variance below 0.
    Buffer,
    /// Weights: what the rule is for.
    Own,
}

pub(crate) fn class(tensor: &TensorSpec) -> Class {
    if !tensor.dtype.is_float() {
        Class::Integer
    } else if is_control(&tensor.name) {
        Class::Control
    } else if tensor.is_statistic() {
        Class::Buffer
    } else {
        Class::Own
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nsfl_tensor::{DType, Layout};

    #[test]
    fn running_statistics_are_known_by_the_end_of_their_name() {
        let of = |name: &str, dtype| class(&Layout::new([(name.to_owned(), dtype, vec![])]).unwrap().tensors()[0]);
        assert_eq!(of("bn1.running_var", DType::F32), Class::Buffer);
        assert_eq!(of("running_mean", DType::F16), Class::Buffer);
        assert_eq!(of("batch_normalization/moving_variance:0", DType::F32), Class::Buffer);
        assert_eq!(of("bn1.num_batches_tracked", DType::I64), Class::Integer);
        assert_eq!(of("scaffold.c/w", DType::F32), Class::Control);
        assert_eq!(of("not_running_mean_but.weight", DType::F32), Class::Own);
    }
}
