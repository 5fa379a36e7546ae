//! Client selection as a pure function: filter, rank, take. No heartbeats, no clock.

mod fit;
mod select;
#[cfg(test)]
mod tests;

pub use fit::{Candidate, Capacity, Request, Unfit};
pub use select::{LeftOut, Selection, score, select};
