//! The coordinator of one job's run with its aggregator and, for a job that has one, its extender beside it. The
//! coordinator drives the run machine of `nsfl-workflow`: decide, persist, carry out. It never sees a weight; they do.

mod aggregator;
mod audit;
mod carry_out;
mod driver;
mod extender;
mod init;
mod kept;
mod links;
mod live;
mod output;
mod owners;
mod packages;
mod patience;
mod record;
mod roll;
mod scaffold;
mod sent;
mod spans;
mod starter;
mod state;
mod sum;
#[cfg(test)]
mod tests;
mod traffic;

pub use audit::{KeptRound, kept_round};
pub use extender::ExtenderConfig;
pub use kept::{KeptError, kept_blobs};
pub use starter::{AggregationConfig, CoordinatorStarter, Surroundings};

pub(crate) use aggregator::{Aggregator, AggregatorArgs, AggregatorMsg};
pub(crate) use driver::{Coordinator, CoordinatorArgs};
