//! Before every request: who asks, whether they may, whether a foreign web page had them ask; and the record of changes.

use crate::access::Caller;
use crate::error::ApiError;
use crate::operations::{is_audited, needs};
use crate::shared::{App, Shared};
use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{HOST, HeaderName, ORIGIN};
use actix_web::middleware::Next;
use actix_web::{HttpMessage as _, ResponseError as _};
use nsfl_actor::now_ms;
use nsfl_store::AuditRecord;
use nsfl_types::{Code, Timestamp, UserRole};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// Characters kept of a path.
const LONGEST_PATH: usize = 1024;

pub(crate) async fn guard<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, actix_web::Error> {
    let Some(app) = request.app_data::<App>().cloned() else {
        return Ok(next.call(request).await?.map_into_left_body());
    };
    match admit(&app, &request).await {
        Ok(record) => {
            let answer = next.call(request).await?;
            if let Some(id) = record {
                close(&app, id, answer.status().as_u16()).await;
            }
            Ok(answer.map_into_left_body())
        }
        Err(error) => {
            let answer = error.error_response();
            Ok(request.into_response(answer).map_into_right_body())
        }
    }
}

/// Lets a request through, with the number of its record if it is one that is recorded.
async fn admit(app: &Shared, request: &ServiceRequest) -> Result<Option<u64>, ApiError> {
    same_origin(request)?;
    if !is_guarded(request.path()) {
        return Ok(None);
    }
    let (method, pattern) = (request.method().as_str(), request.match_pattern().unwrap_or_default());
    let caller = app.access.caller(request);
    let Some(needed) = needs(method, &pattern) else {
        if let Ok(caller) = caller {
            request.extensions_mut().insert(caller);
        }
        return Ok(None);
    };
    let caller = caller?;
    let allowed = caller.role >= needed;
    let record = match is_audited(method, &pattern) {
        true => Some(open(app, request, &caller).await?),
        false => None,
    };
    if !allowed {
        let error = forbidden(&caller, needed);
        if let Some(id) = record {
            close(app, id, error.status_code().as_u16()).await;
        }
        return Err(error);
    }
    request.extensions_mut().insert(caller);
    Ok(record)
}

/// The console's own files are for everybody: they hold nothing of this server.
fn is_guarded(path: &str) -> bool {
    path == "/metrics" || path.starts_with("/api/")
}

fn forbidden(caller: &Caller, needed: UserRole) -> ApiError {
    let reason = format!("this needs the role {needed}; '{}' has the role {}", caller.name, caller.role);
    ApiError::forbidden(Code::Forbidden, reason)
}

/// A browser says which page had it ask. Programs that are no browsers say nothing, and have no cookies of others.
fn same_origin(request: &ServiceRequest) -> Result<(), ApiError> {
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    let header = |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
    let same = match (header(SEC_FETCH_SITE), header(ORIGIN)) {
        (Some(site), _) => matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => origin.split_once("://").map(|(_, host)| host) == header(HOST),
        (None, None) => true,
    };
    if same {
        return Ok(());
    }
    Err(ApiError::forbidden(Code::WrongOrigin, "a web page of another origin may not change anything here"))
}

/// Before anything is done: nothing is changed without a record.
async fn open(app: &Shared, request: &ServiceRequest, caller: &Caller) -> Result<u64, ApiError> {
    let path: String = request.uri().to_string().chars().take(LONGEST_PATH).collect();
    let record = AuditRecord {
        id: 0,
        at: Timestamp(now_ms()),
        who: caller.name.clone(),
        role: caller.role,
        from: request.peer_addr().map(|peer| peer.ip().to_string()).unwrap_or_default(),
        method: request.method().to_string(),
        path,
        status: None,
    };
    Ok(app.args.access.append_audit(record).await?)
}

/// What came of it. A record that is left open says by itself that this is not known.
async fn close(app: &Shared, id: u64, status: u16) {
    if let Err(error) = app.args.access.close_audit(id, status).await {
        tracing::error!(id, status, error = &error as &dyn std::error::Error, "audit record not closed");
    }
}
