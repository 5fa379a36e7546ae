//! A whole round, block by block: reads the members' updates side by side and hands out the new weights as a
//! safetensors stream. Holds the buffers of one worker, whatever the size of the model.

use crate::{AggregateError, Aggregation, Pass, Plan, Round, Sources, Survey, Worker, blocks};
use nsfl_compress::Update;
use nsfl_tensor::{BLOCK_BYTES, StreamError, WeightsView};
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
///
/// # Errors
/// As `aggregate_round`.
pub fn write<S: Sink>(
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

/// Carries out a plan that keeps nothing. `write` receives the head of the file and then consecutive blocks; `after_block`
/// is told of each block that has been written.
///
/// # Errors
/// Updates of another model or number than planned, a result that is not finite (what was written is then to be
/// thrown away), or the sink's own error.
pub fn aggregate<E>(
    plan: &Plan,
    base: &WeightsView<'_>,
    updates: &[Update<'_>],
    write: impl FnMut(&[u8]) -> Result<(), E>,
    after_block: impl FnMut(Block),
) -> Result<(), StreamError<AggregateError, E>> {
    struct Closures<W, A>(W, A);
    impl<E, W: FnMut(&[u8]) -> Result<(), E>, A: FnMut(Block)> Sink for Closures<W, A> {
        type Error = E;

        fn model(&mut self, bytes: &[u8]) -> Result<(), E> {
            (self.0)(bytes)
        }

        fn done(&mut self, block: Block) {
            (self.1)(block);
        }
    }
    if plan.state_layout().is_some() {
        return Err(StreamError::Content(AggregateError::Mismatch("what the plan keeps has nowhere to go")));
    }
    self::write(plan, Sources { base, state: None, updates }, usize::MAX, &mut Closures(write, after_block))
}
