//! Points at which a test build dies, freezes or panics, so that the fault matrix can fail a process between any two
//! steps. Without the feature `armed`, which only `cargo xtask faults` asks for, a point compiles to nothing.
//!
//! An armed process reads `FAULT_POINT=<actor>/<step>/<place>=<action>[@<n>]` once: at the n-th time (from 1, the
//! default) that this point is reached, `kill` ends the process like `kill -9`, `stop` freezes it like SIGSTOP, and
//! `panic` panics in the actor that reached it.

#[cfg(feature = "armed")]
mod armed;

use std::fmt::Debug;

/// Milliseconds by which this process's wall clock is wrong: `FAULT_CLOCK_MS` in an armed process, else 0.
#[must_use]
pub fn clock_offset_ms() -> i64 {
    #[cfg(feature = "armed")]
    return std::env::var("FAULT_CLOCK_MS").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    #[cfg(not(feature = "armed"))]
    0
}

/// One step of an actor, named after what it takes in.
#[derive(Debug)]
pub struct Step {
    #[cfg(feature = "armed")]
    name: String,
}

impl Step {
    /// The step of `actor` that takes in `input`; of an enum, the variant's name counts.
    #[must_use]
    pub fn new(actor: &str, input: &impl Debug) -> Self {
        #[cfg(feature = "armed")]
        return Self { name: format!("{actor}/{}", armed::variant(input)) };
        #[cfg(not(feature = "armed"))]
        {
            let _ = (actor, input);
            Self {}
        }
    }

    /// A place in the step, such as `before-commit`.
    pub fn reach(&self, place: &str) {
        #[cfg(feature = "armed")]
        armed::reach(&format!("{}/{place}", self.name));
        #[cfg(not(feature = "armed"))]
        let _ = place;
    }
}
