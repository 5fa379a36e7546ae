//! Looks into a zip before anybody unpacks it: names that stay inside, only files, no more than is taken.

use crate::{PackageError, is_plain};
use std::collections::BTreeSet;
use std::io::{Cursor, Read as _};
use zip::ZipArchive;

/// What a package may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Files.
    pub entries: u64,
    /// Bytes of all files, unpacked.
    pub bytes: u64,
}

impl Default for Limits {
    /// 10,000 files, 256 MiB.
    fn default() -> Self {
        Self { entries: 10_000, bytes: 256 << 20 }
    }
}

impl Limits {
    pub(crate) fn check_entries(&self, entries: u64) -> Result<(), PackageError> {
        if entries <= self.entries {
            return Ok(());
        }
        Err(PackageError::TooLarge { what: format!("{entries} files"), max: self.entries })
    }

    pub(crate) fn check_bytes(&self, bytes: u64) -> Result<(), PackageError> {
        if bytes <= self.bytes {
            return Ok(());
        }
        Err(PackageError::TooLarge { what: format!("{bytes} bytes unpacked"), max: self.bytes })
    }
}

/// What is in a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The files, sorted.
    pub names: Vec<String>,
}

impl Listing {
    /// Whether this file is in it.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.names.binary_search_by(|known| known.as_str().cmp(name)).is_ok()
    }
}

/// Looks at every entry. Sizes are counted by unpacking, never believed.
///
/// # Errors
/// No zip; an entry that leaves its folder, is a link, encrypted, or there twice; more than `limits` allow.
pub fn check(bytes: &[u8], limits: &Limits) -> Result<Listing, PackageError> {
    let mut zip = ZipArchive::new(Cursor::new(bytes))?;
    limits.check_entries(zip.len() as u64)?;
    let (mut names, mut total) = (BTreeSet::new(), 0);
    for index in 0..zip.len() {
        let mut entry = zip.by_index(index)?;
        let name = entry.name()?.into_owned();
        let bad = |problem| PackageError::BadEntry { entry: name.chars().take(200).collect(), problem };
        if !is_plain(name.trim_end_matches('/')) {
            return Err(bad("could leave the folder it is unpacked to"));
        }
        if entry.is_symlink() {
            return Err(bad("is a link"));
        }
        if entry.encrypted() {
            return Err(bad("is encrypted"));
        }
        if entry.is_dir() {
            continue;
        }
        let left = limits.bytes - total;
        let read = std::io::copy(&mut entry.by_ref().take(left + 1), &mut std::io::sink());
        total += read.map_err(zip::result::ZipError::Io)?;
        limits.check_bytes(total)?;
        if !names.insert(name.clone()) {
            return Err(bad("is there twice"));
        }
    }
    Ok(Listing { names: names.into_iter().collect() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack_entries;
    use std::io::Write as _;
    use zip::write::{SimpleFileOptions, ZipWriter};

    const LIMITS: Limits = Limits { entries: 2, bytes: 1000 };

    fn raw(name: &str) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(b"/etc/passwd").unwrap();
        zip.finish().unwrap().into_inner()
    }

    fn says(bytes: &[u8], text: &str) {
        let error = check(bytes, &LIMITS).unwrap_err();
        assert!(error.to_string().contains(text), "{error} should say {text}");
        assert_eq!(error.code(), nsfl_types::Code::BadPackage);
    }

    #[test]
    fn names_that_lead_out_are_refused() {
        for name in ["../x", "/etc/x", "a/../../x", "a\\..\\x", "c:x"] {
            says(&raw(name), "leave the folder");
        }
    }

    #[test]
    fn links_bombs_and_rubbish_are_refused() {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        zip.add_symlink("link", "/etc/passwd", SimpleFileOptions::default()).unwrap();
        says(&zip.finish().unwrap().into_inner(), "is a link");
        says(&pack_entries([("zeros", &[0; 1001][..])]).unwrap(), "bytes unpacked");
        says(&pack_entries(["a", "b", "c"].map(|name| (name, &b""[..]))).unwrap(), "3 files");
        says(b"PK no zip at all", "no readable zip");
    }

    #[test]
    fn what_is_in_it_is_listed() {
        let listing = check(&pack_entries([("b/c", &b"1"[..]), ("a", b"2")]).unwrap(), &LIMITS).unwrap();
        assert_eq!(listing.names, ["a", "b/c"]);
        assert!(listing.has("b/c") && !listing.has("b"));
    }
}
