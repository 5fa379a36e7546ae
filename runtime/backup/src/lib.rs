//! The archive of a server's state: one tar, written as a stream, checked to the last byte, unpacked into an empty folder.
//! Knows paths and bytes; what they mean is the node's business.
//!
//! ```text
//! backup.json            form of the archive, who made it and when: read first, so that a newer one is refused first
//! nsfl.sqlite            the database
//! blobs/objects/…        the blobs that its runs need
//! storage/…              the namespaces' files
//! manifest.json          every file above with length and SHA-256, and who owns which blob: last, so that its absence
//!                        shows that the archive is not whole
//! ```

mod read;
mod unpack;
mod write;

pub use read::{ArchiveError, Contents, verify};
pub use unpack::{UNFINISHED, restore};
pub use write::Archive;

use nsfl_types::Digest;
use serde::{Deserialize, Serialize};
use std::path::{Component, Path};

/// The form this program writes, and the newest it reads.
pub const FORMAT: u32 = 1;

pub(crate) const HEADER: &str = "backup.json";
pub(crate) const MANIFEST: &str = "manifest.json";
/// What an archive may hold, beside header and manifest.
const ROOTS: [&str; 3] = ["nsfl.sqlite", "blobs", "storage"];

/// The first entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The archive's form.
    pub format: u32,
    /// Version of the program that wrote it.
    pub version: String,
    /// When, in milliseconds since 1970.
    pub created_ms: u64,
}

/// The last entry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) files: Vec<Stored>,
    pub(crate) links: Vec<Link>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stored {
    pub(crate) path: String,
    pub(crate) bytes: u64,
    pub(crate) sha256: Digest,
}

/// Another name of a file: `path` is a hard link to `to`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Link {
    pub(crate) path: String,
    pub(crate) to: String,
}

/// Whether unpacking this path stays inside the folder.
fn is_inside(path: &str) -> bool {
    let mut parts = Path::new(path).components();
    let known = matches!(parts.next(), Some(Component::Normal(first)) if ROOTS.iter().any(|root| first == *root));
    known && parts.all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests;
