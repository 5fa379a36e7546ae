//! The stored form of every machine: JSON with a version in front. Not what a machine means, only how it is kept.

use nsfl_types::Code;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The version written. Version 1, which is read too, knows no tasks that outlive their round.
const VERSION: u32 = 2;
const OLDEST: u32 = 1;

/// Why a snapshot was not restored.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The bytes are no snapshot of this machine.
    #[error("the snapshot of a {machine} cannot be read")]
    Unreadable {
        /// Which machine was to be restored.
        machine: &'static str,
        /// What the parser found.
        #[source]
        source: serde_json::Error,
    },
    /// Written by another version of this program.
    #[error("the snapshot of a {machine} has version {found}; this program reads versions {OLDEST} to {VERSION}")]
    UnknownVersion {
        /// Which machine was to be restored.
        machine: &'static str,
        /// The version found.
        found: u32,
    },
}

impl SnapshotError {
    /// The stable code: what was stored cannot be used, or not by this version.
    #[must_use]
    pub fn code(&self) -> Code {
        if self.is_newer() { Code::NewerData } else { Code::Store }
    }

    /// Whether a newer version of this program wrote it.
    #[must_use]
    pub fn is_newer(&self) -> bool {
        matches!(self, SnapshotError::UnknownVersion { found, .. } if *found > VERSION)
    }
}

#[derive(Serialize, Deserialize)]
struct Envelope<T> {
    version: u32,
    machine: T,
}

#[derive(Deserialize)]
struct Header {
    version: u32,
}

pub(crate) fn encode<T: Serialize>(machine: &T) -> Vec<u8> {
    serde_json::to_vec(&Envelope { version: VERSION, machine })
        .expect("machines hold no maps but those keyed by names, which are strings")
}

pub(crate) fn decode<T: DeserializeOwned>(machine: &'static str, bytes: &[u8]) -> Result<T, SnapshotError> {
    let unreadable = |source| SnapshotError::Unreadable { machine, source };
    let Header { version } = serde_json::from_slice(bytes).map_err(unreadable)?;
    if !(OLDEST..=VERSION).contains(&version) {
        return Err(SnapshotError::UnknownVersion { machine, found: version });
    }
    Ok(serde_json::from_slice::<Envelope<T>>(bytes).map_err(unreadable)?.machine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_of_an_unknown_version_is_refused_by_its_number() {
        let error = decode::<u32>("job machine", br#"{"version":9,"machine":{"whatever":1}}"#).unwrap_err();
        let text = "the snapshot of a job machine has version 9; this program reads versions 1 to 2";
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn bytes_that_are_no_snapshot_are_refused() {
        for bytes in [&b""[..], b"{}", br#"{"version":1}"#, br#"{"version":1,"machine":"x"}"#] {
            assert!(matches!(decode::<u32>("m", bytes), Err(SnapshotError::Unreadable { .. })));
        }
        assert_eq!(decode::<u32>("m", &encode(&7)).unwrap(), 7);
    }
}
