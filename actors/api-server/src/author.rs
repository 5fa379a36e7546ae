//! Who is said to send a request that needs no token: the user name of HTTP basic authentication (RFC 7617). What it gives is
//! what sites are told. Who shows a token is vouched for by this server instead.

use crate::error::ApiError;
use actix_web::HttpRequest;
use actix_web::http::header::AUTHORIZATION;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use nsfl_types::Code;

/// Who sends a request that does not say.
const NOBODY: &str = "anonymous";
const LONGEST: usize = 128;

pub(crate) fn author(request: &HttpRequest) -> Result<String, ApiError> {
    let Some(header) = request.headers().get(AUTHORIZATION) else { return Ok(NOBODY.to_owned()) };
    let text = header.to_str().unwrap_or_default();
    match text.split_once(' ') {
        Some((scheme, login)) if scheme.eq_ignore_ascii_case("basic") => user(login.trim()).ok_or_else(|| {
            let reason = format!(
                "the Authorization header is not that of HTTP basic authentication with a user name of 1 to {LONGEST} \
                 printable characters"
            );
            ApiError::other(Code::BadDocument, reason)
        }),
        // of another scheme: it means something to somebody in front of us
        _ => Ok(NOBODY.to_owned()),
    }
}

/// The password of a login: a token of ours may be sent as one.
pub(crate) fn password(login: &str) -> Option<String> {
    decoded(login).map(|(_, password)| password)
}

fn user(login: &str) -> Option<String> {
    let (user, _) = decoded(login)?;
    let fits = !user.is_empty() && user.chars().count() <= LONGEST && !user.chars().any(char::is_control);
    fits.then_some(user)
}

fn decoded(login: &str) -> Option<(String, String)> {
    let login = String::from_utf8(BASE64_STANDARD.decode(login).ok()?).ok()?;
    login.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_name_is_taken_and_nonsense_is_none() {
        let of = |text: &str| user(&BASE64_STANDARD.encode(text));
        assert_eq!(of("ada:secret:x").as_deref(), Some("ada"));
        assert_eq!(of("ada:").as_deref(), Some("ada"));
        for bad in ["no colon", ":x", "a\nb:x"] {
            assert_eq!(of(bad), None, "{bad:?}");
        }
        assert_eq!(user("%%%"), None);
    }
}
