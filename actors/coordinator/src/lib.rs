//! The coordinator of one job's run and its aggregator child. The coordinator drives the run machine of
//! `nsfl-workflow`: decide, persist, carry out. It never sees a weight; the aggregator does.

mod aggregator;
mod carry_out;
mod driver;
mod init;
mod kept;
mod links;
mod output;
mod record;
mod starter;
#[cfg(test)]
mod tests;

pub use kept::{KeptError, kept_blobs};
pub use starter::{CoordinatorStarter, Surroundings};

pub(crate) use aggregator::{Aggregator, AggregatorArgs, AggregatorMsg};
pub(crate) use driver::{Coordinator, CoordinatorArgs};
