//! One partial file: appended to and hashed as it grows, then turned into an object. Blocking; knows nothing of tasks.

use crate::fail::{failed, if_there, unsure};
use crate::tree::Tree;
use nsfl_store::{Owner, StoreError};
use nsfl_types::{BlobRef, Digest};
use sha2::{Digest as _, Sha256};
use std::fs::{File, OpenOptions, Permissions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

const PIECE: usize = 1 << 20;

/// A partial file, open at its end.
pub(crate) struct Part {
    file: File,
    path: PathBuf,
    hash: Sha256,
    len: u64,
    /// Whether it is of no use to anybody after this value.
    temporary: bool,
}

impl Part {
    /// Opens what a named writer has left, hashing it; empty when there is nothing, or more than was announced.
    pub(crate) fn resume(path: &Path, announced: u64) -> Result<Self, StoreError> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let file = file.map_err(failed("opening", path))?;
        let mut part = Self { file, path: path.to_owned(), hash: Sha256::new(), len: 0, temporary: false };
        if part.file.metadata().map_err(failed("reading", path))?.len() > announced {
            part.file.set_len(0).map_err(failed("emptying", path))?;
        }
        let mut piece = vec![0; PIECE];
        loop {
            match part.file.read(&mut piece).map_err(failed("reading", path))? {
                0 => return Ok(part),
                n => part.count(&piece[..n]),
            }
        }
    }

    /// A new file that goes away unless it is finished.
    pub(crate) fn create(path: &Path) -> Result<Self, StoreError> {
        let file = File::create_new(path).map_err(failed("creating", path))?;
        Ok(Self { file, path: path.to_owned(), hash: Sha256::new(), len: 0, temporary: true })
    }

    /// A copy of the file `from`, of at most `max` bytes.
    pub(crate) fn copy(from: &Path, path: &Path, max: u64) -> Result<Self, StoreError> {
        let mut source = File::open(from).map_err(|e| match e.kind() {
            ErrorKind::NotFound => StoreError::NotFound(format!("file {}", from.display())),
            _ => failed("opening", from)(e),
        })?;
        let mut part = Self::create(path)?;
        let mut piece = vec![0; PIECE];
        loop {
            let n = source.read(&mut piece).map_err(failed("reading", from))?;
            if n == 0 {
                return Ok(part);
            }
            if part.len + n as u64 > max {
                let len = source.metadata().map_err(failed("reading", from))?.len();
                return Err(StoreError::TooLarge { what: format!("file {}", from.display()), len, max });
            }
            part.append(&piece[..n])?;
        }
    }

    /// Bytes held.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Writes and hashes. After an error the file may hold a beginning of `bytes`; resume it to go on.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.file.write_all(bytes).map_err(failed("writing", &self.path))?;
        self.count(bytes);
        Ok(())
    }

    /// Makes it an object with an owner, durably, if it is what was announced.
    pub(crate) fn finish(
        mut self,
        tree: &Tree,
        announced: Option<BlobRef>,
        owner: &Owner,
    ) -> Result<BlobRef, StoreError> {
        let digest = Digest::from_bytes(self.hash.finalize_reset().into());
        let found = BlobRef { digest, len: self.len };
        if let Some(announced) = announced.filter(|announced| *announced != found) {
            remove(&self.path)?;
            return Err(StoreError::WrongDigest { expected: announced.digest, found: digest });
        }
        if tree.is_durable() {
            self.file.sync_all().map_err(failed("syncing", &self.path))?;
        }
        tree.add(&self.path, digest, owner)?;
        self.temporary = false;
        // Not before it is an object: a partial file must stay writable, to be resumed.
        self.file.set_permissions(Permissions::from_mode(0o444)).map_err(unsure("protecting", &self.path))?;
        Ok(found)
    }

    fn count(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.len += bytes.len() as u64;
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.temporary
            && let Err(error) = remove(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "partial blob not removed");
        }
    }
}

/// Removes a partial file; nothing when absent.
pub(crate) fn remove(path: &Path) -> Result<(), StoreError> {
    if_there(std::fs::remove_file(path)).map(drop).map_err(failed("removing", path))
}

/// A file that fails each write as a full disk does.
#[cfg(test)]
pub(crate) fn full() -> Part {
    let path = PathBuf::from("/dev/full");
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    Part { file, path, hash: Sha256::new(), len: 0, temporary: false }
}
