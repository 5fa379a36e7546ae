//! Who asks: the tokens there are, and how a request shows one. What the roles allow is in `operations`.

use crate::author;
use crate::error::ApiError;
use actix_web::cookie::Cookie;
use actix_web::dev::ServiceRequest;
use actix_web::http::header::{AUTHORIZATION, HOST};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use nsfl_actor::now_ms;
use nsfl_store::{AccessStore, StoreError, TokenRecord};
use nsfl_types::{Code, Digest, Timestamp, UserRole};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// What every token begins with.
pub(crate) const PREFIX: &str = "nsfl_";
/// Carries the token of a browser's session.
pub(crate) const COOKIE: &str = "nsfl_token";
/// Who asks over loopback and does not say.
const LOOPBACK: &str = "loopback";
const LONGEST_NAME: usize = 64;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) name: String,
    pub(crate) role: UserRole,
    pub(crate) by_token: bool,
    /// Who is said to have written what is sent.
    pub(crate) author: String,
}

/// The tokens, and whether this machine needs one.
pub(crate) struct Access {
    store: Arc<dyn AccessStore>,
    open_on_loopback: bool,
    known: RwLock<BTreeMap<Digest, Known>>,
}

struct Known {
    token: TokenRecord,
    used: Option<Timestamp>,
}

impl Access {
    pub(crate) async fn load(store: Arc<dyn AccessStore>, open_on_loopback: bool) -> Result<Self, StoreError> {
        let tokens = store.tokens().await?;
        let known = tokens.into_iter().map(|token| (token.digest, Known { token, used: None })).collect();
        Ok(Self { store, open_on_loopback, known: RwLock::new(known) })
    }

    /// Who sends the request.
    pub(crate) fn caller(&self, request: &ServiceRequest) -> Result<Caller, ApiError> {
        match shown(request) {
            Some(token) => self.of_token(&token),
            None if self.open_on_loopback => {
                check_loopback(request)?;
                let author = author::author(request.request())?;
                Ok(Caller { name: LOOPBACK.to_owned(), role: UserRole::Admin, by_token: false, author })
            }
            None => Err(unauthenticated("this server is asked with a token: Authorization: Bearer nsfl_…")),
        }
    }

    /// Whose token this is.
    pub(crate) fn of_token(&self, text: &str) -> Result<Caller, ApiError> {
        let mut known = self.write();
        let valid = known.get_mut(&Digest::of(text.as_bytes())).filter(|known| known.token.revoked.is_none());
        let Some(Known { token, used }) = valid else {
            return Err(unauthenticated("the token is not valid: it may have been revoked; ask an admin for another"));
        };
        *used = Some(Timestamp(now_ms()));
        let name = token.name.clone();
        Ok(Caller { author: name.clone(), name, role: token.role, by_token: true })
    }

    /// Makes a token and gives its text, which is kept nowhere.
    pub(crate) async fn make(&self, name: &str, role: UserRole, by: &str) -> Result<(TokenRecord, String), ApiError> {
        let printable = !name.is_empty() && name.chars().count() <= LONGEST_NAME && !name.chars().any(char::is_control);
        if !printable {
            let reason = format!("the name of a token has 1 to {LONGEST_NAME} printable characters");
            return Err(ApiError::other(Code::BadDocument, reason));
        }
        let (text, token) = make(name, role, by);
        self.store.put_token(token.clone()).await?;
        self.write().insert(token.digest, Known { token: token.clone(), used: None });
        Ok((token, text))
    }

    /// From now on it is not valid. One that is not there is an error.
    pub(crate) async fn revoke(&self, id: &str) -> Result<(), ApiError> {
        let found = self.read().values().find(|known| known.token.id == id).map(|known| known.token.clone());
        let Some(token) = found else {
            return Err(ApiError::other(Code::NotFound, format!("there is no token '{id}'")));
        };
        let revoked = TokenRecord { revoked: token.revoked.or(Some(Timestamp(now_ms()))), ..token };
        self.store.put_token(revoked.clone()).await?;
        if let Some(known) = self.write().get_mut(&revoked.digest) {
            known.token = revoked;
        }
        Ok(())
    }

    /// Every token with its last use, the oldest first.
    pub(crate) fn tokens(&self) -> Vec<(TokenRecord, Option<Timestamp>)> {
        let mut tokens: Vec<_> = self.read().values().map(|known| (known.token.clone(), known.used)).collect();
        tokens.sort_by(|(a, _), (b, _)| (a.created, &a.id).cmp(&(b.created, &b.id)));
        tokens
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<Digest, Known>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<Digest, Known>> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A new token: its text, and what is kept of it.
pub(crate) fn make(name: &str, role: UserRole, by: &str) -> (String, TokenRecord) {
    let text = format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()));
    let digest = Digest::of(text.as_bytes());
    let token = TokenRecord {
        id: digest.to_string()[..12].to_owned(),
        name: name.to_owned(),
        role,
        digest,
        created: Timestamp(now_ms()),
        created_by: by.to_owned(),
        revoked: None,
    };
    (text, token)
}

/// The token that a request shows: as a bearer, as the password of HTTP basic authentication, or as the cookie.
/// Credentials that are none of ours mean something to somebody in front of us.
fn shown(request: &ServiceRequest) -> Option<String> {
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let of_header = header.and_then(|value| value.split_once(' ')).and_then(|(scheme, rest)| {
        match scheme.to_ascii_lowercase().as_str() {
            "bearer" => Some(rest.trim().to_owned()),
            "basic" => author::password(rest.trim()),
            _ => None,
        }
    });
    let ours = |text: &String| text.starts_with(PREFIX);
    let of_cookie = || request.cookie(COOKIE).map(|cookie: Cookie<'_>| cookie.value().to_owned());
    of_header.filter(ours).or_else(|| of_cookie().filter(ours))
}

/// From this machine and under one of its names, so that no web page gets here under a name of its own that leads here.
fn check_loopback(request: &ServiceRequest) -> Result<(), ApiError> {
    if !request.peer_addr().is_some_and(|peer| peer.ip().is_loopback()) {
        return Err(unauthenticated("only this machine is served without a token"));
    }
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if is_loopback(host) {
        return Ok(());
    }
    let reason = format!("'{host}' is no name of this machine: ask for localhost, or use a token");
    Err(ApiError::forbidden(Code::WrongOrigin, reason))
}

/// Whether a Host header names this machine itself.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn unauthenticated(reason: &str) -> ApiError {
    ApiError::unauthenticated(reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nsfl_store::memory::MemoryAccessStore;

    #[test]
    fn only_names_of_this_machine_are_loopback() {
        for good in ["localhost", "LocalHost:8080", "127.0.0.1:1", "127.8.8.8", "[::1]:80", "[::1]"] {
            assert!(is_loopback(good), "{good}");
        }
        for bad in ["", "evil.example", "127.0.0.1.evil.example:80", "10.0.0.1", "localhost.evil.example", "[::2]"] {
            assert!(!is_loopback(bad), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_token_is_known_by_its_text_until_it_is_revoked_and_kept_as_a_digest() {
        let store = Arc::new(MemoryAccessStore::default());
        let access = Access::load(store.clone(), false).await.unwrap();
        let (token, text) = access.make("ada", UserRole::Operator, "root").await.unwrap();
        let caller = access.of_token(&text).unwrap();
        assert_eq!((caller.name.as_str(), caller.role), ("ada", UserRole::Operator));
        assert!(access.of_token(&format!("{text}x")).is_err());
        assert!(!format!("{:?}", store.tokens().await.unwrap()).contains(&text));
        let again = Access::load(store.clone(), false).await.unwrap();
        assert!(again.of_token(&text).is_ok(), "after a restart");
        access.revoke(&token.id).await.unwrap();
        assert!(access.of_token(&text).is_err());
        assert!(Access::load(store, false).await.unwrap().of_token(&text).is_err());
        assert!(access.revoke("none").await.is_err());
        assert!(access.make("", UserRole::Viewer, "root").await.is_err());
    }
}
