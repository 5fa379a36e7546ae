//! What a node tells about itself: logs through `tracing`, trace context across links, memory and CPU of a process.
//! No metrics server and no exporter; nothing is sent anywhere by itself.

mod log;
pub mod process;
pub mod span;
mod tail;
mod trace;

pub use log::{LogConfig, LogFormat, TelemetryError, init};
pub use tail::{LogRecord, LogTail};
pub use trace::{TraceContext, TraceError};
