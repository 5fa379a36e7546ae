//! Tokens, audit log and marks in memory.

use super::lock;
use crate::{AccessStore, AuditRecord, ClientMark, StoreError, TokenRecord};
use async_trait::async_trait;
use nsfl_types::{ClientId, Timestamp};
use std::collections::BTreeMap;
use std::sync::Mutex;

/// The server's access records in memory.
#[derive(Debug, Default)]
pub struct MemoryAccessStore(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    tokens: BTreeMap<String, TokenRecord>,
    audit: Vec<AuditRecord>,
    last_audit: u64,
    marks: BTreeMap<ClientId, ClientMark>,
}

#[async_trait]
impl AccessStore for MemoryAccessStore {
    async fn put_token(&self, token: TokenRecord) -> Result<(), StoreError> {
        lock(&self.0).tokens.insert(token.id.clone(), token);
        Ok(())
    }

    async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        let mut tokens: Vec<_> = lock(&self.0).tokens.values().cloned().collect();
        tokens.sort_by_key(|token| token.created);
        Ok(tokens)
    }

    async fn append_audit(&self, record: AuditRecord) -> Result<u64, StoreError> {
        let mut state = lock(&self.0);
        state.last_audit += 1;
        let id = state.last_audit;
        state.audit.push(AuditRecord { id, ..record });
        Ok(id)
    }

    async fn close_audit(&self, id: u64, status: u16) -> Result<(), StoreError> {
        let mut state = lock(&self.0);
        let record = state.audit.iter_mut().find(|record| record.id == id);
        record.ok_or_else(|| StoreError::NotFound(format!("audit record {id}")))?.status = Some(status);
        Ok(())
    }

    async fn audit(&self, after: u64, limit: u32) -> Result<Vec<AuditRecord>, StoreError> {
        let state = lock(&self.0);
        Ok(state.audit.iter().filter(|record| record.id > after).take(limit as usize).cloned().collect())
    }

    async fn newest_audit(&self) -> Result<u64, StoreError> {
        Ok(lock(&self.0).audit.last().map_or(0, |record| record.id))
    }

    async fn prune_audit(&self, before: Timestamp, keep: u64) -> Result<u64, StoreError> {
        let mut state = lock(&self.0);
        let (all, oldest) = (state.audit.len(), state.last_audit.saturating_sub(keep));
        state.audit.retain(|record| record.at >= before && record.id > oldest);
        Ok((all - state.audit.len()) as u64)
    }

    async fn put_mark(&self, mark: ClientMark) -> Result<(), StoreError> {
        lock(&self.0).marks.insert(mark.client.clone(), mark);
        Ok(())
    }

    async fn remove_mark(&self, client: &ClientId) -> Result<(), StoreError> {
        lock(&self.0).marks.remove(client);
        Ok(())
    }

    async fn marks(&self) -> Result<Vec<ClientMark>, StoreError> {
        Ok(lock(&self.0).marks.values().cloned().collect())
    }
}
