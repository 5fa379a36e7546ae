//! Reads every byte of a zip, to know that it can be read, or to write it below a folder. Sizes are counted, never
//! believed.

use crate::judge::{Archive, Entry, judged};
use crate::{Limits, PackageError};
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use zip::result::ZipError;

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

/// Looks at every entry and reads it to its end.
///
/// # Errors
/// No zip; an entry that leaves its folder, is a link or a device, encrypted, or there twice; more than `limits` allow.
pub fn check(zip: &[u8], limits: &Limits) -> Result<Listing, PackageError> {
    let (mut archive, entries) = judged(zip, limits)?;
    let (mut names, mut read) = (Vec::new(), 0);
    for entry in entries.into_iter().filter(|entry| !entry.is_folder) {
        read += copy(&mut archive, &entry, &mut io::sink(), Path::new("/dev/null"), limits.bytes - read)?;
        names.push(entry.name);
    }
    names.sort();
    Ok(Listing { names })
}

/// Unpacks it into `folder`, which must exist, read only. On an error what is in `folder` is of no use.
///
/// # Errors
/// As of [`check`], before a byte is written where the package says it itself. The disk's own errors.
pub fn unpack(zip: &[u8], folder: &Path, limits: &Limits) -> Result<(), PackageError> {
    let (mut archive, entries) = judged(zip, limits)?;
    let mut written = 0;
    for entry in entries {
        let place = folder.join(&entry.name);
        let within = if entry.is_folder { &place } else { place.parent().unwrap_or(folder) };
        std::fs::create_dir_all(within).map_err(|e| disk(within, e))?;
        if entry.is_folder {
            continue;
        }
        // scripts are read, a program among them is run; nothing of a package is to be written
        let mode = if entry.is_executable { 0o555 } else { 0o444 };
        let mut create = OpenOptions::new();
        let mut file = create.write(true).create_new(true).mode(mode).open(&place).map_err(|e| disk(&place, e))?;
        written += copy(&mut archive, &entry, &mut file, &place, limits.bytes - written)?;
    }
    Ok(())
}

/// Copies what an entry really holds, up to `left` bytes; its length was only announced.
fn copy(
    archive: &mut Archive<'_>,
    entry: &Entry,
    to: &mut impl Write,
    place: &Path,
    left: u64,
) -> Result<u64, PackageError> {
    let mut from = archive.by_index(entry.index)?.take(left.saturating_add(1));
    let mut block = vec![0; 64 * 1024];
    let mut copied = 0;
    loop {
        let n = match from.read(&mut block) {
            Ok(0) => return Ok(copied),
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(ZipError::Io(e).into()),
        };
        copied += n as u64;
        if copied > left {
            return Err(crate::judge::bad(&entry.name, "unpacks to more than it says"));
        }
        to.write_all(&block[..n]).map_err(|e| disk(place, e))?;
    }
}

fn disk(path: impl Into<PathBuf>, source: io::Error) -> PackageError {
    PackageError::Disk { path: path.into(), source }
}
