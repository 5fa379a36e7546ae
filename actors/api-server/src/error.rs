//! An answer that is not a success, and the one place where codes become HTTP status codes.

use actix_web::http::StatusCode;
use actix_web::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use nsfl_actor::AskError;
use nsfl_rest_model::Answer;
use nsfl_store::StoreError;
use nsfl_types::{Code, Refusal};
use std::fmt;

/// Which column of the interface's table applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// Create, update, start, stop or delete a job: what is refused is 403.
    ChangeJob,
    /// Everything else: what is not there is 404, what is wrong is 400.
    Other,
}

/// The HTTP status of a code. 5xx is for what is not the asker's fault.
pub(crate) fn status(code: Code, request: Request) -> StatusCode {
    match code {
        Code::Busy | Code::Timeout | Code::LinkLost => StatusCode::SERVICE_UNAVAILABLE,
        Code::Store | Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        Code::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
        Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        _ if request == Request::ChangeJob => StatusCode::FORBIDDEN,
        Code::NotFound | Code::NoNamespace => StatusCode::NOT_FOUND,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// A request that was not done.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    refusal: Refusal,
}

impl ApiError {
    pub(crate) fn new(request: Request, refusal: Refusal) -> Self {
        Self { status: status(refusal.code, request), refusal }
    }

    pub(crate) fn other(code: Code, reason: impl Into<String>) -> Self {
        Self::new(Request::Other, Refusal::new(code, reason))
    }

    /// Nobody knows who asks.
    pub(crate) fn unauthenticated(reason: &str) -> Self {
        Self { status: StatusCode::UNAUTHORIZED, refusal: Refusal::new(Code::Unauthenticated, reason) }
    }

    /// Who asks may not.
    pub(crate) fn forbidden(code: Code, reason: impl Into<String>) -> Self {
        Self { status: StatusCode::FORBIDDEN, refusal: Refusal::new(code, reason) }
    }

    /// The path exists, the method does not.
    pub(crate) fn method_not_allowed(reason: String) -> Self {
        Self { status: StatusCode::METHOD_NOT_ALLOWED, refusal: Refusal::new(Code::Unsupported, reason) }
    }

    /// An actor that gave no answer.
    pub(crate) fn unanswered(error: AskError, path: &str) -> Self {
        let (code, reason) = match error {
            AskError::Full => (Code::Busy, format!("{path} has too much to do; try again")),
            AskError::Down => (Code::Busy, format!("{path} is not running at the moment; try again")),
            AskError::Dropped => {
                (Code::Busy, format!("{path} ended before it answered; look whether it was done, then try again"))
            }
            AskError::Timeout => {
                (Code::Timeout, format!("{path} did not answer in time; look whether it was done, then try again"))
            }
        };
        Self::other(code, reason)
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "store read failed");
        Self::other(Code::Store, format!("the server's store cannot be read: {error}; its log says more"))
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.refusal.fmt(f)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut answer = HttpResponse::build(self.status);
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            answer.insert_header((RETRY_AFTER, "1"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            answer.insert_header((WWW_AUTHENTICATE, "Bearer"));
        }
        answer.json(Answer::from(&self.refusal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_faults_are_500() {
        for code in Code::ALL {
            for request in [Request::ChangeJob, Request::Other] {
                let ours = matches!(code, Code::Store | Code::Internal);
                assert_eq!(status(*code, request) == StatusCode::INTERNAL_SERVER_ERROR, ours, "{code}");
            }
        }
    }

    #[test]
    fn a_refused_change_of_a_job_is_403_and_a_missing_thing_404() {
        for code in [Code::JobExists, Code::BadDocument, Code::NoNamespace, Code::NotAllowed, Code::NotFound] {
            assert_eq!(status(code, Request::ChangeJob), StatusCode::FORBIDDEN);
        }
        assert_eq!(status(Code::NotFound, Request::Other), StatusCode::NOT_FOUND);
        assert_eq!(status(Code::NoNamespace, Request::Other), StatusCode::NOT_FOUND);
    }
}
