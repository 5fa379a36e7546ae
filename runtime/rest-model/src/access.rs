//! Who may ask, and what was changed by whom.

use crate::Time;
use nsfl_types::UserRole;
use serde::{Deserialize, Serialize};

/// Who asks, as the server knows them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The name.
    pub name: String,
    /// What they may do.
    pub role: UserRole,
    /// `token`, or `loopback` when none was needed.
    pub by: String,
}

/// To begin a session with a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The token.
    pub token: String,
}

/// A token as it is listed, without its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Names it.
    pub id: String,
    /// Whose it is.
    pub name: String,
    /// What it allows.
    pub role: UserRole,
    /// When it was made.
    pub created: Time,
    /// By whom.
    pub created_by: String,
    /// When it was used last, as far as this life of the server knows.
    pub last_used: Option<Time>,
    /// Since when it is not valid any more.
    pub revoked: Option<Time>,
}

/// Every token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// By creation.
    pub tokens: Vec<Token>,
}

/// A token to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// Whose it shall be.
    pub name: String,
    /// What it shall allow.
    pub role: UserRole,
}

/// A token that was made. Its text is shown this once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeToken {
    /// Names it.
    pub id: String,
    /// Whose it is.
    pub name: String,
    /// What it allows.
    pub role: UserRole,
    /// The token.
    pub token: String,
}

/// A request that changed something, or tried to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Counts up.
    pub id: u64,
    /// When it came.
    pub at: Time,
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
    /// HTTP status of the answer; `null` when the server ended before it had one.
    pub status: Option<u16>,
}

/// A part of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// Oldest first.
    pub entries: Vec<AuditEntry>,
    /// Id of the newest entry there is.
    pub last: u64,
}
