//! A whole round, block by block: reads the members' updates side by side and hands out the new weights as a
//! safetensors stream. Holds the buffers of one worker, whatever the size of the model.

use crate::{AggregateError, Aggregation, Pass, Plan, Round, Sources, Survey, Worker, blocks};
use nsfl_tensor::{BLOCK_BYTES, StreamError};
use std::ops::Range;

/// A part of one tensor that is done with: its input pages may be dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Index of the tensor in the layout.
    pub tensor: usize,
    /// Bytes of the tensor.
    pub range: Range<usize>,
}

/// Where a round's results go.
pub trait Sink {
    /// Why it could not take them.
    type Error;

    /// The head of the next model's file, and then its blocks one after the other.
    ///
    /// # Errors
    /// The sink's own.
    fn model(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;

    /// A block of what is kept: a part of a tensor of [`Plan::state_layout`], in no order that it could be appended in. The
    /// place in a file is after `layout.header_bytes()`, at the tensor's own place plus `block.range.start`.
    ///
    /// # Errors
    /// The sink's own.
    fn state(&mut self, _block: &Block, _bytes: &[u8]) -> Result<(), Self::Error> {
        Ok(())
    }

    /// This block of all sources is done with, in this pass.
    fn done(&mut self, _block: Block) {}
}

/// Aggregates a round: surveys the updates if the rule asks for it, plans, and makes the next model and what is kept.
/// Takes at most `memory` bytes of its own beside the sources.
///
/// # Errors
/// Members or sources that do not fit, too little memory, a result that is not finite (what was written is then to be
/// thrown away), or the sink's own error.
pub fn aggregate_round<S: Sink>(
    aggregation: &Aggregation,
    round: &Round<'_>,
    sources: Sources<'_>,
    memory: usize,
    sink: &mut S,
) -> Result<Plan, StreamError<AggregateError, S::Error>> {
    let mut seen = None;
    if aggregation.pass() > Pass::None {
        let mut survey = Survey::new(aggregation, round, sources, memory).map_err(StreamError::Content)?;
        for block in blocks(round.model, BLOCK_BYTES) {
            survey.add(&block).map_err(StreamError::Content)?;
            sink.done(block);
        }
        seen = Some(survey.finish());
    }
    let plan = aggregation.plan(round, seen.as_ref()).map_err(StreamError::Content)?;
    write(&plan, sources, memory, sink)?;
    Ok(plan)
}

/// Carries out a plan.
fn write<S: Sink>(
    plan: &Plan,
    sources: Sources<'_>,
    memory: usize,
    sink: &mut S,
) -> Result<(), StreamError<AggregateError, S::Error>> {
    let mut worker = Worker::new(plan, sources, memory).map_err(StreamError::Content)?;
    sink.model(&plan.layout().header_bytes()).map_err(StreamError::Write)?;
    for block in blocks(plan.layout(), worker.block_bytes()) {
        worker.run(&block).map_err(StreamError::Content)?;
        sink.model(worker.model()).map_err(StreamError::Write)?;
        for (block, bytes) in worker.state() {
            sink.state(block, bytes).map_err(StreamError::Write)?;
        }
        sink.done(block);
    }
    Ok(())
}

/// Follows a pass over the sources and says which of their bytes are behind it, some megabytes at a time: their pages may be given
/// back.
#[derive(Debug, Default)]
pub struct Behind {
    /// How far in the tensor at work.
    done: usize,
}

/// So many bytes of all updates together lie behind before they are named, but not less than `LEAST` of each.
const STRIDE: usize = 16 << 20;
const LEAST: usize = 256 << 10;
/// Named once more with what follows: a read maps pages on both sides of where it is, up to the largest that there are.
const AROUND: usize = 2 << 20;

impl Behind {
    /// The pass is done with a block. What lies behind goes to `give_back`, piece by piece.
    pub fn pass<'a>(&mut self, sources: Sources<'a>, block: &Block, mut give_back: impl FnMut(&'a [u8])) {
        let whole = sources.base.layout().tensors()[block.tensor].range.len();
        let stride = (STRIDE / (sources.updates.len() + 1)).max(LEAST);
        if block.range.start == 0 {
            self.done = 0;
        }
        if block.range.end - self.done < stride && block.range.end < whole {
            return;
        }
        let sections = |tensor| {
            let updates = sources.updates.iter().map(move |update| update.section(tensor));
            updates.chain([sources.base.tensor(tensor)])
        };
        if self.done == 0 && block.tensor > 0 {
            sections(block.tensor - 1).for_each(|section| give_back(&section[section.len().saturating_sub(AROUND)..]));
        }
        let done = self.done.saturating_sub(AROUND)..block.range.end;
        for section in sections(block.tensor) {
            // the part that stands for it, about
            let at = |byte: usize| byte as u128 * section.len() as u128 / whole as u128;
            #[allow(clippy::cast_possible_truncation, reason = "no more than the section")]
            give_back(&section[at(done.start) as usize..at(done.end) as usize]);
        }
        if let Some(state) = sources.state {
            (0..state.layout().tensors().len()).for_each(|tensor| give_back(state.tensor(tensor)));
        }
        self.done = block.range.end;
    }
}
