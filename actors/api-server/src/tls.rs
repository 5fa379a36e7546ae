//! Certificate and key for HTTPS, read once at the start.

use crate::args::Tls;
use nsfl_actor::Failure;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;

/// The TLS configuration with ring as its cryptography; TLS 1.2 and 1.3, no client certificates.
pub(crate) fn config(tls: &Tls) -> Result<ServerConfig, Failure> {
    let certificate = tls.certificate.display();
    let unreadable = |what: &str, e| Failure::from(e).context(format!("{what} is no readable PEM file"));
    let chain = CertificateDer::pem_file_iter(&tls.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| unreadable(&format!("the REST certificate {certificate}"), e))?;
    let key = PrivateKeyDer::from_pem_file(&tls.key)
        .map_err(|e| unreadable(&format!("the REST key {}", tls.key.display()), e))?;
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|e| Failure::from(e).context(format!("the REST certificate {certificate} and its key do not fit")))
}
