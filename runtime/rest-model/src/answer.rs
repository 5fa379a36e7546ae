//! The bare answers: `{"state":"SUCCESSFUL"}` and `{"state":"FAILED","reason":…,"code":…}`.

use nsfl_types::{Code, Refusal};
use serde::{Deserialize, Serialize};

/// Whether the request was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Outcome {
    /// Done.
    Successful,
    /// Not done; `reason` says why.
    Failed,
}

/// The answer to a request that returns nothing, and to every request that was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Done or not.
    pub state: Outcome,
    /// Why not, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why not, for scripts: the text of an `nsfl_types::Code`, kept as text so that an older reader survives a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

impl Answer {
    /// Done.
    #[must_use]
    pub fn successful() -> Self {
        Self { state: Outcome::Successful, reason: None, code: None }
    }

    /// Not done.
    pub fn failed(code: Code, reason: impl Into<String>) -> Self {
        Self { state: Outcome::Failed, reason: Some(reason.into()), code: Some(code.as_str().to_owned()) }
    }
}

impl From<&Refusal> for Answer {
    fn from(refusal: &Refusal) -> Self {
        Self::failed(refusal.code, refusal.reason.clone())
    }
}
