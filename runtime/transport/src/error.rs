//! Failures of starting a server or moving a blob.

use crate::{CredentialsError, Refusal};
use nsfl_store::StoreError;
use nsfl_types::Code;
use std::net::SocketAddr;

/// The server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The credentials cannot be used.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
    /// The credentials cannot be read.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The certificate is not a server's.
    #[error(transparent)]
    Identity(#[from] Refusal),
}

impl TransportError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            TransportError::Listen { .. } => Code::Internal,
            TransportError::Tls(_) => Code::BadCertificate,
            TransportError::Credentials(error) => error.code(),
            TransportError::Identity(refusal) => refusal.code,
        }
    }
}

/// A blob was not moved.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The server refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The own store failed, or what came does not hash to the digest.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The connection was lost again and again without progress. What was moved is kept and resumed.
    #[error("gave up after {attempts} attempts without progress: {last}")]
    Lost {
        /// Attempts since the last byte.
        attempts: u32,
        /// What ended the last one.
        last: Refusal,
    },
}

impl BlobError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            BlobError::Refused(refusal) => refusal.code,
            BlobError::Store(error) => error.code(),
            BlobError::Lost { .. } => Code::LinkLost,
        }
    }
}
