//! Why a peer was refused, and the one place where codes and gRPC statuses meet.

use nsfl_types::Code;
use tonic::Status;
use tonic::metadata::MetadataValue;

/// Metadata key under which a status carries its stable code.
const CODE_KEY: &str = "nsfl-code";

/// A peer, frame or blob was refused: the stable code, and a reason for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {reason}")]
pub struct Refusal {
    /// The stable code.
    pub code: Code,
    /// What was wrong, in words.
    pub reason: String,
}

impl Refusal {
    /// A refusal with its reason.
    #[must_use]
    pub fn new(code: Code, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }

    /// Whether trying again with the same certificate, version and configuration is pointless.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        matches!(self.code, Code::NoCertificate | Code::BadCertificate | Code::WrongIdentity | Code::BadVersion)
    }
}

impl From<nsfl_store::StoreError> for Refusal {
    fn from(error: nsfl_store::StoreError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let mut status = Status::new(grpc_of(refusal.code), refusal.reason);
        status.metadata_mut().insert(CODE_KEY, MetadataValue::from_static(refusal.code.as_str()));
        status
    }
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        let named = status.metadata().get(CODE_KEY).and_then(|value| value.to_str().ok()).and_then(code_from_text);
        Self::new(named.unwrap_or_else(|| code_of(status.code())), status.message())
    }
}

/// The code with this stable text.
pub(crate) fn code_from_text(text: &str) -> Option<Code> {
    Code::ALL.iter().copied().find(|code| code.as_str() == text)
}

fn grpc_of(code: Code) -> tonic::Code {
    match code {
        Code::NoCertificate | Code::BadCertificate => tonic::Code::Unauthenticated,
        Code::WrongIdentity | Code::NotAddressable | Code::BlobRefused => tonic::Code::PermissionDenied,
        Code::TooLarge | Code::CreditExceeded | Code::DiskFull | Code::Busy => tonic::Code::ResourceExhausted,
        Code::NotFound | Code::NoNamespace => tonic::Code::NotFound,
        Code::Timeout => tonic::Code::DeadlineExceeded,
        Code::BadFrame | Code::WrongDigest => tonic::Code::InvalidArgument,
        Code::Stale | Code::Late => tonic::Code::Aborted,
        Code::LinkLost => tonic::Code::Unavailable,
        Code::Unsupported => tonic::Code::Unimplemented,
        Code::Internal | Code::Store => tonic::Code::Internal,
        _ => tonic::Code::FailedPrecondition,
    }
}

/// For statuses made by the gRPC library itself, which carry no stable code.
fn code_of(grpc: tonic::Code) -> Code {
    match grpc {
        tonic::Code::OutOfRange | tonic::Code::ResourceExhausted => Code::TooLarge,
        tonic::Code::Unauthenticated => Code::BadCertificate,
        tonic::Code::PermissionDenied => Code::WrongIdentity,
        tonic::Code::DeadlineExceeded => Code::Timeout,
        tonic::Code::NotFound => Code::NotFound,
        tonic::Code::Unimplemented => Code::Unsupported,
        tonic::Code::InvalidArgument => Code::BadFrame,
        _ => Code::LinkLost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_the_way_through_a_status() {
        for &code in Code::ALL {
            let refusal = Refusal::new(code, "because");
            assert_eq!(Refusal::from(Status::from(refusal.clone())), refusal);
        }
    }

    #[test]
    fn a_status_of_the_library_without_a_code_is_mapped_by_its_kind() {
        assert_eq!(Refusal::from(Status::out_of_range("decoded message too large")).code, Code::TooLarge);
        assert_eq!(Refusal::from(Status::unavailable("cut")).code, Code::LinkLost);
    }
}
