//! What a node tells about itself: logs through `tracing`, trace context across links, memory and CPU of a process; and, where
//! a collector is configured, the spans of rounds. Without one nothing is sent anywhere.

mod collector;
mod log;
pub mod process;
pub mod span;
mod stage;
mod tail;
mod trace;

pub use collector::{Collector, CollectorError, Export, Service};
pub use log::{LogConfig, LogFormat, TelemetryError, init};
pub use stage::{Stage, is_traced};
pub use tail::{LogRecord, LogTail};
pub use trace::{TraceContext, TraceError};
