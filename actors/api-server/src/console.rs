//! `/console/`: the console's files, which are part of this program (`console/dist`). They hold nothing of this server; what
//! they show comes from the interface.

use actix_web::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, ETAG, HeaderName, IF_NONE_MATCH,
    LOCATION, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use rust_embed::{EmbeddedFile, RustEmbed};

#[derive(RustEmbed)]
#[folder = "../../console/dist"]
struct Files;

const INDEX: &str = "index.html";
/// Only what comes from this server, and no code or style within a page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
                      connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
/// Encodings that a file may lie beside in, the best first.
const ENCODINGS: [(&str, &str); 2] = [("br", ".br"), ("gzip", ".gz")];
const OPENER: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

pub(crate) async fn redirect() -> HttpResponse {
    HttpResponse::Found().insert_header((LOCATION, "/console/")).finish()
}

/// A file; a path that names none is a page of the console, which its script knows.
pub(crate) async fn file(path: web::Path<String>, request: HttpRequest) -> HttpResponse {
    let is_page = path.is_empty() || !path.rsplit('/').next().is_some_and(|last| last.contains('.'));
    let name = if is_page { INDEX } else { path.as_str() };
    let Some(plain) = Files::get(name) else {
        return headed(StatusCode::NOT_FOUND).content_type("text/plain; charset=utf-8").body("no such file");
    };
    let media = plain.metadata.mimetype().to_owned();
    let (encoding, file) = encoded(name, &request).unwrap_or((None, plain));
    let tag = format!("\"{}\"", hex(&file));
    let unchanged = header(&request, IF_NONE_MATCH).is_some_and(|known| known.split(',').any(|t| t.trim() == tag));
    let mut answer = headed(if unchanged { StatusCode::NOT_MODIFIED } else { StatusCode::OK });
    answer.insert_header((ETAG, tag)).insert_header((VARY, "accept-encoding"));
    answer.insert_header((
        CACHE_CONTROL,
        if is_hashed(name) { "public, max-age=31536000, immutable" } else { "no-cache" },
    ));
    if let Some(encoding) = encoding {
        answer.insert_header((CONTENT_ENCODING, encoding));
    }
    if unchanged || request.method() == Method::HEAD {
        return answer.content_type(media).finish();
    }
    answer.content_type(media).body(file.data.into_owned())
}

/// The best variant that lies beside the file and that the browser takes.
fn encoded(name: &str, request: &HttpRequest) -> Option<(Option<&'static str>, EmbeddedFile)> {
    let accepted = header(request, ACCEPT_ENCODING)?;
    let takes =
        |encoding: &str| accepted.split(',').any(|part| part.split(';').next().map(str::trim) == Some(encoding));
    let beside = |(encoding, end): (&'static str, &str)| {
        Files::get(&format!("{name}{end}")).filter(|_| takes(encoding)).map(|file| (Some(encoding), file))
    };
    ENCODINGS.into_iter().find_map(beside)
}

/// Whether a change of the file is a change of its name: `name-<8 or more characters>.ext`, or in `assets/`.
fn is_hashed(name: &str) -> bool {
    let stem = name.rsplit('/').next().and_then(|file| file.split('.').next()).unwrap_or_default();
    let hash = stem.rsplit_once('-').map(|(_, hash)| hash).unwrap_or_default();
    let is_hash = hash.len() >= 8 && hash.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    name.starts_with("assets/") || (is_hash && hash.bytes().any(|b| b.is_ascii_digit()))
}

fn headed(status: StatusCode) -> HttpResponseBuilder {
    let mut answer = HttpResponse::build(status);
    answer
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .insert_header((OPENER, "same-origin"));
    answer
}

fn header(request: &HttpRequest, name: HeaderName) -> Option<&str> {
    request.headers().get(name).and_then(|value| value.to_str().ok())
}

fn hex(file: &EmbeddedFile) -> String {
    file.metadata.sha256_hash()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_hash_is_kept_for_ever_and_others_are_asked_for_again() {
        for hashed in ["assets/app.js", "app-3f9a2b1c.js", "deep/app-3f9a2b1c.css"] {
            assert!(is_hashed(hashed), "{hashed}");
        }
        for plain in ["index.html", "app.js", "some-component.js", "favicon-round.svg"] {
            assert!(!is_hashed(plain), "{plain}");
        }
    }
}
