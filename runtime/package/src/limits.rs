//! What a package may hold, and what its entries may be called.

use crate::PackageError;

/// Bytes of a name at most, and folders in each other.
const MAX_NAME: usize = 1024;
const MAX_DEPTH: usize = 32;
/// A package that unpacks to no more than this is no bomb, however small it is.
const SMALL: u64 = 1 << 20;

/// What a package may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the package itself.
    pub packed: u64,
    /// Files and folders.
    pub entries: u64,
    /// Bytes of all files, unpacked.
    pub bytes: u64,
    /// How many times its size it may unpack to; `None` where zeros are as good as other data.
    pub ratio: Option<u64>,
}

impl Default for Limits {
    /// Of scripts: 64 MB with 10,000 entries that unpack to 256 MB, and to 200 times their size.
    fn default() -> Self {
        Self { packed: 64_000_000, entries: 10_000, bytes: 256_000_000, ratio: Some(200) }
    }
}

impl Limits {
    /// Of data that scripts and the job's extender send each other: so many bytes.
    #[must_use]
    pub fn of_data(bytes: u64) -> Self {
        Self { packed: u64::MAX, bytes, ratio: None, ..Self::default() }
    }

    /// Whether a package of so many bytes is taken.
    ///
    /// # Errors
    /// It is too large.
    pub fn check_packed(&self, bytes: u64) -> Result<(), PackageError> {
        not_above(bytes, self.packed, "bytes")
    }

    pub(crate) fn check_entries(&self, entries: u64) -> Result<(), PackageError> {
        not_above(entries, self.entries, "entries")
    }

    pub(crate) fn check_bytes(&self, bytes: u64) -> Result<(), PackageError> {
        not_above(bytes, self.bytes, "bytes unpacked")
    }

    pub(crate) fn check_ratio(&self, packed: u64, bytes: u64) -> Result<(), PackageError> {
        match self.ratio {
            Some(ratio) if bytes > SMALL && bytes / packed.max(1) > ratio => Err(PackageError::Bomb { bytes, ratio }),
            _ => Ok(()),
        }
    }
}

fn not_above(number: u64, max: u64, of: &str) -> Result<(), PackageError> {
    if number <= max {
        return Ok(());
    }
    Err(PackageError::TooLarge { what: format!("{number} {of}"), max })
}

/// A name as it may stand in a package: parts joined by `/` that lead to one place below any folder.
///
/// # Errors
/// What is wrong with it.
pub fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err("has no name of usual length");
    }
    if name.contains(['\\', '\0', ':']) {
        return Err("has a character in its name that no package may have");
    }
    if name.starts_with('/') {
        return Err("has an absolute path");
    }
    if name.split('/').any(|part| part == "..") {
        return Err("leaves the folder it is unpacked to");
    }
    if name.split('/').any(|part| part.is_empty() || part == ".") {
        return Err("has a name that could be written shorter");
    }
    if name.split('/').count() > MAX_DEPTH {
        return Err("lies too deep");
    }
    Ok(())
}
