//! `/session`: who asks, and the cookie that a browser shows in place of a header.

use crate::access::{COOKIE, Caller};
use crate::error::ApiError;
use crate::shared::App;
use actix_web::cookie::{Cookie, SameSite, time::Duration};
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, web};
use nsfl_rest_model::{Answer, Login, Session};
use nsfl_types::Code;

/// A browser keeps it for so long; revoking the token ends it at once.
const KEPT: Duration = Duration::days(30);

pub(crate) async fn get(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(body(caller(&request)?)))
}

pub(crate) async fn begin(app: App, login: web::Bytes) -> Result<HttpResponse, ApiError> {
    let login: Login = serde_json::from_slice(&login)
        .map_err(|e| ApiError::other(Code::BadDocument, format!("{{\"token\": \"nsfl_…\"}} is expected: {e}")))?;
    let caller = app.access.of_token(login.token.trim())?;
    let cookie = cookie(&app, login.token.trim()).max_age(KEPT).finish();
    Ok(HttpResponse::Ok().cookie(cookie).json(body(caller)))
}

pub(crate) async fn end(app: App) -> HttpResponse {
    HttpResponse::Ok().cookie(cookie(&app, "").max_age(Duration::ZERO).finish()).json(Answer::successful())
}

/// Who asks; the guard has put it there.
pub(crate) fn caller(request: &HttpRequest) -> Result<Caller, ApiError> {
    let known = request.extensions().get::<Caller>().cloned();
    known.ok_or_else(|| ApiError::unauthenticated("this server is asked with a token: POST it to /api/v1/session"))
}

/// No script of a page can read it, and no other site's page has it sent.
fn cookie<'a>(app: &App, value: &'a str) -> actix_web::cookie::CookieBuilder<'a> {
    let secure = app.args.tls.is_some();
    Cookie::build(COOKIE, value).path("/").http_only(true).same_site(SameSite::Strict).secure(secure)
}

fn body(caller: Caller) -> Session {
    let by = if caller.by_token { "token" } else { "loopback" };
    Session { name: caller.name, role: caller.role, by: by.to_owned() }
}
