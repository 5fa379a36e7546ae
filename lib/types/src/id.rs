//! Names that cross the wire, checked once when they are made: namespace, job, client.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what} '{value}' is not valid: use 1 to {max} characters from a-z A-Z 0-9 '.' '_' '-', starting with a letter or digit"
)]
pub struct IdError {
    what: &'static str,
    value: String,
    max: usize,
}

const MAX_LEN: usize = 128;

fn check(what: &'static str, value: &str) -> Result<(), IdError> {
    let first_ok = value.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
    let rest_ok = value.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    if first_ok && rest_ok && value.len() <= MAX_LEN {
        return Ok(());
    }
    let shown: String = value.chars().take(MAX_LEN).collect();
    Err(IdError { what, value: shown, max: MAX_LEN })
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks the name: it is safe as a path component, in a URI and in a log line.
            pub fn new(value: impl Into<String>) -> Result<Self, IdError> {
                let value = value.into();
                check($what, &value)?;
                Ok(Self(value))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(value: String) -> Result<Self, IdError> {
                Self::new(value)
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;
            fn from_str(value: &str) -> Result<Self, IdError> {
                Self::new(value)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// A namespace: the owner of jobs and of a folder in storage.
    Namespace, "namespace"
);
id!(
    /// A job's id, unique within its namespace.
    JobId, "job id"
);
id!(
    /// A training site, as its certificate names it.
    ClientId, "client id"
);

/// A job across namespaces.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobKey {
    /// The namespace that owns the job.
    pub namespace: Namespace,
    /// The job's id within it.
    pub id: JobId,
}

impl JobKey {
    /// Joins namespace and id.
    #[must_use]
    pub fn new(namespace: Namespace, id: JobId) -> Self {
        Self { namespace, id }
    }
}

impl fmt::Display for JobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_could_leave_its_folder_is_refused() {
        for bad in ["", ".", "..", "../x", "a/b", "-x", "a b", "é", "a\0"] {
            assert!(ClientId::new(bad).is_err(), "{bad:?}");
        }
        assert_eq!(JobId::new("digits-1.a_b").unwrap().as_str(), "digits-1.a_b");
        assert!(JobId::new("a".repeat(129)).is_err());
    }
}
