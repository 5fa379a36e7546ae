//! The collector that spans are sent to: OTLP over HTTP, in batches, from a thread of its own. What it does not take in time is
//! dropped and logged: no round waits for it.

use async_trait::async_trait;
use bytes::Bytes;
use opentelemetry::KeyValue;
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanProcessor as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider};

/// Bytes read of an answer.
const ANSWER: u64 = 64 * 1024;

/// How long the end of a process waits for the last batch.
const LAST: Duration = Duration::from_millis(500);

/// What a process sends its spans to; one that is not there costs a look at this.
static OPEN: OnceLock<BatchSpanProcessor> = OnceLock::new();

/// Where a collector is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collector {
    /// `http://host:port` or `https://…`, without `/v1/traces`.
    pub endpoint: String,
    /// The authority that signed its certificate: a PEM file. Only with https.
    pub ca: Option<PathBuf>,
    /// How long it may take for one batch.
    pub timeout: Duration,
    /// Spans are sent this often.
    pub interval: Duration,
}

/// Who sends.
#[derive(Debug, Clone)]
pub struct Service {
    /// `nsfl-server` or `nsfl-client`.
    pub name: &'static str,
    /// The node's name in its federation.
    pub instance: String,
    /// The program's version.
    pub version: &'static str,
    /// The federation.
    pub federation: String,
}

/// Why nothing is sent.
#[derive(Debug, thiserror::Error)]
pub enum CollectorError {
    /// The authority's file.
    #[error("the collector's authority {0} cannot be read")]
    Ca(PathBuf, #[source] Box<dyn std::error::Error + Send + Sync>),
    /// What was configured makes no exporter.
    #[error("the collector at {0} cannot be used")]
    Endpoint(String, #[source] ExporterBuildError),
    /// Another was opened before.
    #[error("this process sends its spans to a collector already")]
    AlreadyOpen,
}

/// A process that sends. Dropped, it sends what it has, if the collector is quick.
#[derive(Debug)]
pub struct Export(());

pub(crate) fn is_open() -> bool {
    OPEN.get().is_some()
}

pub(crate) fn tell(span: SpanData) {
    if let Some(processor) = OPEN.get() {
        processor.on_end(span);
    }
}

impl Collector {
    /// Whether what is configured can be used; nothing is sent.
    ///
    /// # Errors
    /// The authority's file is no PEM of certificates.
    pub fn check(&self) -> Result<(), CollectorError> {
        self.agent().map(drop)
    }

    /// Has this process send its spans there until the `Export` is dropped. Once a process.
    ///
    /// # Errors
    /// What is configured cannot be used.
    pub fn open(&self, service: Service) -> Result<Export, CollectorError> {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Http(self.agent()?))
            .with_endpoint(format!("{}/v1/traces", self.endpoint.trim_end_matches('/')))
            .with_timeout(self.timeout)
            .build()
            .map_err(|error| CollectorError::Endpoint(self.endpoint.clone(), error))?;
        let batches = BatchConfigBuilder::default().with_scheduled_delay(self.interval).build();
        let mut processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
        processor.set_resource(&service.resource());
        OPEN.set(processor).map_err(|_| CollectorError::AlreadyOpen)?;
        tracing::info!(endpoint = self.endpoint, "spans are sent");
        Ok(Export(()))
    }

    fn agent(&self) -> Result<Agent, CollectorError> {
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(self.timeout))
            .max_redirects(0)
            .user_agent(concat!("nsfl-node/", env!("CARGO_PKG_VERSION")));
        if let Some(file) = &self.ca {
            let tls = TlsConfig::builder()
                .provider(TlsProvider::Rustls)
                .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .root_certs(certificates(file)?);
            config = config.tls_config(tls.build());
        }
        Ok(config.build().new_agent())
    }
}

impl Service {
    fn resource(self) -> Resource {
        Resource::builder_empty()
            .with_attributes([
                KeyValue::new("service.name", self.name),
                KeyValue::new("service.namespace", self.federation),
                KeyValue::new("service.instance.id", self.instance),
                KeyValue::new("service.version", self.version),
            ])
            .build()
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        if let Some(processor) = OPEN.get()
            && let Err(error) = processor.shutdown_with_timeout(LAST)
        {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

fn certificates(file: &Path) -> Result<RootCerts, CollectorError> {
    let unreadable = |error: Box<dyn std::error::Error + Send + Sync>| CollectorError::Ca(file.to_owned(), error);
    let pem = std::fs::read(file).map_err(|error| unreadable(error.into()))?;
    let mut found: Vec<Certificate<'static>> = Vec::new();
    for item in ureq::tls::parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| unreadable(error.into()))? {
            found.push(certificate);
        }
    }
    if found.is_empty() {
        return Err(unreadable("there is no certificate in it".into()));
    }
    Ok(found.into())
}

/// Blocks, on the thread of the batches.
#[derive(Debug)]
struct Http(Agent);

#[async_trait]
impl HttpClient for Http {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (head, body) = request.into_parts();
        let answer = self.0.run(Request::from_parts(head, body.to_vec()))?;
        let (head, mut body) = answer.into_parts();
        let body = body.with_config().limit(ANSWER).read_to_vec()?;
        Ok(Response::from_parts(head, body.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_that_is_no_certificate_is_named() {
        let dir = std::env::temp_dir().join(format!("nsfl-collector-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let file = dir.join("ca.pem");
        std::fs::write(&file, "no certificate").unwrap();
        let (timeout, interval) = (Duration::from_secs(1), Duration::from_secs(1));
        let collector = |ca| Collector { endpoint: "https://localhost:4318".into(), ca, timeout, interval };
        let error = collector(Some(file.clone())).check().unwrap_err().to_string();
        assert!(error.contains("ca.pem"), "{error}");
        assert!(collector(Some(dir.join("none.pem"))).check().is_err());
        assert!(collector(None).check().is_ok());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
