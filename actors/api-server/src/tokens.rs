//! `/tokens` and `/audit`: what admins hand out and look at.

use crate::error::ApiError;
use crate::session::caller;
use crate::shared::{App, query};
use actix_web::{HttpRequest, HttpResponse, web};
use nsfl_rest_model::{Answer, Audit, AuditEntry, MadeToken, NewToken, Token, Tokens};
use nsfl_store::AuditRecord;
use nsfl_types::Code;
use serde::Deserialize;

pub(crate) async fn list(app: App) -> HttpResponse {
    let tokens = app.access.tokens().into_iter().map(|(token, used)| Token {
        id: token.id,
        name: token.name,
        role: token.role,
        created: token.created.into(),
        created_by: token.created_by,
        last_used: used.map(Into::into),
        revoked: token.revoked.map(Into::into),
    });
    HttpResponse::Ok().json(Tokens { tokens: tokens.collect() })
}

pub(crate) async fn make(app: App, request: HttpRequest, body: web::Bytes) -> Result<HttpResponse, ApiError> {
    let by = caller(&request)?.name;
    let NewToken { name, role } = serde_json::from_slice(&body)
        .map_err(|e| ApiError::other(Code::BadDocument, format!("{{\"name\": …, \"role\": …}} is expected: {e}")))?;
    let (token, text) = app.access.make(&name, role, &by).await?;
    tracing::info!(token = token.id, name, %role, by, "token made");
    Ok(HttpResponse::Created().json(MadeToken { id: token.id, name, role, token: text }))
}

pub(crate) async fn revoke(app: App, path: web::Path<String>) -> Result<HttpResponse, ApiError> {
    app.access.revoke(&path).await?;
    tracing::info!(token = path.as_str(), "token revoked");
    Ok(HttpResponse::Ok().json(Answer::successful()))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    #[serde(default)]
    after: u64,
    #[serde(default = "limit")]
    limit: u32,
    #[serde(default)]
    newest: bool,
}

const MOST: u32 = 10_000;

fn limit() -> u32 {
    100
}

pub(crate) async fn audit(app: App, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let Query { after, limit, newest } = query(&request)?;
    let (limit, last) = (limit.min(MOST), app.args.access.newest_audit().await?);
    let after = if newest { after.max(last.saturating_sub(limit.into())) } else { after };
    let entries = app.args.access.audit(after, limit).await?.into_iter().map(entry).collect();
    Ok(HttpResponse::Ok().json(Audit { entries, last }))
}

fn entry(record: AuditRecord) -> AuditEntry {
    let AuditRecord { id, at, who, role, from, method, path, status } = record;
    AuditEntry { id, at: at.into(), who, role, from, method, path, status }
}
