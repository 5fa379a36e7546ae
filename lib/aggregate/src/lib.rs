//! Aggregation rules: exact, independent of arrival order. No IO, no knowledge of clients.
//!
//! A round's result is a pure function of the *set* of its members: it is evaluated block by block over the
//! stored updates when the round closes, in memory bounded by one block. A rule is used in four steps:
//! plan (from weights and facts of all members), accumulate a block of each, merge parts, finish.

mod error;
mod fedavg;
mod fixed;
mod partial;
mod scaffold;
mod stream;

pub use error::AggregateError;
pub use fedavg::{FedAvg, MAX_WEIGHT, MemberFacts, Plan, check_weight};
pub use partial::Partial;
pub use scaffold::{CONTROL_PREFIX, Scaffold, is_control, with_controls, without_controls};
pub use stream::{Block, aggregate};
