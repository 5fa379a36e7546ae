//! What a server tells of itself and of the files it keeps.

use nsfl_types::Digest;
use serde::{Deserialize, Serialize};

/// Which server answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Version of the software.
    pub version: String,
    /// Version of this interface.
    pub api: String,
}

/// The namespaces of the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces {
    /// Their names, sorted.
    pub namespaces: Vec<String>,
}

/// A file that was stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredFile {
    /// Path in the namespace's storage.
    pub path: String,
    /// Length in bytes.
    pub bytes: u64,
    /// SHA-256 of its bytes, 64 hex digits.
    pub sha256: Digest,
}
