//! The two writers a caller may get: of a partial file, and of a blob that is whole already.

use crate::fail::blocking;
use crate::lane::Lane;
use crate::tree::Tree;
use async_trait::async_trait;
use bytes::Bytes;
use nsfl_store::{BlobWriter, Owner, StoreError};
use nsfl_types::BlobRef;
use std::sync::Arc;

/// Appends to a partial file.
pub(crate) struct LaneWriter {
    tree: Arc<Tree>,
    lane: Arc<Lane>,
    turn: u64,
    announced: Option<BlobRef>,
    max: u64,
    offset: u64,
}

impl LaneWriter {
    pub(crate) fn new(
        tree: Arc<Tree>,
        lane: Arc<Lane>,
        turn: u64,
        announced: Option<BlobRef>,
        max: u64,
        offset: u64,
    ) -> Self {
        Self { tree, lane, turn, announced, max, offset }
    }
}

#[async_trait]
impl BlobWriter for LaneWriter {
    fn offset(&self) -> u64 {
        self.offset
    }

    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        let len = self.offset + bytes.len() as u64;
        if len > self.max {
            return Err(StoreError::TooLarge { what: "blob being written".into(), len, max: self.max });
        }
        self.offset = len;
        self.lane.push(self.turn, bytes).await
    }

    async fn commit(self: Box<Self>, owner: &Owner) -> Result<BlobRef, StoreError> {
        let owner = owner.clone();
        blocking("committing a blob", move || {
            self.lane.finish(self.turn, |part| part.finish(&self.tree, self.announced, &owner))
        })
        .await
    }
}

/// Takes no bytes, only an owner.
pub(crate) struct WholeWriter {
    tree: Arc<Tree>,
    blob: BlobRef,
}

impl WholeWriter {
    pub(crate) fn new(tree: Arc<Tree>, blob: BlobRef) -> Self {
        Self { tree, blob }
    }
}

#[async_trait]
impl BlobWriter for WholeWriter {
    fn offset(&self) -> u64 {
        self.blob.len
    }

    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let len = self.blob.len + bytes.len() as u64;
        Err(StoreError::TooLarge { what: format!("blob {}", self.blob.digest), len, max: self.blob.len })
    }

    async fn commit(self: Box<Self>, owner: &Owner) -> Result<BlobRef, StoreError> {
        let owner = owner.clone();
        blocking("retaining a blob", move || self.tree.retain(self.blob.digest, &owner).map(|()| self.blob)).await
    }
}
