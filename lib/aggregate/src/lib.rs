//! Aggregation rules: exact, independent of arrival order. No IO, no knowledge of clients.
//!
//! A round's result is a pure function of the *set* of its members: it is evaluated block by block over the
//! stored updates when the round closes, in memory bounded by the caller.
//!
//! A job's [`Aggregation`] is pre-aggregators, a [`Rule`] and a [`Server`] optimizer, made by [`Rules::parse`] from the job
//! document. A round goes in up to three steps, all of them in [`aggregate_round`]:
//!
//! 1. where [`Aggregation::pass`] asks for it, a [`Survey`] of all blocks: inner products of the updates, or their norms;
//! 2. [`Aggregation::plan`]: which coefficients, which columns, from weights, facts and the survey;
//! 3. a [`Worker`] for each block: the new weights and what is kept for the next round.
//!
//! Sums can also be made update by update: plan, accumulate into a [`Partial`], merge parts, finish.

mod aggregation;
mod allowed;
mod class;
mod columns;
mod error;
mod fixed;
mod geometry;
mod job;
mod member;
mod mix;
mod params;
mod parse;
mod partial;
mod plan;
mod pre;
mod robust;
mod rule;
mod rules;
mod server;
mod state;
mod stream;
mod survey;
mod vector;
mod worker;

pub use aggregation::{Aggregation, Round, Sources};
pub use allowed::Allowed;
pub use columns::{Columns, LANES, Values};
pub use error::AggregateError;
pub use geometry::{Geometry, Pass};
pub use member::{Fact, MAX_WEIGHT, Member, MemberFacts, check_weight};
pub use params::Params;
pub use parse::RULES;
pub use partial::Partial;
pub use plan::Plan;
pub use pre::Pre;
pub use robust::bulyan::Bulyan;
pub use robust::centered_clipping::CenteredClipping;
pub use robust::geometric_median::GeometricMedian;
pub use robust::krum::{Krum, Take};
pub use robust::order::{Median, TrimmedMean};
pub use rule::fedbuff::FedBuff;
pub use rule::fednova::FedNova;
pub use rule::lora::{Lora, Variant};
pub use rule::mean::Mean;
pub use rule::qfedavg::QFedAvg;
pub use rule::scaffold::{CONTROL_PREFIX, is_control, with_controls, without_controls};
pub use rule::{Combine, Inputs, Lateness, Product, Rule, Treat, staleness_weight};
pub use rules::{Make, Rules};
pub use server::{Adaptive, Server};
pub use state::Slot;
pub use stream::{Behind, Block, Sink, aggregate_round};
pub use survey::{Survey, blocks};
pub use worker::Worker;
