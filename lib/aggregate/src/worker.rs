//! One block of the next model and of what is kept, from the same block of everything it is made of. Blocks may be made in
//! any order and by several workers. All of a worker's memory is taken when it is made.

use crate::columns::TileBuffers;
use crate::partial::{Blocks, Decoded};
use crate::plan::Kind;
use crate::rule::lora;
use crate::{AggregateError, Block, Partial, Plan, Sources};
use nsfl_compress::Update;
use nsfl_tensor::{BLOCK_BYTES, DType, Layout, check_block, numbers};
use std::ops::Range;

/// Makes blocks of a round.
#[derive(Debug)]
pub struct Worker<'p> {
    plan: &'p Plan,
    sources: Sources<'p>,
    block_bytes: usize,
    partial: Partial<'p>,
    decoded: Decoded,
    tile: TileBuffers,
    /// Δ, and then the new weights.
    delta: Vec<f64>,
    x: Vec<f64>,
    slots: Vec<Vec<f64>>,
    out: Vec<u8>,
    /// The new blocks of the state, the first `kept_len` of this block.
    kept: Vec<(Block, Vec<u8>)>,
    kept_len: usize,
}

/// The least block: what [`crate::blocks`] may cut of any type.
const LEAST: usize = 8 * crate::survey::CHUNK;

impl<'p> Worker<'p> {
    /// A worker that takes at most `memory` bytes, whatever the size of the model.
    ///
    /// # Errors
    /// Less memory than the smallest block takes; sources that are not those of the plan.
    pub fn new(plan: &'p Plan, sources: Sources<'p>, memory: usize) -> Result<Self, AggregateError> {
        sources.check(plan.layout(), plan.members(), plan.state_layout())?;
        let tile = plan.columns.as_ref().map_or(0, |columns| columns.tile_bytes(plan.members()));
        let decoded = if sources.updates.iter().any(Update::is_compressed) { Decoded::default().len() } else { 0 };
        let each = block_cost(plan) + decoded;
        if tile + LEAST * each > memory {
            let (members, needs) = (plan.members(), tile + LEAST * each);
            return Err(AggregateError::Memory { members, needs, given: memory });
        }
        let block_bytes = ((memory - tile) / each / LEAST * LEAST).min(BLOCK_BYTES);
        let tile = plan.columns.as_ref().map(|columns| TileBuffers::new(columns, plan.members())).unwrap_or_default();
        Ok(Self {
            plan,
            sources,
            block_bytes,
            partial: Partial::idle(plan),
            decoded: Decoded::default(),
            tile,
            delta: Vec::new(),
            x: Vec::new(),
            slots: vec![Vec::new(); plan.slots.len()],
            out: Vec::new(),
            kept: Vec::new(),
            kept_len: 0,
        })
    }

    /// How large its blocks may be, for [`crate::blocks`].
    #[must_use]
    pub fn block_bytes(&self) -> usize {
        self.block_bytes
    }

    /// Makes a block: afterwards `model` and `state` are of it.
    ///
    /// # Errors
    /// A result that is not finite.
    pub fn run(&mut self, block: &Block) -> Result<(), AggregateError> {
        let spec = &self.plan.layout().tensors()[block.tensor];
        let elements = block.range.len() / spec.dtype.size();
        let base = &self.sources.base.tensor(block.tensor)[block.range.clone()];
        self.out.resize(block.range.len(), 0);
        self.kept_len = 0;
        let kind = self.plan.kind(block.tensor);
        match kind {
            Kind::Keep => self.out.copy_from_slice(base),
            Kind::Zero => self.out.fill(0),
            Kind::Max | Kind::Sum { .. } => {
                self.partial.reset(block.tensor, block.range.len());
                self.partial.accumulate_all(&Blocks { updates: self.sources.updates, block }, &mut self.decoded)?;
                if self.plan.is_fused(block.tensor) {
                    self.partial.finish(base, &mut self.out)?;
                } else {
                    self.delta.resize(elements, 0.0);
                    self.partial.delta(&mut self.delta)?;
                    self.step(block, base, true)?;
                }
            }
            Kind::Columns { moved } => {
                self.delta.resize(elements, 0.0);
                let plan = self.plan.columns.as_ref().ok_or(AggregateError::Mismatch("a plan without columns"))?;
                self.tile.run(plan, spec.dtype, block, self.sources.updates, &mut self.delta);
                self.step(block, base, moved)?;
            }
            Kind::Product(product) => {
                self.delta.clear();
                self.delta.resize(elements, 0.0);
                lora::add_product(self.plan, &product, block, &self.sources, &mut self.delta);
                self.step(block, base, false)?;
            }
        }
        finite(spec.dtype, &spec.name, block.range.start, &self.out)
    }

    /// The block of the next model.
    #[must_use]
    pub fn model(&self) -> &[u8] {
        &self.out
    }

    /// The blocks of what is kept that go with it, in the layout of [`Plan::state_layout`].
    pub fn state(&self) -> impl Iterator<Item = (&Block, &[u8])> {
        self.kept[..self.kept_len].iter().map(|(block, bytes)| (block, bytes.as_slice()))
    }

    /// Δ to new weights: by the server optimizer, or added as it is.
    fn step(&mut self, block: &Block, base: &[u8], moved: bool) -> Result<(), AggregateError> {
        let dtype = self.plan.layout().tensors()[block.tensor].dtype;
        let elements = self.delta.len();
        self.x.resize(elements, 0.0);
        numbers::load(dtype, base, &mut self.x);
        if !moved {
            self.x.iter_mut().zip(&self.delta).for_each(|(x, d)| *x += d);
            numbers::store(dtype, &self.x, &mut self.out);
            return Ok(());
        }
        let first = block.range.start / dtype.size();
        self.load_slots(block.tensor, first..first + elements);
        let mut own = 0;
        if self.plan.keeps_previous {
            own = 1;
            let share = self.plan.terms(block.tensor).map_or(0.0, |terms| terms.previous);
            self.delta.iter_mut().zip(&self.slots[0]).for_each(|(d, last)| *d += share * last);
            self.slots[0].copy_from_slice(&self.delta);
        }
        self.plan.server.step(self.plan.counts(), &self.delta, &mut self.x, &mut self.slots[own..]);
        numbers::store(dtype, &self.x, &mut self.out);
        self.store_slots(block.tensor, first..first + elements)
    }

    fn load_slots(&mut self, tensor: usize, elements: Range<usize>) {
        for ((values, slot), index) in self.slots.iter_mut().zip(&self.plan.slots).zip(self.plan.slot_tensors(tensor)) {
            values.clear();
            values.resize(elements.len(), slot.initial);
            if let Some(state) = self.sources.state {
                let dtype = state.layout().tensors()[*index].dtype;
                let range = elements.start * dtype.size()..elements.end * dtype.size();
                numbers::load(dtype, &state.tensor(*index)[range], values);
            }
        }
    }

    fn store_slots(&mut self, tensor: usize, elements: Range<usize>) -> Result<(), AggregateError> {
        let Some(layout) = self.plan.state_layout() else { return Ok(()) };
        for (i, index) in self.plan.slot_tensors(tensor).iter().enumerate() {
            let spec = &layout.tensors()[*index];
            let range = elements.start * spec.dtype.size()..elements.end * spec.dtype.size();
            let block = Block { tensor: *index, range };
            if self.kept.len() == i {
                self.kept.push((block.clone(), Vec::new()));
            }
            let (place, bytes) = &mut self.kept[i];
            bytes.resize(block.range.len(), 0);
            numbers::store(spec.dtype, &self.slots[i], bytes);
            finite(spec.dtype, &spec.name, block.range.start, bytes)?;
            *place = block;
            self.kept_len = i + 1;
        }
        Ok(())
    }
}

impl Sources<'_> {
    /// Whether these are the files of a round.
    pub(crate) fn check(&self, model: &Layout, members: usize, state: Option<&Layout>) -> Result<(), AggregateError> {
        let of_model = |update: &Update<'_>| update.layout() == model;
        if self.updates.len() != members || self.base.layout() != model || !self.updates.iter().all(of_model) {
            return Err(AggregateError::Mismatch("the updates are not those of the plan"));
        }
        if self.state.is_some_and(|view| state != Some(view.layout())) {
            return Err(AggregateError::Mismatch("the state is not one that this rule keeps for this model"));
        }
        Ok(())
    }
}

/// Bytes of memory for each byte of a block: sums, output, and, where it is not fused, Δ, x and slots.
fn block_cost(plan: &Plan) -> usize {
    let of = |(i, spec): (usize, &nsfl_tensor::TensorSpec)| {
        let moved = if plan.is_fused(i) { 0 } else { 16 + 16 * plan.slots.len() };
        2 + (8 + moved).div_ceil(spec.dtype.size())
    };
    plan.layout().tensors().iter().enumerate().map(of).max().unwrap_or(1)
}

fn finite(dtype: DType, tensor: &str, start: usize, bytes: &[u8]) -> Result<(), AggregateError> {
    let error = |index| AggregateError::NotFinite { tensor: tensor.to_owned(), index: index + start / dtype.size() };
    check_block(dtype, bytes).map(drop).map_err(error)
}
