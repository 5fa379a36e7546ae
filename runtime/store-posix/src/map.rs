//! One read-only mapping per blob, shared by all who read it, and mappings of files that are no blobs. The only module with
//! unsafe code.
#![allow(unsafe_code, reason = "mapping a file; the proofs are in place")]

use crate::fail::failed;
use crate::lock;
use bytes::Bytes;
use memmap2::{Mmap, UncheckedAdvice};
use nsfl_store::StoreError;
use nsfl_types::Digest;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, Weak};
use std::time::SystemTime;

/// The mappings somebody still reads.
#[derive(Default)]
pub(crate) struct Maps(Mutex<HashMap<Digest, Weak<Mmap>>>);

impl Maps {
    /// The bytes of a whole blob. The mapping ends with its last reader.
    pub(crate) fn open(&self, digest: Digest, object: &Path) -> Result<Bytes, StoreError> {
        let mut maps = lock(&self.0);
        if let Some(map) = maps.get(&digest).and_then(Weak::upgrade) {
            return Ok(Bytes::from_owner(Shared(map)));
        }
        let map = Arc::new(map(object)?);
        maps.retain(|_, map| map.strong_count() > 0);
        maps.insert(digest, Arc::downgrade(&map));
        Ok(Bytes::from_owner(Shared(map)))
    }

    /// The pages of these bytes need not stay resident. Bytes of no mapping are left alone.
    pub(crate) fn let_go(&self, bytes: &[u8]) {
        let map = lock(&self.0).values().filter_map(Weak::upgrade).find(|map| within(map, bytes));
        if let Some(map) = map {
            let_go(&map, bytes);
        }
    }

    /// The blob is gone: a later one of this digest gets a mapping of its own.
    pub(crate) fn forget(&self, digest: Digest) {
        lock(&self.0).remove(&digest);
    }
}

struct Shared(Arc<Mmap>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// A file that is no blob, mapped to be read. Whoever maps it sees to it that nobody writes to it meanwhile: a file that has changed
/// can be told afterwards, by `is_unchanged`, but one that was cut off ends the process at the next read.
#[derive(Debug)]
pub struct MappedFile {
    map: Mmap,
    file: File,
    state: (u64, SystemTime),
}

impl MappedFile {
    /// Maps the whole of a file.
    ///
    /// # Errors
    /// The operating system's.
    pub fn new(file: File) -> io::Result<Self> {
        let state = state(&file)?;
        // SAFETY: the bytes of a mapping must not change, nor the file shrink, while it lives. That is the caller's promise, for
        // files of its user as of its own; who breaks it has wrong results, of bytes that may have any value, or is ended by SIGBUS.
        let map = unsafe { Mmap::map(&file) }?;
        Ok(Self { map, file, state })
    }

    /// The pages of these bytes, which are some of its, need not stay resident.
    pub fn let_go(&self, bytes: &[u8]) {
        if within(&self.map, bytes) {
            let_go(&self.map, bytes);
        }
    }

    /// Whether it has the length and the time of change that it was mapped with.
    ///
    /// # Errors
    /// The operating system's.
    pub fn is_unchanged(&self) -> io::Result<bool> {
        Ok(state(&self.file)? == self.state)
    }
}

impl AsRef<[u8]> for MappedFile {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}

fn state(file: &File) -> io::Result<(u64, SystemTime)> {
    let metadata = file.metadata()?;
    Ok((metadata.len(), metadata.modified()?))
}

fn within(map: &Mmap, bytes: &[u8]) -> bool {
    let (whole, wanted) = (map.as_ptr_range(), bytes.as_ptr_range());
    whole.start <= wanted.start && wanted.end <= whole.end
}

/// Of bytes within the mapping.
fn let_go(map: &Mmap, bytes: &[u8]) {
    let offset = bytes.as_ptr().addr() - map.as_ptr().addr();
    // SAFETY: dropping pages could change what a mapping reads only if they were private and written to. These are
    // read-only pages of a shared mapping of a file that does not change: the next read brings the same bytes back.
    let advised = unsafe { map.unchecked_advise_range(UncheckedAdvice::DontNeed, offset, bytes.len()) };
    if let Err(error) = advised {
        tracing::debug!(%error, "pages not let go");
    }
}

fn map(object: &Path) -> Result<Mmap, StoreError> {
    let file = File::open(object).map_err(failed("opening", object))?;
    // SAFETY: the bytes of a mapping must not change, nor the file shrink, while it lives. A file under `objects` gets
    // there by a rename once it is complete, with mode 0444; this store has no operation that opens it for writing,
    // and replaces none: a removed object's inode lives on until the mapping goes. Another process that overrides
    // the mode and writes into the store's folder is outside of what the store defends against.
    unsafe { Mmap::map(&file) }.map_err(failed("mapping", object))
}
