//! Who may ask the server, what was changed by whom, and which clients are kept away: records and the trait that keeps them.

use crate::StoreError;
use async_trait::async_trait;
use nsfl_types::{ClientId, Digest, Timestamp, UserRole};
use serde::{Deserialize, Serialize};

/// A token. The text itself is nowhere: only its digest is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// Names the token when it is listed or revoked.
    pub id: String,
    /// Whose it is.
    pub name: String,
    /// What it allows.
    pub role: UserRole,
    /// SHA-256 of the token's text.
    pub digest: Digest,
    /// When it was made.
    pub created: Timestamp,
    /// Who had it made.
    pub created_by: String,
    /// Since when it is not valid any more.
    pub revoked: Option<Timestamp>,
}

/// A request that changes something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// Counts up, given by the store; 0 in a record to be appended.
    pub id: u64,
    /// When it came.
    pub at: Timestamp,
    /// Who asked.
    pub who: String,
    /// In which role.
    pub role: UserRole,
    /// From which address.
    pub from: String,
    /// HTTP method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// HTTP status of the answer; none until there is one.
    pub status: Option<u16>,
}

/// How far a client is kept away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MarkKind {
    /// It gets no new tasks.
    Cordoned,
    /// It is turned away.
    Removed,
}

/// An operator's mark on a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientMark {
    /// The client.
    pub client: ClientId,
    /// How far it is kept away.
    pub kind: MarkKind,
    /// By whom.
    pub by: String,
    /// Since when.
    pub at: Timestamp,
    /// In the operator's words; may be empty.
    pub reason: String,
}

/// Tokens, the audit log and the marks on clients, in the server's database. Every write is durable when it is answered.
#[async_trait]
pub trait AccessStore: Send + Sync + 'static {
    /// Inserts or replaces a token.
    async fn put_token(&self, token: TokenRecord) -> Result<(), StoreError>;
    /// Every token, revoked ones too, by creation and id.
    async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError>;
    /// Appends a record under the next id, which is given back.
    async fn append_audit(&self, record: AuditRecord) -> Result<u64, StoreError>;
    /// Writes the status of the answer into a record; `NotFound` when there is none.
    async fn close_audit(&self, id: u64, status: u16) -> Result<(), StoreError>;
    /// At most `limit` records with an id above `after`, oldest first.
    async fn audit(&self, after: u64, limit: u32) -> Result<Vec<AuditRecord>, StoreError>;
    /// Removes the records of before this time, and all but the newest `keep`; says how many. Ids are not given again.
    async fn prune_audit(&self, before: Timestamp, keep: u64) -> Result<u64, StoreError>;
    /// The id of the newest record; 0 when there is none.
    async fn newest_audit(&self) -> Result<u64, StoreError>;
    /// Inserts or replaces the mark of a client.
    async fn put_mark(&self, mark: ClientMark) -> Result<(), StoreError>;
    /// Removes a client's mark; nothing when absent.
    async fn remove_mark(&self, client: &ClientId) -> Result<(), StoreError>;
    /// Every mark, by client.
    async fn marks(&self) -> Result<Vec<ClientMark>, StoreError>;
}
