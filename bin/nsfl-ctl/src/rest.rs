//! The one HTTP client: asks, decodes, and says in our words why an answer is no success.

use crate::config::Config;
use crate::fault::Fault;
use nsfl_rest_model::Answer;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use ureq::http::{Request, Response, StatusCode, header};
use ureq::tls::{Certificate, PemItem, TlsConfig, TlsProvider, parse_pem};
use ureq::{Agent, AsSendBody, Body};

/// A connection that is not made within this time is not made.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// The server gives its actors 10 s; one that takes longer than this is not well.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// A large file takes its time to reach the server's disk.
const STORED_WITHIN: Duration = Duration::from_secs(600);
/// An event stream says something every 15 s; one that is silent this long is dead.
const SILENCE: Duration = Duration::from_secs(45);
/// Largest answer that is no file.
const MAX_ANSWER: u64 = 64 << 20;

/// A server, as one user sees it.
pub(crate) struct Rest {
    agent: Agent,
    config: Config,
    authorization: Option<String>,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// A small answer.
    Plain,
    /// That a file is stored.
    Upload,
    /// A large file, as it comes.
    Download,
    /// Events as they come, for so long at most.
    Stream(Option<Duration>),
}

impl Rest {
    /// Nothing is sent yet.
    pub(crate) fn new(config: Config) -> Result<Self, Fault> {
        let config = Config {
            server: Some(checked_url(config.server())?),
            data_server: Some(checked_url(config.data_server())?),
            ..config
        };
        let urls = [config.server(), config.data_server()];
        if urls.iter().any(|url| url.starts_with("https:")) && config.certificate.is_none() {
            let how = "https needs the certificate of the server's authority: `nsfl-ctl set config -c ca.pem`";
            return Err(Fault::Usage(how.into()));
        }
        if (config.password.is_some() || config.token.is_some()) && !urls.iter().all(|url| is_private(url)) {
            let how = "a password or a token is sent over https or to this machine only: `nsfl-ctl set config -s https://…`, or remove it";
            return Err(Fault::Usage(how.into()));
        }
        let mut agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_WITHIN))
            .timeout_per_read(Some(SILENCE))
            .max_redirects(0)
            .user_agent(concat!("nsfl-ctl/", env!("CARGO_PKG_VERSION")));
        if let Some(file) = &config.certificate {
            let tls = TlsConfig::builder()
                .provider(TlsProvider::Rustls)
                .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .root_certs(certificates(file)?.into());
            agent = agent.tls_config(tls.build());
        }
        // a user without a password is a name: the author of the jobs that are submitted
        let login = config.user.as_ref().map(|user| {
            let password = config.password.as_deref().unwrap_or_default();
            format!("Basic {}", base64(&format!("{user}:{password}")))
        });
        let authorization = config.token.as_ref().map(|token| format!("Bearer {token}")).or(login);
        Ok(Self { agent: agent.build().new_agent(), config, authorization })
    }

    /// GET a body of a known type.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Fault> {
        let text = self.text(path)?;
        serde_json::from_str(&text).map_err(|e| self.unreadable(&e, &text))
    }

    /// GET as text.
    pub(crate) fn text(&self, path: &str) -> Result<String, Fault> {
        let mut answer = self.send("GET", self.config.server(), path, Kind::Plain, ())?;
        self.read(&mut answer)
    }

    /// A change that sends JSON; its answer says nothing but that it was done.
    pub(crate) fn change(&self, method: &str, path: &str, body: &serde_json::Value) -> Result<(), Fault> {
        self.send(method, self.config.server(), path, Kind::Plain, body.to_string()).map(drop)
    }

    /// A change that sends JSON and is answered by a body of a known type.
    pub(crate) fn make<T: DeserializeOwned>(&self, path: &str, body: &serde_json::Value) -> Result<T, Fault> {
        let mut answer = self.send("POST", self.config.server(), path, Kind::Plain, body.to_string())?;
        let text = self.read(&mut answer)?;
        serde_json::from_str(&text).map_err(|e| self.unreadable(&e, &text))
    }

    /// Removes what is at the path.
    pub(crate) fn delete(&self, path: &str) -> Result<(), Fault> {
        self.send("DELETE", self.config.server(), path, Kind::Plain, ()).map(drop)
    }

    /// Streams a file to the server that takes files.
    pub(crate) fn upload(&self, path: &str, file: &File) -> Result<(), Fault> {
        self.send("PUT", self.config.data_server(), path, Kind::Upload, file).map(drop)
    }

    /// The same for bytes in memory.
    pub(crate) fn upload_bytes(&self, path: &str, bytes: &[u8]) -> Result<(), Fault> {
        self.send("PUT", self.config.data_server(), path, Kind::Upload, bytes).map(drop)
    }

    /// Streams a file of any size from the server.
    pub(crate) fn download(&self, path: &str) -> Result<impl Read + use<>, Fault> {
        let answer = self.send("GET", self.config.server(), path, Kind::Download, ())?;
        Ok(answer.into_body().into_with_config().limit(u64::MAX).reader())
    }

    /// Opens an event stream; `within`: its longest life.
    pub(crate) fn stream(&self, path: &str, within: Option<Duration>) -> Result<impl BufRead + use<>, Fault> {
        let answer = self.send("GET", self.config.server(), path, Kind::Stream(within), ())?;
        Ok(BufReader::new(answer.into_body().into_reader()))
    }

    /// Asks. A success comes back, all else is a fault.
    fn send(
        &self,
        method: &str,
        server: &str,
        path: &str,
        kind: Kind,
        body: impl AsSendBody,
    ) -> Result<Response<Body>, Fault> {
        let (accept, answer_within, life) = match kind {
            Kind::Plain => ("application/json", ANSWER_WITHIN, None),
            Kind::Upload => ("application/json", STORED_WITHIN, None),
            Kind::Download => ("*/*", STORED_WITHIN, None),
            Kind::Stream(life) => ("text/event-stream", ANSWER_WITHIN, life),
        };
        let mut request = Request::builder().method(method).uri(format!("{server}{path}"));
        request = request.header(header::ACCEPT, accept);
        if let Some(value) = &self.authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        let request = request.body(body).map_err(|e| Fault::Usage(format!("{server}{path}: {e}")))?;
        let request = self.agent.configure_request(request).timeout_recv_response(Some(answer_within));
        let request = request.timeout_recv_body(life).build();
        let mut answer = self.agent.run(request).map_err(|e| self.unreachable(server, &e))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let text = self.read(&mut answer)?;
        Err(refused(answer.status(), &text))
    }

    fn read(&self, answer: &mut Response<Body>) -> Result<String, Fault> {
        let body = answer.body_mut().with_config().limit(MAX_ANSWER);
        body.read_to_string().map_err(|e| self.unreachable(self.config.server(), &e))
    }

    fn unreachable(&self, server: &str, error: &ureq::Error) -> Fault {
        let cause = match error {
            ureq::Error::Io(e) => e.to_string(),
            other => other.to_string(),
        };
        Fault::Unreachable { server: server.to_owned(), cause }
    }

    fn unreadable(&self, error: &serde_json::Error, text: &str) -> Fault {
        let shown: String = text.chars().take(200).collect();
        Fault::Refused(format!("{} answered what nsfl-ctl cannot read ({error}): {shown}", self.config.server()))
    }
}

fn refused(status: StatusCode, text: &str) -> Fault {
    let reason = match serde_json::from_str::<Answer>(text) {
        Ok(answer) => answer.reason.unwrap_or_else(|| status.to_string()),
        Err(_) => format!("{status}: {}", text.chars().take(200).collect::<String>()),
    };
    match status {
        StatusCode::NOT_FOUND => Fault::NotFound(reason),
        StatusCode::SERVICE_UNAVAILABLE => Fault::Busy(reason),
        _ => Fault::Refused(reason),
    }
}

/// `http://` or `https://`, a host, perhaps a port; without a scheme it is http.
pub(crate) fn checked_url(url: &str) -> Result<String, Fault> {
    let full = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    let full = full.trim_end_matches('/').to_owned();
    let plain = |uri: &ureq::http::Uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    };
    if full.parse().is_ok_and(|uri| plain(&uri)) {
        return Ok(full);
    }
    Err(Fault::Usage(format!("'{url}' is no address of a server: http://HOST:PORT or https://HOST:PORT is expected")))
}

/// The certificates of a PEM file, at least one.
pub(crate) fn certificates(file: &Path) -> Result<Vec<Certificate<'static>>, Fault> {
    let pem = std::fs::read(file).map_err(|e| Fault::file(file, e))?;
    let items = parse_pem(&pem).collect::<Result<Vec<_>, _>>().map_err(|e| Fault::file(file, e))?;
    let certificates: Vec<_> = items
        .into_iter()
        .filter_map(|item| match item {
            PemItem::Certificate(certificate) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() { Err(Fault::file(file, "holds no certificate in PEM form")) } else { Ok(certificates) }
}

/// Whether nobody on the way can read what is sent there.
fn is_private(url: &str) -> bool {
    let host = url.parse::<ureq::http::Uri>().ok().and_then(|uri| uri.host().map(str::to_owned)).unwrap_or_default();
    let host = host.trim_matches(['[', ']']);
    let loopback = host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    url.starts_with("https:") || loopback || host == "localhost"
}

/// A part of a path, safe in a URL (RFC 3986, 2.3).
pub(crate) fn escaped(part: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    part.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// RFC 4648, 4.
fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = |chunk: &[u8]| {
        let bits = chunk.iter().fold(0u32, |bits, b| bits << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        let digit = |i: usize| match i <= chunk.len() {
            true => char::from(DIGITS[(bits >> (18 - 6 * i)) as usize & 63]),
            false => '=',
        };
        [digit(0), digit(1), digit(2), digit(3)]
    };
    text.as_bytes().chunks(3).flat_map(digits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_scheme_is_http_and_nonsense_is_refused() {
        assert_eq!(checked_url("127.0.0.1:8080/").unwrap(), "http://127.0.0.1:8080");
        assert_eq!(checked_url("https://h").unwrap(), "https://h");
        for bad in ["", "ftp://h", "http://", "a b"] {
            assert_eq!(checked_url(bad).unwrap_err().exit_code(), 2, "{bad}");
        }
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (text, code) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(text), code);
        }
    }

    #[test]
    fn a_password_goes_nowhere_in_the_open() {
        let config = |server: &str| Config {
            server: Some(server.into()),
            user: Some("me".into()),
            password: Some("p".into()),
            ..Config::default()
        };
        assert!(Rest::new(config("http://127.0.0.1:1")).is_ok());
        assert!(Rest::new(config("http://[::1]:1")).is_ok());
        assert_eq!(Rest::new(config("http://example.org")).err().unwrap().exit_code(), 2);
    }

    #[test]
    fn a_part_of_a_path_cannot_break_out_of_its_url() {
        assert_eq!(escaped("a b/c?d#é"), "a%20b%2Fc%3Fd%23%C3%A9");
    }
}
