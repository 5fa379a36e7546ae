//! The first of two passes, for rules that must see norms or distances before they can plan: inner products of all pairs
//! of members, block by block in any order. Parts made apart can be merged.
//!
//! Tensors are cut into chunks of `CHUNK` elements. The product of two members over one chunk is summed in `f64` in a
//! fixed order, and is then added to a 128-bit fixed-point sum scaled by what the pair's largest values allow. So neither
//! the order of blocks, nor their size, nor who computes them shows in the result.

use crate::class::{Class, class};
use crate::fixed;
use crate::state::slot_tensor;
use crate::vector::vectorised;
use crate::{AggregateError, Aggregation, Block, Geometry, Pass, Round, Sources, member};
use nsfl_compress::Update;
use nsfl_tensor::{DType, Layout, check_block, numbers};
use std::ops::Range;

/// Elements of a tensor that are summed before a sum becomes exact. Blocks begin at multiples of it.
pub(crate) const CHUNK: usize = 1024;
const LANES: usize = 8;
/// log2 of the largest magnitude of a pair's sum.
const BITS: i32 = 125;
/// Values are brought near 1 when the exponent of the largest is beyond this, so that their squares stay in range.
const FAR: i32 = 300;

/// The running inner products of a round's updates.
#[derive(Debug, Clone)]
pub struct Survey<'a> {
    pass: Pass,
    sources: Sources<'a>,
    /// Members' indices in canonical order.
    order: Vec<usize>,
    /// The rule's slot of the previous aggregate, if it keeps one.
    previous: Option<&'static str>,
    /// Which tensors count.
    counted: Vec<bool>,
    /// Of each pair, as the triangle by rows: its sum is scaled by 2 to this power.
    scales: Vec<i32>,
    sums: Vec<i128>,
    /// Some chunks of each vector: reading long pieces of each file is faster.
    rows: Vec<[f64; LANES]>,
    /// How many chunks.
    span: usize,
    /// All values are taken times 2 to this power.
    lift: i32,
    /// What a compressed update is decoded into.
    bytes: Vec<u8>,
}

const ROW: usize = CHUNK / LANES;
/// The most chunks that are read at once.
const SPAN: usize = 4;

impl<'a> Survey<'a> {
    /// The empty sums of a round, for `aggregation.pass()`, in no more than `memory` bytes.
    ///
    /// # Errors
    /// Members the aggregation cannot take, or more of them than the memory allows; sources of another round.
    pub fn new(
        aggregation: &Aggregation,
        round: &Round<'_>,
        sources: Sources<'a>,
        memory: usize,
    ) -> Result<Self, AggregateError> {
        aggregation.check(round)?;
        sources.check(round.model, round.members.len(), aggregation.state_layout(round.model)?.as_ref())?;
        let order = member::order(round.members)?;
        let previous = aggregation.rule().previous();
        let vectors = order.len() + usize::from(previous.is_some());
        let pass = aggregation.pass();
        let pairs = if pass == Pass::Products { vectors * (vectors + 1) / 2 } else { vectors };
        let buffers = usize::from(sources.updates.iter().any(Update::is_compressed));
        let (sums, chunk) =
            (pairs * (size_of::<i128>() + size_of::<i32>()), (vectors + buffers) * CHUNK * size_of::<f64>());
        if sums + chunk > memory {
            return Err(AggregateError::Memory { members: order.len(), needs: sums + chunk, given: memory });
        }
        let span = ((memory - sums) / chunk).min(SPAN);
        let tensors = round.model.tensors();
        let counted = tensors.iter().map(|t| matches!(class(t), Class::Own | Class::Buffer)).collect();
        let mut survey = Self {
            pass,
            sources,
            order,
            previous,
            counted,
            scales: vec![0; pairs],
            sums: vec![0; pairs],
            rows: vec![[0.0; LANES]; vectors * span * ROW],
            span,
            lift: 0,
            bytes: Vec::new(),
        };
        survey.fit(round);
        Ok(survey)
    }

    /// Adds one block: all members' values of it. Blocks begin at multiples of 1024 elements, as [`crate::blocks`] cuts them.
    ///
    /// # Errors
    /// A block that is not cut so.
    pub fn add(&mut self, block: &Block) -> Result<(), AggregateError> {
        if !self.counted[block.tensor] || self.pass == Pass::None {
            return Ok(());
        }
        let Sources { base, updates, .. } = self.sources;
        let spec = &base.layout().tensors()[block.tensor];
        let row_len = self.span * ROW;
        let step = self.span * CHUNK * spec.dtype.size();
        if !block.range.start.is_multiple_of(CHUNK * spec.dtype.size()) {
            return Err(AggregateError::Mismatch("a block does not begin at a multiple of 1024 elements"));
        }
        let previous = self.previous_of(block.tensor);
        for start in block.range.clone().step_by(step) {
            let range = start..block.range.end.min(start + step);
            let rows = range.len().div_ceil(spec.dtype.size() * LANES);
            for (row, member) in self.order.iter().enumerate() {
                let values = updates[*member].read(block.tensor, range.clone(), &mut self.bytes);
                fill(spec.dtype, values, self.lift, &mut self.rows[row * row_len..][..rows]);
            }
            if self.previous.is_some() {
                let own = &mut self.rows[self.order.len() * row_len..][..rows];
                match previous {
                    Some((dtype, bytes)) => {
                        let (a, b) = (range.start / spec.dtype.size(), range.end / spec.dtype.size());
                        fill(dtype, &bytes[a * dtype.size()..b * dtype.size()], self.lift, own);
                    }
                    None => own.fill([0.0; LANES]),
                }
            }
            for first in (0..rows).step_by(ROW) {
                self.multiply(first..rows.min(first + ROW));
            }
        }
        Ok(())
    }

    /// Adds what another part has summed of other blocks of the same round.
    ///
    /// # Errors
    /// A part of another round.
    pub fn merge(&mut self, other: &Survey<'_>) -> Result<(), AggregateError> {
        if (self.pass, self.lift, &self.order, &self.scales) != (other.pass, other.lift, &other.order, &other.scales) {
            return Err(AggregateError::Mismatch("surveys of two different rounds were merged"));
        }
        self.sums.iter_mut().zip(&other.sums).for_each(|(a, b)| *a += b);
        Ok(())
    }

    /// The products over all blocks added.
    #[must_use]
    pub fn finish(&self) -> Geometry {
        let n = self.vectors();
        #[allow(clippy::cast_precision_loss, reason = "rounded once")]
        let values: Vec<f64> =
            self.sums.iter().zip(&self.scales).map(|(sum, scale)| fixed::times_exp2(*sum as f64, -scale)).collect();
        let unit = fixed::times_exp2(1.0, -self.lift);
        if self.pass != Pass::Products {
            return Geometry::new(n, values, unit);
        }
        let mut products = vec![0.0; n * n];
        for a in 0..n {
            for b in a..n {
                let value = values[pair(n, a, b)];
                (products[a * n + b], products[b * n + a]) = (value, value);
            }
        }
        Geometry::new(n, products, unit)
    }

    fn vectors(&self) -> usize {
        self.order.len() + usize::from(self.previous.is_some())
    }

    /// Sets the lift and each pair's scale from the largest values of each tensor.
    fn fit(&mut self, round: &Round<'_>) {
        let tensors: Vec<usize> = (0..self.counted.len()).filter(|t| self.counted[*t]).collect();
        let largest = |tensor: &usize| -> Vec<f64> {
            let own = self.order.iter().map(|i| round.members[*i].facts.facts.max_abs(*tensor));
            let kept = self.previous.map(|_| {
                // a state that is not finite is seen when the next one is written
                self.previous_of(*tensor).map_or(0.0, |(dtype, bytes)| check_block(dtype, bytes).unwrap_or(f64::MAX))
            });
            own.chain(kept).collect()
        };
        let mut largest: Vec<Vec<f64>> = tensors.iter().map(largest).collect();
        let most = largest.iter().flatten().copied().fold(0.0, f64::max);
        let exponent = fixed::product_exponent(most, 1.0).unwrap_or(0);
        self.lift = if exponent.abs() > FAR { -exponent } else { 0 };
        let lift = self.lift;
        largest.iter_mut().flatten().for_each(|value| *value = fixed::times_exp2(*value, lift));
        let elements = |tensor: &usize| member::real(round.model.tensors()[*tensor].elements()).max(1.0);
        let elements: Vec<f64> = tensors.iter().map(elements).collect();
        let bound = |a: usize, b: usize| -> f64 { largest.iter().zip(&elements).map(|(l, n)| l[a] * l[b] * n).sum() };
        let scale = |a, b| fixed::product_exponent(bound(a, b), 1.0).map_or(0, |e| (BITS - e).min(fixed::MAX_SCALE));
        let n = self.vectors();
        self.scales = match self.pass {
            Pass::Products => (0..n).flat_map(|a| (a..n).map(move |b| (a, b))).map(|(a, b)| scale(a, b)).collect(),
            _ => (0..n).map(|a| scale(a, a)).collect(),
        };
    }

    fn previous_of(&self, tensor: usize) -> Option<(DType, &'a [u8])> {
        let (slot, state) = self.previous.zip(self.sources.state)?;
        let index = slot_tensor(state.layout(), slot, &self.sources.base.layout().tensors()[tensor].name)?;
        Some((state.layout().tensors()[index].dtype, state.tensor(index)))
    }

    /// Adds the products of all pairs over one chunk: this part of each row.
    fn multiply(&mut self, rows: Range<usize>) {
        vectorised(|| if self.pass == Pass::Products { self.products(rows) } else { self.squares(rows) });
    }

    #[inline(always)]
    fn squares(&mut self, rows: Range<usize>) {
        let row = |i: usize| &self.rows[i * self.span * ROW..][rows.clone()];
        let n = self.sums.len();
        for first in (0..n).step_by(4) {
            // some are squared twice where four are not left, and added once
            let four = [first, first + 1, first + 2, first + 3].map(|i| row(i.min(n - 1)));
            for (i, value) in dots(four, four).into_iter().enumerate().take(n - first) {
                add(&mut self.sums[first + i], value, self.scales[first + i]);
            }
        }
    }

    #[inline(always)]
    fn products(&mut self, rows: Range<usize>) {
        let n = self.order.len() + usize::from(self.previous.is_some());
        let row = |i: usize| &self.rows[i * self.span * ROW..][rows.clone()];
        for a in 0..n {
            for first in (a..n).step_by(4) {
                let four = [first, first + 1, first + 2, first + 3].map(|b| row(b.min(n - 1)));
                for (i, value) in dots([row(a); 4], four).into_iter().enumerate().take(n - first) {
                    let at = pair(n, a, first + i);
                    add(&mut self.sums[at], value, self.scales[at]);
                }
            }
        }
    }
}

/// Index of (a, b), a ≤ b, in the triangle by rows.
fn pair(n: usize, a: usize, b: usize) -> usize {
    a * (2 * n - a + 1) / 2 + b - a
}

#[allow(clippy::cast_possible_truncation, reason = "the scale keeps it below 2^126")]
fn add(sum: &mut i128, value: f64, scale: i32) {
    *sum += fixed::times_exp2(value, scale) as i128;
}

/// The inner products of four pairs of vectors. Four chains of additions keep the processor busy; each is summed in the same
/// order whoever stands beside it.
#[inline(always)]
fn dots(a: [&[[f64; LANES]]; 4], b: [&[[f64; LANES]]; 4]) -> [f64; 4] {
    let mut sums = [[0.0; LANES]; 4];
    let n = a[0].len();
    let (a, b) = (a.map(|row| &row[..n]), b.map(|row| &row[..n]));
    for k in 0..n {
        for j in 0..4 {
            for lane in 0..LANES {
                sums[j][lane] += a[j][k][lane] * b[j][k][lane];
            }
        }
    }
    sums.map(|sum| {
        let half: [f64; 4] = std::array::from_fn(|i| sum[i] + sum[i + 4]);
        (half[0] + half[1]) + (half[2] + half[3])
    })
}

/// Loads a chunk times 2^lift, with zeros up to a multiple of the lanes.
fn fill(dtype: DType, bytes: &[u8], lift: i32, row: &mut [[f64; LANES]]) {
    let (own, rest) = row.as_flattened_mut().split_at_mut(bytes.len() / dtype.size());
    rest.fill(0.0);
    numbers::load(dtype, bytes, own);
    if lift != 0 {
        own.iter_mut().for_each(|value| *value = fixed::times_exp2(*value, lift));
    }
}

/// A layout's blocks of at most `bytes` bytes, cut where every pass may cut.
pub fn blocks(layout: &Layout, bytes: usize) -> impl Iterator<Item = Block> + '_ {
    layout.tensors().iter().enumerate().flat_map(move |(tensor, spec)| {
        let unit = CHUNK * spec.dtype.size();
        let step = (bytes / unit).max(1) * unit;
        let len = spec.range.len();
        (0..len).step_by(step).map(move |start| Block { tensor, range: start..len.min(start + step) })
    })
}
