//! One read-only mapping per blob, shared by all who read it. The only module with unsafe code.
#![allow(unsafe_code, reason = "mapping a file; the proof is in `map`")]

use crate::fail::failed;
use crate::lock;
use bytes::Bytes;
use memmap2::Mmap;
use nsfl_store::StoreError;
use nsfl_types::Digest;
use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, Weak};

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

fn map(object: &Path) -> Result<Mmap, StoreError> {
    let file = File::open(object).map_err(failed("opening", object))?;
    // SAFETY: the bytes of a mapping must not change, nor the file shrink, while it lives. A file under `objects` gets
    // there by a rename once it is complete, with mode 0444; this store has no operation that opens it for writing,
    // and replaces none: a removed object's inode lives on until the mapping goes. Another process that overrides
    // the mode and writes into the store's folder is outside of what the store defends against.
    unsafe { Mmap::map(&file) }.map_err(failed("mapping", object))
}
