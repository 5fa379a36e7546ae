//! Blobs over the link: a client reads the base models of its open tasks, and writes their results.

use crate::hub::{Hub, uploads_of};
use crate::uploads::Admitted;
use async_trait::async_trait;
use bytes::Bytes;
use nsfl_store::{BlobWriter, Owner};
use nsfl_transport::{BlobService, PeerId, Refusal};
use nsfl_types::{BlobRef, Code, Digest};
use std::sync::Arc;
use tokio::time::Instant;

pub(crate) struct Blobs {
    pub(crate) hub: Arc<Hub>,
}

#[async_trait]
impl BlobService for Blobs {
    async fn read(&self, peer: &PeerId, digest: Digest) -> Result<Bytes, Refusal> {
        if !self.hub.access().may_read(Instant::now(), &peer.name, digest) {
            return Err(Refusal::new(Code::BlobRefused, "no open task of this client starts from this blob"));
        }
        let bytes = self.hub.config.blobs.open(digest).await?;
        self.hub.counters.read(bytes.len() as u64);
        Ok(bytes)
    }

    async fn write(&self, peer: &PeerId, blob: BlobRef) -> Result<(Box<dyn BlobWriter>, Owner), Refusal> {
        let max = self.hub.config.max_update_bytes;
        if blob.len > max {
            let reason = format!("an update of {} bytes is above the limit of {max}", blob.len);
            return Err(Refusal::new(Code::TooLarge, reason));
        }
        if !self.hub.access().write(Instant::now(), &peer.name, blob.digest) {
            return Err(Refusal::new(Code::BlobRefused, "no open task of this client has room for another result"));
        }
        let permit = self.hub.uploads.admit().await.map_err(|busy| Refusal::new(busy.code, busy.reason))?;
        let inner = self.hub.config.blobs.begin(peer.name.as_str(), blob).await?;
        let writer = Admitted { inner, counters: Arc::clone(&self.hub.counters), _permit: permit };
        Ok((Box::new(writer), uploads_of(&peer.name)))
    }

    async fn held(&self, peer: &PeerId, digest: Digest) -> Result<u64, Refusal> {
        let allowed = {
            let (now, access) = (Instant::now(), self.hub.access());
            access.may_read(now, &peer.name, digest) || access.may_write(now, &peer.name)
        };
        if !allowed {
            return Err(Refusal::new(Code::BlobRefused, "this client has no open task"));
        }
        Ok(self.hub.config.blobs.held(peer.name.as_str(), digest).await?)
    }
}
