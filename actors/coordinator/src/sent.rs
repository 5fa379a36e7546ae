//! The model as it is sent: compressed once for all who get it, and again to the same bytes after a restart. The server goes
//! on from the model itself: what clients hand in is the change of what they got, and is added to that.

use crate::aggregator::{blocking, stored};
use crate::sum::Pieces;
use nsfl_actor::Waiter;
use nsfl_compress::{CompressError, Part, Task, compress, compressed_len};
use nsfl_store::{BlobStore, Owner, StoreError};
use nsfl_tensor::{StreamError, WeightsView};
use nsfl_types::{BlobRef, Coding, Refusal};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;

/// Before the store is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// Of one run.
pub(crate) struct Sent {
    coding: Coding,
    made: Mutex<Option<Made>>,
    /// Bytes of it, 0 as long as none was made: the same for every model of a run.
    len: AtomicU64,
}

/// A model and what is sent of it.
struct Made {
    of: BlobRef,
    sent: BlobRef,
}

/// Why a model was not compressed.
enum NotMade {
    /// It holds what the coding cannot say.
    Content(CompressError),
    Store(Refusal),
}

impl Sent {
    pub(crate) fn new(coding: Coding) -> Self {
        Self { coding, made: Mutex::default(), len: AtomicU64::new(0) }
    }

    /// Bytes of what is sent, if that is known.
    pub(crate) fn len(&self) -> Option<u64> {
        Some(self.len.load(Ordering::Relaxed)).filter(|len| *len > 0)
    }

    /// How long it was before a restart.
    pub(crate) async fn look_at(&self, blobs: &dyn BlobStore, model: BlobRef) {
        if let Ok(bytes) = blobs.open(model.digest).await
            && let Ok(view) = WeightsView::parse(&bytes)
            && let Some(len) = compressed_len(view.layout(), &self.coding)
        {
            self.len.store(len, Ordering::Relaxed);
        }
    }

    /// What is sent of the model, `owner`'s. Whoever asks first has it made, the others wait. A store in trouble is waited
    /// for; a model that cannot be written so is sent as it is.
    pub(crate) async fn of(&self, blobs: &Arc<dyn BlobStore>, model: BlobRef, owner: &Owner) -> BlobRef {
        let mut made = self.made.lock().await;
        if let Some(made) = made.as_ref().filter(|made| made.of == model) {
            return made.sent;
        }
        let sent = loop {
            match self.make(blobs, model, owner).await {
                Ok(sent) => break sent,
                Err(NotMade::Content(error)) => {
                    tracing::warn!(%error, "the model is sent as it is");
                    break model;
                }
                Err(NotMade::Store(Refusal { code, reason })) => {
                    tracing::warn!(%code, reason, "the model is not compressed yet");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        };
        self.len.store(sent.len, Ordering::Relaxed);
        let before = made.replace(Made { of: model, sent });
        if let Some(Made { of, sent: old }) = before.filter(|before| before.sent != sent)
            && of != old
            && let Err(error) = blobs.release(old.digest, owner).await
        {
            tracing::warn!(%error, digest = %old.digest, "blob not released");
        }
        sent
    }

    async fn make(&self, blobs: &Arc<dyn BlobStore>, model: BlobRef, owner: &Owner) -> Result<BlobRef, NotMade> {
        let store = |e: &StoreError| NotMade::Store(stored(e));
        let bytes = blobs.open(model.digest).await.map_err(|e| store(&e))?;
        let writer = blobs.create().await.map_err(|e| store(&e))?;
        let (waiter, coding, owner, blobs) = (Waiter::new(), self.coding, owner.clone(), blobs.clone());
        let made = blocking(move || {
            let view = match WeightsView::parse(&bytes) {
                Ok(view) => view,
                Err(error) => return Ok(Err(NotMade::Content(error.into()))),
            };
            let task = Task { layout: view.layout(), base: model.digest, coding: &coding, seed: 0, lost: false };
            let mut out = Pieces::new(writer, &waiter);
            let read = |tensor, at, block: &mut [u8]| {
                let part = &view.tensor(tensor)[at..at + block.len()];
                block.copy_from_slice(part);
                blobs.forget(part);
                Ok(())
            };
            let written = compress(&task, read, |part| match part {
                Part::Compressed(bytes) => out.write(bytes),
                Part::Lost(_) => Ok(()),
            });
            match written {
                Ok(()) => out.commit(&owner).map(Ok),
                Err(StreamError::Content(error)) => Ok(Err(NotMade::Content(error))),
                Err(StreamError::Write(refusal)) => Err(refusal),
            }
        });
        made.await.map_err(NotMade::Store)?
    }
}
