//! Mutual TLS 1.3: a node's credentials, and what each side checks of the other. No name in DNS is looked at: a peer is
//! who its certificate's URI says, signed by the federation's authority.

use crate::{PeerId, PeerRole, Refusal};
use nsfl_types::Code;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error as TlsError, OtherError,
    RootCertStore, ServerConfig, SignatureScheme,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A node's certificate chain, its key and the authority it trusts.
#[derive(Clone)]
pub struct Credentials {
    inner: Arc<Inner>,
}

struct Inner {
    identity: PeerId,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: Arc<RootCertStore>,
}

/// Credentials that cannot be used. Each names the file.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// A file could not be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// Others can read the key.
    #[error("{path} can be read by others (mode {mode:o}): run chmod 600 {path}")]
    Exposed {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not PEM, or not of the kind expected.
    #[error("{path} holds no usable PEM {what}")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
        /// The cause.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// The certificate's identity is missing or malformed.
    #[error("{path}: {refusal}")]
    Identity {
        /// The certificate file.
        path: PathBuf,
        /// Why.
        refusal: Refusal,
    },
    /// Certificate, key and authority do not work together.
    #[error("certificate {path} and its key cannot be used")]
    Tls {
        /// The certificate file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: TlsError,
    },
}

impl CredentialsError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> Code {
        Code::BadCertificate
    }
}

impl Credentials {
    /// Reads PEM files: the authority's certificate, this node's certificate (chain) and its key.
    ///
    /// # Errors
    /// A file that is missing, not PEM, a key others can read, a certificate without identity, a key that does not fit.
    pub fn load(authority: &Path, certificate: &Path, key: &Path) -> Result<Self, CredentialsError> {
        check_private(key)?;
        let read = |path: &Path| {
            std::fs::read(path).map_err(|source| CredentialsError::Read { path: path.to_owned(), source })
        };
        let files = [authority, certificate, key];
        Self::parse(files, &read(authority)?, &read(certificate)?, &read(key)?)
    }

    /// The same from PEM texts in memory.
    ///
    /// # Errors
    /// As [`Credentials::load`], with `authority`, `certificate` and `key` as file names.
    pub fn from_pem(authority: &str, certificate: &str, key: &str) -> Result<Self, CredentialsError> {
        let names = ["authority", "certificate", "key"].map(Path::new);
        Self::parse(names, authority.as_bytes(), certificate.as_bytes(), key.as_bytes())
    }

    /// Who this node is.
    #[must_use]
    pub fn identity(&self) -> &PeerId {
        &self.inner.identity
    }

    /// TLS for the accepting side: a client certificate of this federation is required.
    ///
    /// # Errors
    /// A key that does not fit its certificate.
    pub fn server_config(&self) -> Result<ServerConfig, TlsError> {
        let verifier = Arc::new(PeerVerifier::new(self, PeerRole::Client)?);
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.inner.chain.clone(), self.inner.key.clone_key())?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        // A resumed TLS session would skip the check of the certificate's dates.
        config.send_tls13_tickets = 0;
        Ok(config)
    }

    /// TLS for the dialling side: the server must be the server of this federation.
    ///
    /// # Errors
    /// A key that does not fit its certificate.
    pub fn client_config(&self) -> Result<ClientConfig, TlsError> {
        let verifier = Arc::new(PeerVerifier::new(self, PeerRole::Server)?);
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_auth_cert(self.inner.chain.clone(), self.inner.key.clone_key())?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.resumption = rustls::client::Resumption::disabled();
        Ok(config)
    }

    fn parse(files: [&Path; 3], authority: &[u8], certificate: &[u8], key: &[u8]) -> Result<Self, CredentialsError> {
        let [authority_file, certificate_file, key_file] = files;
        let mut roots = RootCertStore::empty();
        for root in certificates(authority_file, authority)? {
            let add = roots.add(root);
            add.map_err(|source| CredentialsError::Tls { path: authority_file.to_owned(), source })?;
        }
        let chain = certificates(certificate_file, certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|source| CredentialsError::Pem {
            path: key_file.to_owned(),
            what: "private key",
            source,
        })?;
        let identity = PeerId::from_certificate(&chain[0])
            .map_err(|refusal| CredentialsError::Identity { path: certificate_file.to_owned(), refusal })?;
        let credentials = Self { inner: Arc::new(Inner { identity, chain, key, roots: Arc::new(roots) }) };
        // A key that does not fit is found here, not at the first connection.
        credentials
            .client_config()
            .map_err(|source| CredentialsError::Tls { path: certificate_file.to_owned(), source })?;
        Ok(credentials)
    }
}

/// The crypto library, named explicitly: never the process' default.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The refusal behind a TLS error seen on this side of a connection.
pub(crate) fn refusal_of(error: &TlsError) -> Refusal {
    use rustls::AlertDescription as Alert;
    let code = match error {
        TlsError::InvalidCertificate(CertificateError::Other(OtherError(cause))) => {
            if let Some(refusal) = cause.downcast_ref::<Refusal>() {
                return refusal.clone();
            }
            Code::BadCertificate
        }
        TlsError::InvalidCertificate(_) => Code::BadCertificate,
        TlsError::NoCertificatesPresented | TlsError::AlertReceived(Alert::CertificateRequired) => Code::NoCertificate,
        // What rustls sends for the identity check of `PeerVerifier`.
        TlsError::AlertReceived(Alert::CertificateUnknown | Alert::AccessDenied) => Code::WrongIdentity,
        TlsError::AlertReceived(
            Alert::UnknownCA
            | Alert::BadCertificate
            | Alert::CertificateExpired
            | Alert::CertificateRevoked
            | Alert::UnsupportedCertificate
            | Alert::DecryptError,
        ) => Code::BadCertificate,
        _ => Code::BadFrame,
    };
    Refusal::new(code, error.to_string())
}

fn check_private(key: &Path) -> Result<(), CredentialsError> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = std::fs::metadata(key).map_err(|source| CredentialsError::Read { path: key.to_owned(), source })?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(CredentialsError::Exposed { path: key.to_owned(), mode }) }
}

/// At least one certificate, or an error.
fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, CredentialsError> {
    let failed = |source| CredentialsError::Pem { path: path.to_owned(), what: "certificate", source };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(list) if list.is_empty() => Err(failed(rustls_pki_types::pem::Error::NoItemsFound)),
        other => other.map_err(failed),
    }
}

/// Checks a peer of either role: identity first (federation and role), then the chain up to the authority.
#[derive(Debug)]
struct PeerVerifier {
    federation: String,
    role: PeerRole,
    roots: Arc<RootCertStore>,
    clients: Arc<dyn ClientCertVerifier>,
    provider: Arc<CryptoProvider>,
}

impl PeerVerifier {
    fn new(credentials: &Credentials, role: PeerRole) -> Result<Self, TlsError> {
        let Inner { identity, roots, .. } = &*credentials.inner;
        let provider = provider();
        let clients =
            rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), Arc::clone(&provider))
                .build()
                .map_err(|e| TlsError::General(e.to_string()))?;
        Ok(Self { federation: identity.federation.clone(), role, roots: Arc::clone(roots), clients, provider })
    }

    fn check_identity(&self, certificate: &CertificateDer<'_>) -> Result<(), TlsError> {
        let refused = |refusal| TlsError::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refusal))));
        let peer = PeerId::from_certificate(certificate).map_err(refused)?;
        if peer.role == self.role && peer.federation == self.federation {
            return Ok(());
        }
        let reason = format!("{peer} is not a {} of {}", self.role, self.federation);
        Err(refused(Refusal::new(Code::WrongIdentity, reason)))
    }
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        self.check_identity(end_entity)?;
        let parsed = rustls::server::ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        rustls::client::verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &self.roots,
            intermediates,
            now,
            algorithms,
        )?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.clients.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.clients.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.clients.supported_verify_schemes()
    }
}

impl ClientCertVerifier for PeerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, TlsError> {
        self.check_identity(end_entity)?;
        self.clients.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.clients.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.clients.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.clients.supported_verify_schemes()
    }
}
