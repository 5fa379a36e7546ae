//! Work that blocks its thread, beside the actors: on the blocking pool, or in a simulation as a task like any other.

use std::future::Future;

use futures_util::FutureExt;
use tokio::runtime::Handle;

use crate::failure::Failure;
use crate::simulation;

/// Runs `work` where it may block, to its end even when nobody waits any more.
///
/// # Errors
/// It panicked, or the runtime ends.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    let task =
        if simulation::is_on() { tokio::spawn(async move { work() }) } else { tokio::task::spawn_blocking(work) };
    task.await.map_err(|error| match error.try_into_panic() {
        Ok(panic) => Failure::from_panic(panic),
        Err(cancelled) => Failure::from(cancelled),
    })
}

/// Waits for futures from within blocking work. In a simulation what is waited for must be there at once.
#[derive(Clone, Debug)]
pub struct Waiter(Option<Handle>);

impl Waiter {
    /// Call it within the runtime, before the work begins.
    pub fn new() -> Self {
        Self((!simulation::is_on()).then(Handle::current))
    }

    pub fn wait<F: Future>(&self, future: F) -> F::Output {
        match &self.0 {
            Some(runtime) => runtime.block_on(future),
            None => future.now_or_never().expect("a simulated store answers blocking work at once"),
        }
    }
}

impl Default for Waiter {
    fn default() -> Self {
        Self::new()
    }
}
