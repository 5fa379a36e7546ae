//! Blob uploads and downloads on the server: one upload of a blob by a peer at a time, and none that stands still.

use super::BlobService;
use super::service::digest_of;
use crate::limits::Limits;
use crate::proto::Chunk;
use crate::{Inbound, PeerId, Refusal};
use futures_util::{Stream, StreamExt as _};
use nsfl_types::{BlobRef, Code, Digest};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Mutex as AsyncMutex, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

pub(super) struct Transfers {
    blobs: Arc<dyn BlobService>,
    limits: Limits,
    end: CancellationToken,
    uploads: Mutex<Uploads>,
}

type Uploads = HashMap<(PeerId, Digest), Arc<Turn>>;

/// Whose turn it is to write a blob: a newer upload asks the one before to stop and waits for it.
struct Turn {
    newest: watch::Sender<u64>,
    writing: AsyncMutex<()>,
}

impl Transfers {
    pub(super) fn new(blobs: Arc<dyn BlobService>, limits: Limits, end: CancellationToken) -> Self {
        Self { blobs, limits, end, uploads: Mutex::default() }
    }

    /// Takes an upload; answers the blob's length once it is durable.
    pub(super) async fn put(&self, peer: &PeerId, mut chunks: Inbound<Chunk>) -> Result<u64, Refusal> {
        let first = self.next(&mut chunks).await?.ok_or_else(|| bad("an upload without a chunk"))?;
        let blob = BlobRef { digest: digest_of(&first.digest)?, len: first.length };
        if blob.len > self.limits.blob_bytes {
            let reason = format!("a blob of {} bytes is above the limit of {}", blob.len, self.limits.blob_bytes);
            return Err(Refusal::new(Code::TooLarge, reason));
        }
        let place = self.place(peer, blob.digest);
        let mut newest = place.turn.newest.subscribe();
        let mut mine = 0;
        place.turn.newest.send_modify(|count| {
            *count += 1;
            mine = *count;
        });
        let _writing = place.turn.writing.lock().await;
        tokio::select! {
            biased;
            stored = self.store(peer, blob, first, &mut chunks) => stored,
            _ = newest.wait_for(|count| *count > mine) => {
                Err(Refusal::new(Code::Stale, "replaced by a newer upload of the same blob"))
            }
            () = self.end.cancelled() => Err(Refusal::new(Code::LinkLost, "the server is shutting down")),
        }
    }

    /// The chunks of a blob from `offset`: slices of one mapping.
    pub(super) async fn get(
        &self,
        peer: &PeerId,
        digest: Digest,
        offset: u64,
    ) -> Result<impl Stream<Item = Chunk> + use<>, Refusal> {
        let blob = self.blobs.read(peer, digest).await?;
        let start = usize::try_from(offset).ok().filter(|start| *start <= blob.len());
        let start = start.ok_or_else(|| bad("an offset beyond the blob"))?;
        let (sender, receiver) = mpsc::channel(1);
        let (limits, end) = (self.limits, self.end.clone());
        tokio::spawn(async move {
            let mut at = start;
            while at < blob.len() {
                let stop = blob.len().min(at + limits.chunk_bytes);
                let chunk = Chunk { offset: at as u64, data: blob.slice(at..stop), ..Chunk::default() };
                let sent = tokio::select! {
                    biased;
                    sent = tokio::time::timeout(limits.blob_idle, sender.send(chunk)) => sent,
                    () = end.cancelled() => return,
                };
                // The peer does not read, or is gone: it comes back with an offset.
                if !matches!(sent, Ok(Ok(()))) {
                    return;
                }
                at = stop;
            }
        });
        Ok(ReceiverStream::new(receiver))
    }

    async fn store(
        &self,
        peer: &PeerId,
        blob: BlobRef,
        first: Chunk,
        chunks: &mut Inbound<Chunk>,
    ) -> Result<u64, Refusal> {
        let (mut writer, owner) = self.blobs.write(peer, blob).await?;
        if first.offset != writer.offset() {
            let reason = format!("{} bytes are held, the upload begins at {}", writer.offset(), first.offset);
            return Err(Refusal::new(Code::Stale, reason));
        }
        let mut chunk = Some(first);
        while let Some(Chunk { data, .. }) = chunk {
            if !data.is_empty() {
                writer.write(data).await?;
            }
            chunk = self.next(chunks).await?;
        }
        if writer.offset() < blob.len {
            // Kept for the next attempt.
            return Err(Refusal::new(Code::LinkLost, "the upload ended early"));
        }
        Ok(writer.commit(&owner).await?.len)
    }

    async fn next(&self, chunks: &mut Inbound<Chunk>) -> Result<Option<Chunk>, Refusal> {
        let next = tokio::time::timeout(self.limits.blob_idle, chunks.next()).await;
        next.map_err(|_| Refusal::new(Code::Timeout, "the upload stands still"))?.transpose()
    }

    fn place(&self, peer: &PeerId, digest: Digest) -> Place<'_> {
        let key = (peer.clone(), digest);
        let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || Arc::new(Turn { newest: watch::Sender::new(0), writing: AsyncMutex::new(()) });
        let turn = Arc::clone(uploads.entry(key.clone()).or_insert_with(fresh));
        Place { uploads: &self.uploads, key, turn }
    }
}

/// A place in the queue of one blob's uploads; the last to leave clears the table.
struct Place<'a> {
    uploads: &'a Mutex<Uploads>,
    key: (PeerId, Digest),
    turn: Arc<Turn>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        // The table's and this one: nobody else waits.
        if Arc::strong_count(&self.turn) <= 2 {
            uploads.remove(&self.key);
        }
    }
}

fn bad(reason: &str) -> Refusal {
    Refusal::new(Code::BadFrame, reason)
}
