//! Reading an archive to its end: form, order, lengths and digests. What is done with a file's bytes is the caller's.

use crate::write::Hashed;
use crate::{FORMAT, HEADER, Header, MANIFEST, Manifest, Stored, is_inside};
use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::PathBuf;

/// Largest header and largest manifest that are read: some million files.
const MAX_TEXT: u64 = 1 << 30;

/// Why an archive is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It is not what was written.
    #[error("the archive is damaged or not whole: {0}")]
    Damaged(String),
    /// A newer program wrote it.
    #[error(
        "the archive is of form {found}, written by version {version}; this program reads forms up to {FORMAT}: use that version"
    )]
    Newer {
        /// Its form.
        found: u32,
        /// Who wrote it.
        version: String,
    },
    /// What is in the folder would be lost.
    #[error("{} is not empty: give a folder that is empty or not there", .0.display())]
    NotEmpty(PathBuf),
    /// The folder cannot be written.
    #[error("{what}")]
    Write {
        /// What was done to which path.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
}

/// What an archive holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// Who wrote it, and when.
    pub header: Header,
    /// Number of files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Reads a whole archive and checks every byte of it.
///
/// # Errors
/// It is damaged, not whole, or newer.
pub fn verify(from: impl Read) -> Result<Contents, ArchiveError> {
    let whole = read(from, |_, _, file| io::copy(file, &mut io::sink()).map(drop).map_err(|e| unreadable(&e)))?;
    Ok(whole.contents)
}

/// An archive that was read to its end.
pub(crate) struct Whole {
    pub(crate) contents: Contents,
    pub(crate) manifest: Manifest,
}

/// Reads an archive; `take` is given each file's path, mode and bytes, and reads it to its end.
pub(crate) fn read(
    mut from: impl Read,
    mut take: impl FnMut(&str, u32, &mut dyn Read) -> Result<(), ArchiveError>,
) -> Result<Whole, ArchiveError> {
    let (mut header, mut manifest, mut found): (Option<Header>, Option<Manifest>, Vec<Stored>) = Default::default();
    let mut archive = tar::Archive::new(from.by_ref());
    for entry in archive.entries().map_err(|e| unreadable(&e))? {
        let mut entry = entry.map_err(|e| unreadable(&e))?;
        let path = entry.path().map_err(|e| unreadable(&e))?.to_str().unwrap_or_default().to_owned();
        let (mode, size) = (entry.header().mode().map_err(|e| unreadable(&e))?, entry.size());
        if manifest.is_some() {
            return Err(ArchiveError::Damaged(format!("'{path}' comes after the manifest")));
        }
        let mut hashed = Hashed::new(&mut entry);
        match (path.as_str(), &header) {
            (HEADER, None) => header = Some(checked(text(&mut hashed, size, HEADER)?)?),
            (_, None) => return Err(ArchiveError::Damaged(format!("it begins with '{path}': no backup of a server"))),
            (MANIFEST, Some(_)) => {
                manifest = Some(text(&mut hashed, size, MANIFEST)?);
                continue;
            }
            (path, Some(_)) if is_inside(path) => take(path, mode, &mut hashed)?,
            (path, Some(_)) => return Err(ArchiveError::Damaged(format!("'{path}' has no place in a backup"))),
        }
        let (bytes, sha256) = hashed.end();
        found.push(Stored { path, bytes, sha256 });
    }
    nothing_more(from)?;
    let (Some(header), Some(manifest)) = (header, manifest) else {
        return Err(ArchiveError::Damaged("it ends before its manifest".into()));
    };
    compare(&found, &manifest)?;
    let files = found.iter().filter(|file| file.path != HEADER);
    let contents = Contents { header, files: files.clone().count() as u64, bytes: files.map(|file| file.bytes).sum() };
    Ok(Whole { contents, manifest })
}

fn checked(header: serde_json::Value) -> Result<Header, ArchiveError> {
    // the form first: the rest is read only of one that is known
    let found = header["format"].as_u64().and_then(|format| u32::try_from(format).ok());
    if let Some(found) = found.filter(|found| *found > FORMAT) {
        let version = header["version"].as_str().unwrap_or("unknown").to_owned();
        return Err(ArchiveError::Newer { found, version });
    }
    serde_json::from_value(header).map_err(|e| ArchiveError::Damaged(format!("{HEADER}: {e}")))
}

fn text<T: serde::de::DeserializeOwned>(from: &mut impl Read, size: u64, name: &str) -> Result<T, ArchiveError> {
    if size > MAX_TEXT {
        return Err(ArchiveError::Damaged(format!("{name} has {size} bytes")));
    }
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).map_err(|e| unreadable(&e))?;
    serde_json::from_slice(&bytes).map_err(|e| ArchiveError::Damaged(format!("{name}: {e}")))
}

fn compare(found: &[Stored], manifest: &Manifest) -> Result<(), ArchiveError> {
    let damaged = |what: String| Err(ArchiveError::Damaged(what));
    for (file, said) in found.iter().zip(&manifest.files) {
        if file.path != said.path {
            return damaged(format!("it has '{}' in place of '{}'", file.path, said.path));
        }
        if file != said {
            return damaged(format!("'{}' hashes to {}, stored was {}", file.path, file.sha256, said.sha256));
        }
    }
    if found.len() != manifest.files.len() {
        return damaged(format!("it has {} files, its manifest {}", found.len(), manifest.files.len()));
    }
    let files: BTreeSet<&str> = found.iter().map(|file| file.path.as_str()).collect();
    match manifest.links.iter().find(|link| !is_inside(&link.path) || !files.contains(link.to.as_str())) {
        Some(link) => damaged(format!("'{}' cannot be a link to '{}'", link.path, link.to)),
        None => Ok(()),
    }
}

/// After the end of a tar come zeros only.
fn nothing_more(mut from: impl Read) -> Result<(), ArchiveError> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        match from.read(&mut buffer).map_err(|e| unreadable(&e))? {
            0 => return Ok(()),
            n if buffer[..n].iter().all(|byte| *byte == 0) => {}
            _ => return Err(ArchiveError::Damaged("something follows its end".into())),
        }
    }
}

pub(crate) fn unreadable(error: &io::Error) -> ArchiveError {
    ArchiveError::Damaged(error.to_string())
}
