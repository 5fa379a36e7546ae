//! Short stable codes of what can go wrong, used in REST, logs, metrics and docs.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident => $text:literal,)*) => {
        /// Why something was refused or failed. The text is stable: scripts may match on it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Code { $($(#[doc = $doc])* #[serde(rename = $text)] $name,)* }

        impl Code {
            /// Every code, for docs and tests.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];

            /// The stable text.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$name => $text,)* }
            }
        }
    };
}

codes! {
    /// A job document has an unknown, missing, mistyped or out-of-range field.
    BadDocument => "bad-document",
    /// A job with this id exists in the namespace.
    JobExists => "job-exists",
    /// No such job, client or actor.
    NotFound => "not-found",
    /// No such namespace.
    NoNamespace => "no-namespace",
    /// The job's state does not allow the operation.
    NotAllowed => "not-allowed",
    /// This version or this node does not offer what was asked for.
    Unsupported => "unsupported",
    /// A queue is full; try again.
    Busy => "busy",
    /// An answer did not come in time.
    Timeout => "timeout",
    /// The store refused or may have refused a write.
    Store => "store",
    /// The disk is full.
    DiskFull => "disk-full",
    /// The peer showed no certificate.
    NoCertificate => "no-certificate",
    /// The peer's certificate is from another authority, expired or malformed.
    BadCertificate => "bad-certificate",
    /// The certificate's identity is not the one claimed, or its role does not fit.
    WrongIdentity => "wrong-identity",
    /// No protocol version in common.
    BadVersion => "bad-version",
    /// A frame for an actor the peer may not address.
    NotAddressable => "not-addressable",
    /// A frame or blob above the limit.
    TooLarge => "too-large",
    /// More sent than credit was given for.
    CreditExceeded => "credit-exceeded",
    /// A frame that cannot be decoded or breaks the protocol.
    BadFrame => "bad-frame",
    /// The peer may not read or write this blob now.
    BlobRefused => "blob-refused",
    /// Bytes do not hash to the digest they were announced with.
    WrongDigest => "wrong-digest",
    /// The update is not readable as safetensors.
    BadUpdate => "bad-update",
    /// The update holds NaN or infinity.
    NotFinite => "not-finite",
    /// The update's shapes or types are not those of the model.
    WrongShape => "wrong-shape",
    /// The update's weight is not finite or not in its range.
    BadWeight => "bad-weight",
    /// The update was made from another model than this round's.
    WrongBase => "wrong-base",
    /// The round was already closed.
    Late => "late",
    /// The task is not known or no longer wanted.
    Stale => "stale",
    /// The trainer ended with an error.
    TrainerFailed => "trainer-failed",
    /// The trainer did not end in its time.
    TrainerTimeout => "trainer-timeout",
    /// The trainer could not be started.
    TrainerStart => "trainer-start",
    /// The task was cancelled.
    Cancelled => "cancelled",
    /// A data set the task asks for is not configured or not readable.
    BadDataset => "bad-dataset",
    /// The quorum was not met by the deadline.
    NoQuorum => "no-quorum",
    /// Too few clients fit the job's conditions.
    NoClients => "no-clients",
    /// A link or node was lost.
    LinkLost => "link-lost",
    /// Our own fault.
    Internal => "internal",
    /// A newer version wrote the data.
    NewerData => "newer-data",
    /// The task's script or configuration is not there.
    ScriptMissing => "script-missing",
    /// The task's command cannot be run.
    ScriptCommand => "script-command",
    /// The script raised an exception.
    ScriptException => "script-exception",
    /// The script ended with an exit code.
    ScriptExit => "script-exit",
    /// The script was killed by a signal.
    ScriptSignal => "script-signal",
    /// The script used more memory than it may.
    ScriptMemory => "script-memory",
    /// The script wrote more than it may.
    ScriptDisk => "script-disk",
    /// The script used more processor time than it may.
    ScriptCpu => "script-cpu",
    /// The script committed no weights.
    CommitMissing => "commit-missing",
    /// The script committed weights twice.
    CommitTwice => "commit-twice",
    /// The scripts sent with a job cannot be unpacked safely.
    BadPackage => "bad-package",
    /// The site's policy does not allow the task.
    Policy => "policy",
    /// The job's extender failed.
    ExtenderFailed => "extender-failed",
    /// The script ended and left processes running.
    ScriptForks => "script-forks",
    /// The script is no Python.
    ScriptSyntax => "script-syntax",
    /// The trainer did not end in its time, nor when it was asked to.
    TrainerKilled => "trainer-killed",
    /// The update lacks tensors of the model, or has others.
    WrongNames => "wrong-names",
    /// The scripts sent with a job are more than is taken, or unpack to more.
    PackageTooLarge => "package-too-large",
    /// No token, or none that is valid.
    Unauthenticated => "unauthenticated",
    /// The token's role does not allow the request.
    Forbidden => "forbidden",
    /// A web page of another origin asked.
    WrongOrigin => "wrong-origin",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A request that was turned down: a code for scripts, a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    /// The stable code.
    pub code: Code,
    /// What, where and how to fix it.
    pub reason: String,
}

impl Refusal {
    /// Joins code and reason.
    pub fn new(code: Code, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_kebab_case_and_survive_serde() {
        let mut seen = std::collections::BTreeSet::new();
        for code in Code::ALL {
            assert!(seen.insert(code.as_str()), "{code} twice");
            assert!(code.as_str().chars().all(|c| c.is_ascii_lowercase() || c == '-'));
            let json = serde_json::to_string(code).unwrap();
            assert_eq!(serde_json::from_str::<Code>(&json).unwrap(), *code);
        }
    }
}
