//! The rules that job documents may name: the library's own, and those that a node was built with.

use crate::params::Params;
use crate::{RULES, Rule};
use nsfl_types::JobError;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Makes a rule from its parameters in a job document. What it does not ask `Params` for is refused.
pub type Make = fn(&mut Params<'_>) -> Result<Arc<dyn Rule>, JobError>;

/// The rules there are. Reads names and parameters of job documents ([`Rules::parse`], [`Rules::of_job`]).
#[derive(Debug, Clone, Default)]
pub struct Rules {
    own: BTreeMap<&'static str, Make>,
}

impl Rules {
    /// With a rule of one's own, by the name that job documents give it.
    ///
    /// # Panics
    /// Another rule has that name.
    #[must_use]
    pub fn with(mut self, name: &'static str, make: Make) -> Self {
        assert!(!self.names().any(|known| known == name), "there is a rule named '{name}' already");
        self.own.insert(name, make);
        self
    }

    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        RULES.into_iter().chain(self.own.keys().copied())
    }

    /// How a rule of that name is made, if it is none of the library's.
    pub(crate) fn own(&self, name: &str) -> Option<Make> {
        self.own.get(name).copied()
    }
}
