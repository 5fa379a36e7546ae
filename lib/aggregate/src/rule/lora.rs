//! Low-rank adapters: what is averaged of W + s·BA, where A is rank × columns and B rows × rank.
//!
//! Four variants, all with weights by samples, p_i = n_i / Σ n, or `uniform`. Default: `fedit`. None keeps a state.
//! - `fedit`: A and B are averaged each for itself (Zhang et al. 2024, arXiv 2305.05644).
//! - `ffa`: A stays as it is, B is averaged (Sun et al. 2024, arXiv 2403.12313).
//! - `flora`: the sum of products Σ pᵢBᵢAᵢ is added to W; B becomes 0 and A stays, so that the next round begins with a fresh
//!   adapter (Wang et al. 2024, arXiv 2409.05976). It is the product of the stacked adapters, [p₁B₁ … pₘBₘ]·[A₁; …; Aₘ], which is
//!   never made: the paper's clients fold it into W each for itself, here the server does, once.
//! - `fedex`: A and B are averaged and what is lost by it, Σ pᵢBᵢAᵢ − B̄Ā, is added to W (Singhal et al. 2025, arXiv
//!   2410.09432).
//!
//! **Mixed ranks**, with `flora`: the model's adapter has the largest rank. A member of rank r trains the first r rows of A and
//! columns of B and hands over the others as it got them. B is 0 there, so that they bring nothing, whatever A is, and the sum is
//! that of the members' own products. All members' s is the same.
//!
//! Names are those of PEFT: `<module>.lora_A.<rest>` and `<module>.lora_B.<rest>` belong to `<module>.base_layer.weight` or
//! `<module>.weight`, which `flora` and `fedex` need in the model. Default of s, `scaling`: 1.

use crate::member::ordered_sum;
use crate::rule::{Product, Treat};
use crate::{AggregateError, Block, Combine, Inputs, Plan, Rule, Sources};
use nsfl_tensor::{Layout, numbers};

const NAME: &str = "lora";

/// What is averaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// A and B.
    FedIt,
    /// B.
    Ffa,
    /// Their products, into W.
    Flora,
    /// A and B, and what their products lose into W.
    FedEx,
}

impl Variant {
    /// Whether products go into W, as they are: nothing may come before them or move them.
    pub(crate) fn multiplies(self) -> bool {
        matches!(self, Self::Flora | Self::FedEx)
    }
}

/// The rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lora {
    /// What is averaged.
    pub variant: Variant,
    /// s.
    pub scaling: f64,
    /// Equal weights instead of the members' own.
    pub uniform: bool,
}

impl Rule for Lora {
    fn name(&self) -> &'static str {
        NAME
    }

    /// A product is not the sum of what its parts bring one after the other.
    fn takes_all(&self) -> bool {
        !self.variant.multiplies()
    }

    fn treat(&self, model: &Layout, tensor: usize) -> Result<Treat, AggregateError> {
        let name = &model.tensors()[tensor].name;
        let (is_a, is_b) = (name.contains(".lora_A."), name.contains(".lora_B."));
        match self.variant {
            Variant::Ffa if is_a => return Ok(Treat::Keep),
            Variant::FedIt | Variant::Ffa => return Ok(Treat::Combine),
            Variant::Flora | Variant::FedEx => {}
        }
        if is_a {
            self.base_of(model, tensor)?;
        }
        match (self.variant, self.product_of(model, tensor)) {
            (_, Some(product)) => Ok(Treat::Product(product)),
            (Variant::Flora, None) if is_a => Ok(Treat::Keep),
            (Variant::Flora, None) if is_b => Ok(Treat::Zero),
            _ => Ok(Treat::Combine),
        }
    }

    fn combine(&self, inputs: &Inputs<'_>) -> Result<Combine, AggregateError> {
        let weights = if self.uniform { vec![1.0; inputs.members()] } else { inputs.weights.to_vec() };
        let over = ordered_sum(&weights);
        Ok(Combine::Sum { weights, times: 1.0, over, previous: 0.0 })
    }
}

impl Lora {
    /// The weight that belongs to an A, with shapes that fit.
    fn base_of(&self, model: &Layout, a: usize) -> Result<usize, AggregateError> {
        let name = &model.tensors()[a].name;
        let bad = |problem: String| AggregateError::Model { rule: NAME, problem };
        let (module, rest) = name.split_once(".lora_A.").unwrap_or((name, ""));
        let find = |wanted: String| model.tensors().iter().position(|tensor| tensor.name == wanted);
        let b =
            find(format!("{module}.lora_B.{rest}")).ok_or_else(|| bad(format!("'{name}' has no lora_B beside it")))?;
        let base = find(format!("{module}.base_layer.weight")).or_else(|| find(format!("{module}.weight")));
        let base = base.ok_or_else(|| bad(format!("the weight that '{name}' belongs to is not in the model")))?;
        let shape = |tensor: usize| model.tensors()[tensor].shape.as_slice();
        match (shape(base), shape(a), shape(b)) {
            ([rows, columns], [rank, a_columns], [b_rows, b_rank])
                if (rows, columns, rank) == (b_rows, a_columns, b_rank) =>
            {
                Ok(base)
            }
            _ => Err(bad(format!("the shapes of '{name}', its lora_B and its weight do not fit"))),
        }
    }

    /// What a weight takes up, if it has an adapter.
    fn product_of(&self, model: &Layout, tensor: usize) -> Option<Product> {
        let a = (0..model.tensors().len()).find(|a| {
            model.tensors()[*a].name.contains(".lora_A.") && self.base_of(model, *a).is_ok_and(|base| base == tensor)
        })?;
        let partner = model.tensors()[a].name.replace(".lora_A.", ".lora_B.");
        let b = model.tensors().iter().position(|spec| spec.name == partner)?;
        let residual = self.variant == Variant::FedEx;
        Some(Product { a, b, scaling: self.scaling, residual })
    }
}

/// Adds to a block of W what its adapters' products bring, in canonical order of the members.
///
/// With the base A and B and the members' changes Δ, Σ pᵢBᵢAᵢ − B̄Ā is Σ pᵢΔBᵢΔAᵢ − Σ pᵢΔBᵢ · Σ pᵢΔAᵢ: nothing large
/// cancels.
pub(crate) fn add_product(plan: &Plan, product: &Product, block: &Block, sources: &Sources<'_>, out: &mut [f64]) {
    let tensors = plan.layout().tensors();
    let (columns, rank) = (tensors[product.a].shape[1], tensors[product.a].shape[0]);
    let first = block.range.start / tensors[block.tensor].dtype.size();
    // a member's changes, or with `whole` its values
    let mut buffer = Vec::new();
    let mut fill = |tensor: usize, from: usize, update: Option<usize>, out: &mut [f64]| {
        let size = tensors[tensor].dtype.size();
        let range = from * size..(from + out.len()) * size;
        let bytes = match update {
            Some(update) => sources.updates[update].read(tensor, range, &mut buffer),
            None => &sources.base.tensor(tensor)[range],
        };
        numbers::load(tensors[tensor].dtype, bytes, out);
    };
    let (mut a, mut b, mut other) = (vec![0.0; columns], vec![0.0; rank], vec![0.0; columns.max(rank)]);
    let (mut b_mean, mut a_means) = (vec![0.0; rank], vec![0.0; if product.residual { rank * columns } else { 0 }]);
    let mut at = 0;
    while at < out.len() {
        let (row, column) = ((first + at) / columns, (first + at) % columns);
        let len = (columns - column).min(out.len() - at);
        let out = &mut out[at..at + len];
        let a = &mut a[..len];
        b_mean.fill(0.0);
        a_means.fill(0.0);
        for (member, share) in &plan.shares {
            fill(product.b, row * rank, Some(*member), &mut b);
            if !product.residual {
                fill(product.b, row * rank, None, &mut other[..rank]);
                b.iter_mut().zip(&other).for_each(|(b, base)| *b += base);
            }
            b_mean.iter_mut().zip(&b).for_each(|(mean, b)| *mean += share * b);
            for r in 0..rank {
                fill(product.a, r * columns + column, Some(*member), a);
                if product.residual {
                    a_means[r * columns..].iter_mut().zip(&*a).for_each(|(mean, a)| *mean += share * a);
                } else {
                    fill(product.a, r * columns + column, None, &mut other[..len]);
                    a.iter_mut().zip(&other).for_each(|(a, base)| *a += base);
                }
                let factor = product.scaling * share * b[r];
                out.iter_mut().zip(&*a).for_each(|(out, a)| *out += factor * a);
            }
        }
        for (mean, b) in a_means.chunks(columns).zip(&b_mean) {
            out.iter_mut().zip(mean).for_each(|(out, a)| *out -= product.scaling * b * a);
        }
        at += len;
    }
}
