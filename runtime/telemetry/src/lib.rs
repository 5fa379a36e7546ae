//! What a node tells about itself: logs through `tracing`, trace context across links, memory and CPU of a process.
//! No metrics server and no exporter; nothing is sent anywhere.

mod log;
pub mod process;
pub mod span;
mod trace;

pub use log::{LogConfig, LogFormat, TelemetryError, init};
pub use trace::{TraceContext, TraceError};
