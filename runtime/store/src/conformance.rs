//! What every backend must do, as functions its tests call. Each check gets a store in a folder of its own; a panic
//! names the check by its line.
#![allow(clippy::unwrap_used, reason = "these are tests: a panic is their answer")]

mod access;
mod blob;
mod job;
pub mod sample;
mod task;

pub use access::{access_store, access_store_persists};
pub use blob::{blob_store, blob_store_persists};
pub use job::{job_store, job_store_persists};
pub use task::{task_store, task_store_persists};
