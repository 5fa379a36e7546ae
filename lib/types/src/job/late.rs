//! `hyper_parameters.late` and `max_staleness`: what becomes of an update that comes after its round has closed.

use super::document::{HyperDocument, JobDocument};
use super::spec::{JobError, bad};
use serde::{Deserialize, Serialize};

/// What becomes of an update that comes after its round has closed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Late {
    /// It does not count.
    #[default]
    Drop,
    /// It counts in a later round, for less, up to so many models after the one it was made from.
    Stale {
        /// Largest staleness, ≥ 1.
        max_staleness: u32,
    },
    /// There is no round to be late for: each update counts in the next model, which is made of so many as the rule says.
    Buffer,
}

impl Late {
    /// The name in the job document.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Late::Drop => "drop",
            Late::Stale { .. } => "stale",
            Late::Buffer => "buffer",
        }
    }
}

const DEFAULT_STALENESS: u32 = 5;
const MAX_STALENESS: u32 = 1000;

pub(super) fn late(h: &HyperDocument) -> Result<Late, JobError> {
    const FIELD: &str = "hyper_parameters.max_staleness";
    let given = h.max_staleness;
    match h.late.as_deref().unwrap_or("drop") {
        "drop" if given.is_some() => Err(bad(FIELD, "is for late 'stale': with 'drop' no update is stale")),
        "drop" => Ok(Late::Drop),
        "stale" => match given.unwrap_or(DEFAULT_STALENESS) {
            max_staleness @ 1..=MAX_STALENESS => Ok(Late::Stale { max_staleness }),
            wrong => Err(bad(FIELD, &format!("{wrong} is out of range: 1 to {MAX_STALENESS} is allowed"))),
        },
        "buffer" if given.is_some() => Err(bad(FIELD, "is aggregator.params.max_staleness with late 'buffer'")),
        "buffer" => Ok(Late::Buffer),
        other => Err(bad("hyper_parameters.late", &format!("'{other}' is unknown; allowed: drop, stale, buffer"))),
    }
}

/// What does not go with updates to several models in one round, whatever the rule.
pub(super) fn check(late: Late, d: &JobDocument) -> Result<(), JobError> {
    if late == Late::Drop {
        return Ok(());
    }
    let late = late.as_str();
    if d.compression.as_ref().is_some_and(|compression| compression.get("model").is_some_and(|model| !model.is_null()))
    {
        let problem =
            format!("does not go with late '{late}': the newest model alone is kept as it is sent; leave it out");
        return Err(bad("compression.model", &problem));
    }
    if d.extender.is_none() {
        return Ok(());
    }
    let problem = format!(
        "does not go with late '{late}': its functions take a round's updates for updates to one model; allowed: drop"
    );
    Err(bad("extender", &problem))
}
