//! `Failure`: why an actor, a start or a piece of spawned work ended badly, as text that can be logged, shown and sent.
//!
//! It is not a `std::error::Error`, so that `?` turns any error into one, with its chain of causes.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use serde::{Deserialize, Serialize};

/// What went wrong, and what caused that, nearest cause first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub message: String,
    #[serde(default)]
    pub causes: Vec<String>,
}

impl Failure {
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), causes: Vec::new() }
    }

    /// The same failure as the cause of a wider one.
    #[must_use]
    pub fn context(self, message: impl Into<String>) -> Self {
        let mut causes = Vec::with_capacity(self.causes.len() + 1);
        causes.push(self.message);
        causes.extend(self.causes);
        Self { message: message.into(), causes }
    }

    pub(crate) fn from_panic(panic: Box<dyn Any + Send>) -> Self {
        let text = match panic.downcast::<String>() {
            Ok(text) => *text,
            Err(panic) => match panic.downcast::<&'static str>() {
                Ok(text) => (*text).to_owned(),
                Err(_) => "a value that is no text".to_owned(),
            },
        };
        Self::new(format!("panicked: {text}"))
    }

    /// What ractor reports: one of ours, or its own.
    pub(crate) fn from_ractor(error: ractor::ActorProcessingErr) -> Self {
        match error.downcast::<Raised>() {
            Ok(raised) => raised.0,
            Err(other) => Self::from_error(other.as_ref()),
        }
    }

    /// Any error with its chain of causes.
    pub fn from_error(error: &dyn std::error::Error) -> Self {
        let causes = std::iter::successors(error.source(), |cause| cause.source()).map(ToString::to_string).collect();
        Self { message: error.to_string(), causes }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.causes.iter().try_for_each(|cause| write!(f, ": {cause}"))
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::from_error(&error)
    }
}

/// A failure on its way through ractor, which carries errors.
#[derive(Debug)]
pub(crate) struct Raised(pub(crate) Failure);

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Raised {}

/// Runs a future; its panic becomes a failure.
pub(crate) async fn caught<F: Future>(future: F) -> Result<F::Output, Failure> {
    AssertUnwindSafe(future).catch_unwind().await.map_err(Failure::from_panic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::num::ParseIntError);

    #[test]
    fn an_error_keeps_its_chain_of_causes() {
        let fails = || -> Result<(), Failure> { Err(Outer("x".parse::<u8>().unwrap_err()))? };
        let failure = fails().unwrap_err();
        assert_eq!(failure.message, "outer");
        assert_eq!(failure.causes, ["invalid digit found in string"]);
        assert_eq!(failure.context("wider").to_string(), "wider: outer: invalid digit found in string");
    }

    #[tokio::test]
    async fn a_panic_becomes_a_failure_with_its_text() {
        let failure = caught(async { panic!("number {}", 7) }).await.unwrap_err();
        assert_eq!(failure, Failure::new("panicked: number 7"));
    }
}
