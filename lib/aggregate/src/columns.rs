//! Rules by coordinate: a tile of `LANES` coordinates of all members is loaded, sorted and combined, tile after tile.
//! Holds one tile, whatever the size of the model.

use crate::Block;
use crate::member::real;
use crate::mix::Mix;
use crate::robust::network;
use crate::vector::{Kernel, vectorised};
use nsfl_compress::Update;
use nsfl_tensor::{Bf16, DType, F16, Float, numbers};
use std::fmt;
use std::sync::Arc;

/// Coordinates of one tile.
pub const LANES: usize = 16;

/// How the values of a coordinate become one.
pub trait Columns: fmt::Debug + Send + Sync {
    /// Of `LANES` coordinates at once.
    fn combine(&self, values: &Values<'_>) -> [f64; LANES];

    /// Whether each coordinate's values are to be sorted, lowest first; otherwise they are in the members' order.
    fn sorted(&self) -> bool {
        true
    }
}

/// The values of some members at `LANES` coordinates: a row for each.
#[derive(Debug, Clone, Copy)]
pub struct Values<'a>(Tile<'a>);

#[derive(Debug, Clone, Copy)]
enum Tile<'a> {
    Single(&'a [[f32; LANES]]),
    Double(&'a [[f64; LANES]]),
}

impl Values<'_> {
    /// How many rows there are: at least one.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a round without members is refused before")]
    pub fn len(&self) -> usize {
        match self.0 {
            Tile::Single(rows) => rows.len(),
            Tile::Double(rows) => rows.len(),
        }
    }

    /// A row.
    #[must_use]
    pub fn row(&self, row: usize) -> [f64; LANES] {
        match self.0 {
            Tile::Single(rows) => rows[row].map(f64::from),
            Tile::Double(rows) => rows[row],
        }
    }

    /// One value of a row.
    #[must_use]
    pub fn at(&self, row: usize, lane: usize) -> f64 {
        match self.0 {
            Tile::Single(rows) => f64::from(rows[row][lane]),
            Tile::Double(rows) => rows[row][lane],
        }
    }
}

/// The mean of `count` values given lowest first, which does not overflow and stays between them.
pub(crate) fn mean(values: impl Iterator<Item = f64> + Clone, count: usize) -> f64 {
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    values.clone().for_each(|value| (low, high) = (low.min(value), high.max(value)));
    let sum: f64 = values.clone().sum();
    let count = real(count);
    let mean = if sum.is_finite() { sum / count } else { values.map(|value| value / count).sum() };
    mean.clamp(low, high)
}

/// What a plan does by coordinate.
#[derive(Debug, Clone)]
pub(crate) struct ColumnPlan {
    each: Arc<dyn Columns>,
    /// Of each row, the updates it is made of, by the caller's indices.
    rows: Vec<Vec<(usize, f64)>>,
    /// Whether each row is one update as it is.
    plain: bool,
    comparators: Vec<(usize, usize)>,
}

impl ColumnPlan {
    /// From the rows of a mix, or from updates as they are.
    pub(crate) fn new(each: Arc<dyn Columns>, members: &[usize], mix: Option<&Mix>, order: &[usize]) -> Self {
        let row = |member: &usize| match mix {
            Some(mix) => mix.row(*member).iter().map(|(i, c)| (order[*i], *c)).collect(),
            None => vec![(order[*member], 1.0)],
        };
        let comparators = if each.sorted() { network::comparators(members.len()) } else { Vec::new() };
        Self { each, rows: members.iter().map(row).collect(), plain: mix.is_none(), comparators }
    }

    /// Bytes that one tile takes, with what its values are decoded into.
    pub(crate) fn tile_bytes(&self, updates: usize) -> usize {
        let raw = if self.plain { 0 } else { updates };
        (self.rows.len() + raw + 1) * LANES * size_of::<f64>()
    }
}

/// The buffers of one tile, used again for the next.
#[derive(Debug, Default)]
pub(crate) struct TileBuffers {
    single: Vec<[f32; LANES]>,
    double: Vec<[f64; LANES]>,
    raw: Vec<[f64; LANES]>,
    /// A row as bytes, where it is not as it is in a file.
    bytes: Vec<u8>,
}

impl TileBuffers {
    pub(crate) fn new(plan: &ColumnPlan, updates: usize) -> Self {
        let rows = plan.rows.len();
        let raw = if plan.plain { 0 } else { updates };
        let (single, double) = (vec![[0.0; LANES]; rows], vec![[0.0; LANES]; rows]);
        Self { single, double, raw: vec![[0.0; LANES]; raw], bytes: Vec::new() }
    }

    /// Combines a block of all members into `out`.
    pub(crate) fn run(
        &mut self,
        plan: &ColumnPlan,
        dtype: DType,
        block: &Block,
        updates: &[Update<'_>],
        out: &mut [f64],
    ) {
        vectorised(Tiles { buffers: self, plan, dtype, block, updates, out });
    }

    /// Loads a tile and sorts it; `tile` is its place in the tensor.
    #[inline(always)]
    fn fill(&mut self, plan: &ColumnPlan, dtype: DType, updates: &[Update<'_>], tile: &Block) -> Values<'_> {
        let buffer = &mut self.bytes;
        if plan.plain && dtype != DType::F64 {
            for (row, members) in self.single.iter_mut().zip(&plan.rows) {
                load_single(dtype, updates[members[0].0].read(tile.tensor, tile.range.clone(), buffer), row);
            }
            network::sort(&mut self.single, &plan.comparators);
            return Values(Tile::Single(&self.single));
        }
        if plan.plain {
            for (row, members) in self.double.iter_mut().zip(&plan.rows) {
                numbers::load(dtype, updates[members[0].0].read(tile.tensor, tile.range.clone(), buffer), row);
            }
        } else {
            for (update, row) in updates.iter().zip(&mut self.raw) {
                numbers::load(dtype, update.read(tile.tensor, tile.range.clone(), buffer), row);
            }
            mixed(&plan.rows, &self.raw, &mut self.double);
        }
        network::sort(&mut self.double, &plan.comparators);
        Values(Tile::Double(&self.double))
    }
}

/// All tiles of a block.
struct Tiles<'a, 'v> {
    buffers: &'a mut TileBuffers,
    plan: &'a ColumnPlan,
    dtype: DType,
    block: &'a Block,
    updates: &'a [Update<'v>],
    out: &'a mut [f64],
}

impl Kernel for Tiles<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { buffers, plan, dtype, block, updates, out } = self;
        let size = dtype.size();
        for (tile, out) in out.chunks_mut(LANES).enumerate() {
            let start = block.range.start + tile * LANES * size;
            let place = Block { tensor: block.tensor, range: start..start + out.len() * size };
            let values = buffers.fill(plan, dtype, updates, &place);
            out.copy_from_slice(&plan.each.combine(&values)[..out.len()]);
        }
    }
}

/// Makes each row from what it is made of.
#[inline(always)]
fn mixed(recipes: &[Vec<(usize, f64)>], raw: &[[f64; LANES]], rows: &mut [[f64; LANES]]) {
    for (row, recipe) in rows.iter_mut().zip(recipes) {
        let mut sums = [0.0; LANES];
        for (member, c) in recipe {
            sums.iter_mut().zip(&raw[*member]).for_each(|(sum, value)| *sum += c * value);
        }
        *row = sums;
    }
}

#[inline(always)]
fn load_single(dtype: DType, bytes: &[u8], row: &mut [f32; LANES]) {
    #[allow(clippy::cast_possible_truncation, reason = "a value of a narrower type is an f32")]
    #[inline(always)]
    fn load<F: Float<N>, const N: usize>(bytes: &[u8], row: &mut [f32; LANES]) {
        row.iter_mut().zip(bytes.as_chunks::<N>().0).for_each(|(out, value)| *out = F::load(*value) as f32);
    }
    match dtype {
        DType::F16 => load::<F16, 2>(bytes, row),
        DType::Bf16 => load::<Bf16, 2>(bytes, row),
        _ => row.iter_mut().zip(bytes.as_chunks().0).for_each(|(out, value)| *out = f32::from_le_bytes(*value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_neither_leaves_its_values_nor_overflows() {
        let of = |values: &[f64]| mean(values.iter().copied(), values.len());
        assert_eq!(of(&[0.1, 0.1, 0.1]), 0.1);
        assert_eq!(of(&[1.0, 2.0, 6.0]), 3.0);
        assert!((of(&[1e308, 1.5e308]) - 1.25e308).abs() < 1e294);
    }
}
