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
use nsfl_types::OptimizerSpec;
use std::path::Path;

/// What the names of SCAFFOLD's control variates begin with, which lie beside the model in the same file.
const CONTROL: &str = "scaffold.c/";

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
    /// Reads weights and checks that they are this network's. With SCAFFOLD there is a control variate for each tensor.
    pub(super) fn read(parameters: &Parameters, path: &Path) -> Result<(Self, Option<Vec<f32>>), TaskError> {
        let layout = layout(parameters)?;
        let scaffold = parameters.optimizer.as_ref().is_some_and(OptimizerSpec::is_scaffold);
        let both = if scaffold { with_controls(&layout)? } else { layout.clone() };
        let mut values = weights::values(path, &weights::read(path)?, &both)?;
        // their names come last in the order of the file
        let controls = values.split_off(layout.tensors().len());
        let mut variables = Vec::new();
        for (tensor, values) in layout.tensors().iter().zip(values) {
            variables.push(Var::from_vec(values, tensor.shape.as_slice(), &Device::Cpu)?);
        }
        // by name: bias and weight of `hidden`, then of `output`
        let layers = variables.chunks(2).map(|c| Layer { bias: c[0].clone(), weight: c[1].clone() }).collect();
        Ok((Self { layout, variables, layers }, scaffold.then(|| controls.concat())))
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// All weights, in the order of the layout.
    pub(super) fn weights(&self) -> candle_core::Result<Vec<f32>> {
        let tensors = self.variables.iter().map(|variable| variable.flatten_all()?.to_vec1::<f32>());
        Ok(tensors.collect::<candle_core::Result<Vec<_>>>()?.concat())
    }

    /// Goes on from these weights.
    pub(super) fn set(&self, weights: &[f32]) -> candle_core::Result<()> {
        let mut rest = weights;
        for variable in &self.variables {
            let (own, others) = rest.split_at(variable.elem_count());
            variable.set(&Tensor::from_slice(own, variable.shape(), &Device::Cpu)?)?;
            rest = others;
        }
        Ok(())
    }

    /// The loss's gradient, in the order of the weights.
    pub(super) fn gradient(&self, loss: &Tensor, gradient: &mut [f32]) -> candle_core::Result<()> {
        let of = loss.backward()?;
        let mut rest = gradient;
        for variable in &self.variables {
            let (own, others) = rest.split_at_mut(variable.elem_count());
            match of.get(variable) {
                Some(tensor) => own.copy_from_slice(&tensor.flatten_all()?.to_vec1::<f32>()?),
                None => own.fill(0.0),
            }
            rest = others;
        }
        Ok(())
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

    /// Writes the weights as they are now, and control variates beside them.
    pub(super) fn write(&self, path: &Path, controls: Option<Vec<f32>>) -> Result<(), TaskError> {
        let mut values = self.weights()?;
        match controls {
            None => self.write_values(path, &values),
            Some(controls) => {
                values.extend(controls);
                write(path, &with_controls(&self.layout)?, &values)
            }
        }
    }

    /// Writes one value a weight, under the names of the weights.
    pub(super) fn write_values(&self, path: &Path, values: &[f32]) -> Result<(), TaskError> {
        write(path, &self.layout, values)
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

fn with_controls(layout: &Layout) -> Result<Layout, TaskError> {
    let named = |prefix: &'static str| {
        layout.tensors().iter().map(move |t| (format!("{prefix}{}", t.name), t.dtype, t.shape.clone()))
    };
    Layout::new(named("").chain(named(CONTROL))).map_err(|e| TaskError::BadParameters(e.to_string()))
}
