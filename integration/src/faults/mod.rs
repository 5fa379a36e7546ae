//! The fault matrix: each row fails one thing at one place while a real job runs, and compares the final model with the
//! undisturbed run's. `cargo xtask faults` runs it and writes docs/reliability.md. Holds no fault itself but the rows'
//! order; processes are failed at the points of `nsfl-fault-point`, everything else from outside.

mod database;
mod disk;
mod expected;
mod network;
mod packets;
mod processes;
mod scripted;
mod story;
mod table;

pub use disk::full as full_disk;
pub use expected::Expected;
pub use story::Story;
pub use table::{Finished, Report, markdown};

use std::time::Duration;

/// What a row works with.
pub struct Ground {
    /// A build of `nsfl-node` with fault points.
    pub program: std::path::PathBuf,
    /// Digests of undisturbed runs.
    pub expected: Expected,
}

/// One row of the matrix.
pub struct Row {
    /// What is failed: `server`, `client`, `executor`, `all at once`, `twice`, `clock`, `network`, `packets`, `disk`.
    pub group: &'static str,
    /// Where and how.
    pub name: String,
    run: Box<Trial>,
}

type Trial = dyn Fn(&Ground) -> anyhow::Result<Outcome>;

/// How a job came through.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// From the fault (or its end, when it lasts) to the job's next event; `None` where the moment is not seen from outside.
    pub recovery: Option<Duration>,
    /// The final model's.
    pub sha256: String,
    /// The undisturbed run's.
    pub expected: String,
    /// What else is worth saying.
    pub note: String,
}

impl Row {
    fn new(group: &'static str, name: String, run: impl Fn(&Ground) -> anyhow::Result<Outcome> + 'static) -> Self {
        Self { group, name, run: Box::new(run) }
    }

    /// Runs it.
    ///
    /// # Errors
    /// The job did not finish, or the fault did not happen.
    pub fn run(&self, ground: &Ground) -> anyhow::Result<Outcome> {
        (self.run)(ground)
    }
}

/// All rows.
#[must_use]
pub fn rows() -> Vec<Row> {
    let mut rows = processes::rows();
    rows.extend(network::rows());
    rows.extend(packets::rows());
    rows.extend(disk::rows());
    rows.extend(database::rows());
    rows
}
