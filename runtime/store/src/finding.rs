//! What a check of stored data finds: where, what is wrong, and what to do about it.

use serde::Serialize;
use std::fmt;

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// Whether something is lost; otherwise it is only in the way.
    pub damage: bool,
    /// The file, or the record.
    pub place: String,
    /// What is wrong with it.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

impl Finding {
    /// Something is lost or wrong.
    pub fn damage(place: impl fmt::Display, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { damage: true, place: place.to_string(), problem: problem.into(), remedy: remedy.into() }
    }

    /// Something is left over and takes up room.
    pub fn leftover(place: impl fmt::Display, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { damage: false, ..Self::damage(place, problem, remedy) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.damage { "damage" } else { "leftover" };
        write!(f, "{kind}: {}: {}; {}", self.place, self.problem, self.remedy)
    }
}
