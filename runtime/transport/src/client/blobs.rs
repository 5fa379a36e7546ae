//! Blobs from and to the server, on a connection of their own so that control is never behind them. A cut goes on at the offset.

use super::dial::{Dialer, Dialled};
use super::{Redial, backoff};
use crate::limits::Limits;
use crate::proto::{Chunk, GetRequest, StatRequest};
use crate::{BlobError, Refusal};
use bytes::Bytes;
use futures_util::StreamExt as _;
use nsfl_store::{BlobStore, Owner, StoreError};
use nsfl_types::{BlobRef, Code, Digest};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// Attempts without a byte of progress before a transfer is given up.
const MAX_ATTEMPTS: u32 = 8;

/// Moves blobs. Clones share the connection.
#[derive(Clone)]
pub struct BlobClient {
    dialer: Dialer,
    limits: Limits,
    redial: Redial,
    connection: Arc<Mutex<Option<Dialled>>>,
}

/// Why one attempt ended.
enum Ended {
    /// No use in trying again.
    Final(BlobError),
    /// The connection, or the server for now.
    ForNow(Refusal),
}

impl From<Refusal> for Ended {
    fn from(refusal: Refusal) -> Self {
        let passing = matches!(refusal.code, Code::LinkLost | Code::Timeout | Code::Busy | Code::Stale);
        if passing { Ended::ForNow(refusal) } else { Ended::Final(refusal.into()) }
    }
}

impl From<StoreError> for Ended {
    fn from(error: StoreError) -> Self {
        Ended::Final(error.into())
    }
}

impl BlobClient {
    pub(super) fn new(dialer: Dialer, limits: Limits, redial: Redial) -> Self {
        Self { dialer, limits, redial, connection: Arc::default() }
    }

    /// Fetches a blob into `store`, where it will belong to `owner`. What `writer` holds of it already is not fetched again.
    ///
    /// # Errors
    /// The server's refusal, the store's failure (`WrongDigest` when the bytes are not the blob's), or `Lost`.
    pub async fn get(
        &self,
        blob: BlobRef,
        store: &dyn BlobStore,
        writer: &str,
        owner: &Owner,
    ) -> Result<(), BlobError> {
        let mut attempts = Attempts::new(self.redial);
        loop {
            let mut progress = false;
            match self.get_once(blob, store, writer, owner, &mut progress).await {
                Ok(()) => return Ok(()),
                Err(ended) => self.wait_after(ended, progress, &mut attempts).await?,
            }
        }
    }

    /// Sends a blob; returns once the server has made it durable. What the server holds of it already is not sent again.
    ///
    /// # Errors
    /// The server's refusal (`BlobRefused`, `TooLarge`, `WrongDigest`, …), or `Lost`.
    pub async fn put(&self, blob: BlobRef, bytes: Bytes) -> Result<(), BlobError> {
        self.put_whole(blob, bytes, None).await
    }

    /// The same with a blob of `store`, of which little stays resident while it is sent.
    ///
    /// # Errors
    /// As `put`, and the store's.
    pub async fn put_stored(&self, blob: BlobRef, store: &Arc<dyn BlobStore>) -> Result<(), BlobError> {
        let bytes = store.open(blob.digest).await.map_err(|e| Refusal::new(e.code(), e.to_string()))?;
        self.put_whole(blob, bytes, Some(store)).await
    }

    async fn put_whole(&self, blob: BlobRef, bytes: Bytes, from: Option<&Arc<dyn BlobStore>>) -> Result<(), BlobError> {
        if bytes.len() as u64 != blob.len {
            let reason = format!("{} bytes were given for a blob of {}", bytes.len(), blob.len);
            return Err(Refusal::new(Code::WrongDigest, reason).into());
        }
        let (mut attempts, mut last_held) = (Attempts::new(self.redial), 0);
        loop {
            let before = last_held;
            match self.put_once(blob, &bytes, from, &mut last_held).await {
                Ok(()) => return Ok(()),
                Err(ended) => self.wait_after(ended, last_held > before, &mut attempts).await?,
            }
        }
    }

    /// Bytes the server holds of a blob for this client.
    ///
    /// # Errors
    /// The server's refusal, or a lost connection, which is not tried again.
    pub async fn stat(&self, digest: Digest) -> Result<u64, BlobError> {
        self.held(digest).await.map_err(|ended| match ended {
            Ended::Final(error) => error,
            Ended::ForNow(refusal) => refusal.into(),
        })
    }

    async fn held(&self, digest: Digest) -> Result<u64, Ended> {
        let calls = self.connection().await?.calls;
        let request = StatRequest { digest: digest_bytes(digest) };
        Ok(self.in_time(calls.stat(request)).await??.held)
    }

    /// The chunks from `start`; at least one, which names the blob. When one is asked for, those before it are encoded
    /// and their pages given back to the store they are `from`.
    fn chunks(
        &self,
        blob: BlobRef,
        bytes: Bytes,
        start: usize,
        from: Option<Arc<dyn BlobStore>>,
    ) -> impl futures_util::Stream<Item = Chunk> + Send + use<> {
        let size = self.limits.chunk_bytes;
        let count = (bytes.len() - start).div_ceil(size).max(1);
        futures_util::stream::iter((0..count).map(move |i| {
            let at = start + i * size;
            if let Some(store) = from.as_ref().filter(|_| i > 0) {
                store.forget(&bytes[at - size..at]);
            }
            let data = bytes.slice(at..bytes.len().min(at + size));
            let (digest, length) = if i == 0 { (digest_bytes(blob.digest), blob.len) } else { (Bytes::new(), 0) };
            Chunk { digest, length, offset: at as u64, data }
        }))
    }

    /// One attempt to fetch; `progress` says whether a byte came.
    async fn get_once(
        &self,
        blob: BlobRef,
        store: &dyn BlobStore,
        writer: &str,
        owner: &Owner,
        progress: &mut bool,
    ) -> Result<(), Ended> {
        let mut file = store.begin(writer, blob).await?;
        if file.offset() < blob.len {
            let request = GetRequest { digest: digest_bytes(blob.digest), offset: file.offset() };
            let calls = self.connection().await?.calls;
            let mut chunks = self.in_time(calls.get(request)).await??;
            while let Some(chunk) = self.in_time(chunks.next()).await?.transpose()? {
                if chunk.offset != file.offset() {
                    return Err(Refusal::new(Code::BadFrame, "a chunk is not where it should be").into());
                }
                file.write(chunk.data).await?;
                *progress = true;
            }
        }
        if file.offset() < blob.len {
            return Err(Refusal::new(Code::LinkLost, "the download ended early").into());
        }
        match file.commit(owner).await {
            Ok(_) => Ok(()),
            // it was whole, nobody's, and is swept away by now
            Err(gone @ StoreError::NotFound(_)) => Err(Ended::ForNow(Refusal::new(gone.code(), gone.to_string()))),
            Err(error) => Err(error.into()),
        }
    }

    /// One attempt to send; `last_held` is what the server had at its beginning.
    async fn put_once(
        &self,
        blob: BlobRef,
        bytes: &Bytes,
        from: Option<&Arc<dyn BlobStore>>,
        last_held: &mut u64,
    ) -> Result<(), Ended> {
        *last_held = self.held(blob.digest).await?.min(blob.len);
        let start = usize::try_from(*last_held).expect("the blob is in memory, so its length is a usize");
        let sent = self.chunks(blob, bytes.clone(), start, from.cloned());
        let calls = self.connection().await?.calls;
        calls.put(sent.boxed()).await?;
        Ok(())
    }

    /// Waits before the next attempt.
    ///
    /// # Errors
    /// The last attempt's end was final, or too many in a row made no progress.
    async fn wait_after(&self, ended: Ended, progress: bool, attempts: &mut Attempts) -> Result<(), BlobError> {
        let last = match ended {
            Ended::Final(error) => return Err(error),
            Ended::ForNow(last) => last,
        };
        if last.code == Code::LinkLost || last.code == Code::Timeout {
            self.connection.lock().await.take();
        }
        if progress {
            *attempts = Attempts::new(self.redial);
        }
        attempts.count += 1;
        if attempts.count >= MAX_ATTEMPTS {
            return Err(BlobError::Lost { attempts: attempts.count, last });
        }
        tracing::debug!(code = %last.code, reason = %last.reason, "blob transfer goes on after a wait");
        tokio::time::sleep(attempts.waits.next().unwrap_or(self.redial.max)).await;
        Ok(())
    }

    async fn connection(&self) -> Result<Dialled, Ended> {
        let mut connection = self.connection.lock().await;
        if let Some(dialled) = &*connection {
            return Ok(dialled.clone());
        }
        Ok(connection.insert(self.dialer.dial().await?).clone())
    }

    async fn in_time<T>(&self, step: impl Future<Output = T>) -> Result<T, Refusal> {
        let timed = tokio::time::timeout(self.limits.blob_idle, step).await;
        timed.map_err(|_| Refusal::new(Code::Timeout, "the transfer stands still"))
    }
}

/// Attempts in a row without progress.
struct Attempts {
    count: u32,
    waits: Box<dyn Iterator<Item = Duration> + Send>,
}

impl Attempts {
    fn new(redial: Redial) -> Self {
        Self { count: 0, waits: Box::new(backoff(redial)) }
    }
}

fn digest_bytes(digest: Digest) -> Bytes {
    Bytes::copy_from_slice(digest.as_bytes())
}
