//! Looks at every object, reference and partial file of a root that nobody works in, and changes nothing.

use crate::fail::{failed, if_there};
use crate::tree::list;
use nsfl_store::{Finding, StoreError};
use nsfl_types::Digest;
use sha2::{Digest as _, Sha256};
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// What is in a root and what is wrong with it.
#[derive(Debug, Default)]
pub struct Verified {
    /// Objects whose content is what their name says, with their lengths in bytes.
    pub whole: std::collections::BTreeMap<Digest, u64>,
    /// Bytes that were read.
    pub bytes: u64,
    /// What was found.
    pub findings: Vec<Finding>,
}

const PIECE: usize = 1 << 20;

const AGAIN: &str = "remove the file: the blob is written again when it is next sent; a run that needs it goes on from a \
                     backup, or is started again";

/// Reads and hashes every object. Blocking; takes as long as reading the disk does.
///
/// # Errors
/// A file or folder cannot be read.
pub fn verify(root: &Path) -> Result<Verified, StoreError> {
    let mut verified = Verified::default();
    for shard in list(&root.join("objects"))? {
        for object in list(&shard)? {
            verified.object(&object)?;
        }
    }
    verified.references(root, &root.join("refs"))?;
    for writer in list(&root.join("partial"))? {
        for partial in list(&writer)? {
            let remedy = "nothing: an upload that goes on takes it up, else it is removed once it is old";
            verified.findings.push(Finding::leftover(partial.display(), "a partial blob", remedy));
        }
    }
    Ok(verified)
}

impl Verified {
    fn object(&mut self, object: &Path) -> Result<(), StoreError> {
        let mut damaged = |problem: String, remedy: &str| {
            self.findings.push(Finding::damage(object.display(), problem, remedy));
            Ok(())
        };
        let Some(named) = digest_in(object, "") else {
            return damaged("no blob's name".into(), "look what it is, and move it away");
        };
        let (found, len) = hash(object).map_err(failed("reading", object))?;
        self.bytes += len;
        if found != named {
            return damaged(format!("its {len} bytes hash to {found}"), AGAIN);
        }
        self.whole.insert(named, len);
        if about(object)?.is_some_and(|file| file.nlink() == 1) {
            let remedy = "nothing: the next sweep of the running node removes it";
            self.findings.push(Finding::leftover(object.display(), "a blob without an owner", remedy));
        }
        Ok(())
    }

    fn references(&mut self, root: &Path, folder: &Path) -> Result<(), StoreError> {
        for path in list(folder)? {
            let Some(file) = about(&path)? else { continue };
            if file.is_dir() {
                self.references(root, &path)?;
                continue;
            }
            let object = |digest: Digest| {
                let hex = digest.to_hex();
                root.join("objects").join(&hex[..2]).join(hex)
            };
            let problem = match digest_in(&path, "@").map(|digest| about(&object(digest))).transpose()? {
                None => "no reference's name".to_owned(),
                Some(None) => "its object is missing".to_owned(),
                Some(Some(object)) if object.ino() != file.ino() => "its object is another file by now".to_owned(),
                Some(Some(_)) => continue,
            };
            let remedy = "what needs this blob cannot go on: put back a backup, or start its job again";
            self.findings.push(Finding::damage(path.display(), problem, remedy));
        }
        Ok(())
    }
}

/// A file's digest and length in bytes.
///
/// # Errors
/// It cannot be read.
pub fn hash(path: &Path) -> io::Result<(Digest, u64)> {
    let (mut file, mut hash, mut len) = (File::open(path)?, Sha256::new(), 0);
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok((Digest::from_bytes(hash.finalize().into()), len)),
            n => {
                hash.update(&piece[..n]);
                len += n as u64;
            }
        }
    }
}

fn digest_in(path: &Path, mark: &str) -> Option<Digest> {
    path.file_name()?.to_str()?.strip_prefix(mark)?.parse().ok()
}

fn about(path: &Path) -> Result<Option<Metadata>, StoreError> {
    if_there(fs::symlink_metadata(path)).map_err(failed("reading", path))
}
