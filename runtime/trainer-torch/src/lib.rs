//! The torchscript runtime: trains a TorchScript module on local data with libtorch, no Python involved.
//!
//! The task's entry is the module file; its parameters say how to train; weights go in and out as safetensors under the
//! module's own tensor names. Without the feature `torch` nothing is linked and every task fails with the way to get it.

#[cfg(feature = "torch")]
mod data;
#[cfg(feature = "torch")]
mod error;
#[cfg(feature = "torch")]
mod federated;
#[cfg(feature = "torch")]
mod loss;
#[cfg(feature = "torch")]
mod measure;
#[cfg(feature = "torch")]
mod module;
#[cfg(feature = "torch")]
mod parameters;
#[cfg(feature = "torch")]
mod progress;
#[cfg(feature = "torch")]
mod state;
#[cfg(feature = "torch")]
mod train;
#[cfg(feature = "torch")]
mod work;

#[cfg(not(feature = "torch"))]
mod absent;

#[cfg(not(feature = "torch"))]
pub use absent::run;
#[cfg(feature = "torch")]
pub use work::run;
