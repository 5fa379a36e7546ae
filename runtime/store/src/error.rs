//! What a store answers when it cannot do its work, and how sure it is that nothing was done.

use nsfl_types::Code;

/// Whether a failed write may have happened all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certainty {
    /// Certainly not done: answer the caller and reload.
    NotDone,
    /// Maybe done: the actor dies, its successor reloads.
    MaybeDone,
}

/// A store's failure.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A record with this key exists.
    #[error("{0} exists already")]
    Exists(String),
    /// No such record or blob.
    #[error("{0} is not in the store")]
    NotFound(String),
    /// A newer generation has taken over: the writer is a zombie and must end.
    #[error("run {key} is owned by generation {stored}; generation {tried} has been replaced")]
    Fenced {
        /// Job and run.
        key: String,
        /// The generation in the store.
        stored: u64,
        /// The generation that tried to write.
        tried: u64,
    },
    /// The bytes do not hash to the digest announced.
    #[error("the bytes hash to {found}, announced was {expected}")]
    WrongDigest {
        /// Announced.
        expected: nsfl_types::Digest,
        /// Computed over what came.
        found: nsfl_types::Digest,
    },
    /// More bytes, or a larger record, than announced or allowed.
    #[error("{what}: {len} bytes, allowed are {max}")]
    TooLarge {
        /// What is too large.
        what: String,
        /// Its length in bytes.
        len: u64,
        /// The limit in bytes.
        max: u64,
    },
    /// The disk is full.
    #[error("disk full while {what}")]
    DiskFull {
        /// What was being done.
        what: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Stored data is damaged; the message says which file and what to do.
    #[error("damaged: {0}")]
    Damaged(String),
    /// A newer version of this program wrote the data: it is left as it is. The message says which file and versions.
    #[error("{0}; a newer version of nsfl-node wrote it: install that one again, or put back a backup of before")]
    Newer(String),
    /// Any other failure of the backend.
    #[error("store failed while {what}")]
    Backend {
        /// What was being done.
        what: String,
        /// Whether it may have been done.
        certainty: Certainty,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl StoreError {
    /// Whether the write may have happened all the same.
    #[must_use]
    pub fn certainty(&self) -> Certainty {
        match self {
            StoreError::Backend { certainty, .. } => *certainty,
            _ => Certainty::NotDone,
        }
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            StoreError::Exists(_) => Code::JobExists,
            StoreError::NotFound(_) => Code::NotFound,
            StoreError::Fenced { .. } => Code::Stale,
            StoreError::WrongDigest { .. } => Code::WrongDigest,
            StoreError::TooLarge { .. } => Code::TooLarge,
            StoreError::DiskFull { .. } => Code::DiskFull,
            StoreError::Newer(_) => Code::NewerData,
            StoreError::Damaged(_) | StoreError::Backend { .. } => Code::Store,
        }
    }
}
