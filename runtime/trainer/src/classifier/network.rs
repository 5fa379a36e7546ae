//! The classifier's weights: which tensors there are, their initial values, the forward pass, their file.
//!
//! Tensors: `hidden.weight` [hidden, features], `hidden.bias` [hidden] (only with a hidden layer),
//! `output.weight` [classes, hidden or features], `output.bias` [classes]; all F32.
//! Initial weights are uniform in ±√(g/fan_in), biases 0: g = 6 before a rectifier (He et al. 2015,
//! arXiv 1502.01852), g = 3 at the output (LeCun et al. 1998, "Efficient BackProp").

use super::parameters::Parameters;
use crate::rng::Rng;
use crate::{TaskError, weights};
use candle_core::{Device, Tensor, Var};
use nsfl_tensor::{DType, Layout};
use std::path::Path;

/// One or two linear layers.
pub(super) struct Network {
    layout: Layout,
    /// In the order of the layout.
    variables: Vec<Var>,
    layers: Vec<Layer>,
}

struct Layer {
    /// [outputs, inputs]
    weight: Var,
    /// [outputs]
    bias: Var,
}

/// Writes initial weights.
pub(super) fn init(parameters: &Parameters, seed: u64, path: &Path) -> Result<(), TaskError> {
    let layout = layout(parameters)?;
    let mut rng = Rng::new(seed);
    let mut values = Vec::with_capacity(layout.data_len() / 4);
    for tensor in layout.tensors() {
        let gain = if tensor.name == "hidden.weight" { 6.0 } else { 3.0 };
        match tensor.shape[..] {
            #[allow(clippy::cast_precision_loss, reason = "a layer's width")]
            [_, fan_in] => {
                let half_width = (gain / fan_in as f32).sqrt();
                let pairs = std::iter::repeat_with(|| rng.uniform_pair(half_width)).flatten();
                values.extend(pairs.take(tensor.elements()));
            }
            _ => values.extend(std::iter::repeat_n(0.0_f32, tensor.elements())),
        }
    }
    write(path, &layout, &values)
}

impl Network {
    /// Reads weights and checks that they are this network's.
    pub(super) fn read(parameters: &Parameters, path: &Path) -> Result<Self, TaskError> {
        let layout = layout(parameters)?;
        let values = weights::values(path, &weights::read(path)?, &layout)?;
        let mut variables = Vec::new();
        for (tensor, values) in layout.tensors().iter().zip(values) {
            variables.push(Var::from_vec(values, tensor.shape.as_slice(), &Device::Cpu)?);
        }
        // by name: bias and weight of `hidden`, then of `output`
        let layers = variables.chunks(2).map(|c| Layer { bias: c[0].clone(), weight: c[1].clone() }).collect();
        Ok(Self { layout, variables, layers })
    }

    pub(super) fn variables(&self) -> Vec<Var> {
        self.variables.clone()
    }

    /// Logits [samples, classes] of inputs [samples, features].
    pub(super) fn forward(&self, inputs: &Tensor) -> candle_core::Result<Tensor> {
        let mut x = inputs.clone();
        for (i, layer) in self.layers.iter().enumerate() {
            let input = if i == 0 { x } else { x.relu()? };
            x = input.matmul(&layer.weight.t()?)?.broadcast_add(&layer.bias)?;
        }
        Ok(x)
    }

    /// Writes the weights as they are now.
    pub(super) fn write(&self, path: &Path) -> Result<(), TaskError> {
        let mut values = Vec::with_capacity(self.layout.data_len() / 4);
        for variable in &self.variables {
            values.extend(variable.flatten_all()?.to_vec1::<f32>()?);
        }
        write(path, &self.layout, &values)
    }
}

fn write(path: &Path, layout: &Layout, values: &[f32]) -> Result<(), TaskError> {
    let mut rest = values;
    weights::write(path, layout, |block| {
        let (head, tail) = rest.split_at(block.len());
        block.copy_from_slice(head);
        rest = tail;
    })
}

fn layout(parameters: &Parameters) -> Result<Layout, TaskError> {
    let Parameters { features, classes, hidden, .. } = *parameters;
    let mut layers = vec![("output", classes, if hidden == 0 { features } else { hidden })];
    if hidden > 0 {
        layers.push(("hidden", hidden, features));
    }
    let tensors = layers.into_iter().flat_map(|(name, outputs, inputs)| {
        [
            (format!("{name}.weight"), DType::F32, vec![outputs, inputs]),
            (format!("{name}.bias"), DType::F32, vec![outputs]),
        ]
    });
    Layout::new(tensors).map_err(|e| TaskError::BadParameters(e.to_string()))
}
