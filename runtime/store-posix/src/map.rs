//! One read-only mapping per blob, shared by all who read it. The only module with unsafe code.
#![allow(unsafe_code, reason = "mapping a file; the proofs are in place")]

use crate::fail::failed;
use crate::lock;
use bytes::Bytes;
use memmap2::{Mmap, UncheckedAdvice};
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

    /// The pages of these bytes need not stay resident. Bytes of no mapping are left alone.
    pub(crate) fn let_go(&self, bytes: &[u8]) {
        let wanted = bytes.as_ptr_range();
        let map = lock(&self.0).values().filter_map(Weak::upgrade).find(|map| {
            let whole = map.as_ptr_range();
            whole.start <= wanted.start && wanted.end <= whole.end
        });
        let Some(map) = map else { return };
        let offset = wanted.start.addr() - map.as_ptr().addr();
        // SAFETY: dropping pages could change what a mapping reads only if they were private and written to. These are
        // read-only pages of a shared mapping of a file that does not change: the next read brings the same bytes back.
        let advised = unsafe { map.unchecked_advise_range(UncheckedAdvice::DontNeed, offset, bytes.len()) };
        if let Err(error) = advised {
            tracing::debug!(%error, "pages not let go");
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

fn map(object: &Path) -> Result<Mmap, StoreError> {
    let file = File::open(object).map_err(failed("opening", object))?;
    // SAFETY: the bytes of a mapping must not change, nor the file shrink, while it lives. A file under `objects` gets
    // there by a rename once it is complete, with mode 0444; this store has no operation that opens it for writing,
    // and replaces none: a removed object's inode lives on until the mapping goes. Another process that overrides
    // the mode and writes into the store's folder is outside of what the store defends against.
    unsafe { Mmap::map(&file) }.map_err(failed("mapping", object))
}
