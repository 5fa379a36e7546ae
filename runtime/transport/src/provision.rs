//! A federation's own certificate authority: makes the certificates nodes are known by. No network, no revocation.

use crate::{PeerId, PeerRole, Refusal};
use nsfl_types::{ClientId, Code};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use std::io::Write;
use std::path::{Path, PathBuf};
use time::{Duration, OffsetDateTime};

/// A certificate and its private key, in PEM.
#[derive(Clone)]
pub struct PemPair {
    /// The certificate.
    pub certificate: String,
    /// The key: keep it with [`write_private`].
    pub key: String,
}

/// From when to when a certificate holds (UTC).
#[derive(Debug, Clone, Copy)]
pub struct Validity {
    /// First instant.
    pub not_before: OffsetDateTime,
    /// Last instant.
    pub not_after: OffsetDateTime,
}

impl Validity {
    /// From an hour before `now`, for clocks that are a little off, for this many days.
    #[must_use]
    pub fn days(now: OffsetDateTime, days: i64) -> Self {
        Self { not_before: now - Duration::hours(1), not_after: now + Duration::days(days) }
    }
}

/// The authority of one federation.
pub struct Authority {
    federation: String,
    issuer: Issuer<'static, KeyPair>,
    pem: PemPair,
}

/// A certificate could not be made or written.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// The certificate library refused.
    #[error("certificate could not be made")]
    Certificate(#[from] rcgen::Error),
    /// The authority's certificate or the name to certify is not one of a federation.
    #[error(transparent)]
    Identity(#[from] Refusal),
    /// A file could not be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

impl ProvisionError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            ProvisionError::Certificate(_) => Code::BadCertificate,
            ProvisionError::Identity(refusal) => refusal.code,
            ProvisionError::Write { .. } => Code::Store,
        }
    }
}

impl Authority {
    /// A new authority with a key of its own (ECDSA P-256).
    ///
    /// # Errors
    /// A federation name that is not valid.
    pub fn create(federation: &str, validity: Validity) -> Result<Self, ProvisionError> {
        PeerId::new(federation, PeerRole::Server, ClientId::new("ca").expect("'ca' is a valid name"))?;
        let mut params = CertificateParams::default();
        set_names(&mut params, &format!("{federation} authority"), &format!("nsfl://{federation}"), validity)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        let pem = PemPair { certificate, key: key.serialize_pem() };
        Ok(Self { federation: federation.to_owned(), issuer: Issuer::new(params, key), pem })
    }

    /// An authority from its certificate and key as [`Authority::pem`] gave them.
    ///
    /// # Errors
    /// PEM that cannot be read, or a certificate that is not a federation's authority.
    pub fn load(certificate: &str, key: &str) -> Result<Self, ProvisionError> {
        let federation = federation_of(certificate)?;
        let issuer = Issuer::from_ca_cert_pem(certificate, KeyPair::from_pem(key)?)?;
        let pem = PemPair { certificate: certificate.to_owned(), key: key.to_owned() };
        Ok(Self { federation, issuer, pem })
    }

    /// The authority's own certificate, which every node is given, and its key, which stays here.
    #[must_use]
    pub fn pem(&self) -> &PemPair {
        &self.pem
    }

    /// The federation's name.
    #[must_use]
    pub fn federation(&self) -> &str {
        &self.federation
    }

    /// A certificate for a server.
    ///
    /// # Errors
    /// Those of the certificate library.
    pub fn issue_server(&self, name: &ClientId, validity: Validity) -> Result<PemPair, ProvisionError> {
        self.issue(PeerRole::Server, name, validity)
    }

    /// A certificate for a client.
    ///
    /// # Errors
    /// Those of the certificate library.
    pub fn issue_client(&self, id: &ClientId, validity: Validity) -> Result<PemPair, ProvisionError> {
        self.issue(PeerRole::Client, id, validity)
    }

    fn issue(&self, role: PeerRole, name: &ClientId, validity: Validity) -> Result<PemPair, ProvisionError> {
        let id = PeerId::new(&self.federation, role, name.clone())?;
        let mut params = CertificateParams::default();
        set_names(&mut params, name.as_str(), &id.to_string(), validity)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match role {
            PeerRole::Server => ExtendedKeyUsagePurpose::ServerAuth,
            PeerRole::Client => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(PemPair { certificate, key: key.serialize_pem() })
    }
}

/// Writes a secret so that only its owner can read it: folder 0700 when it is made here, file 0600. An existing file is
/// refused, never overwritten.
///
/// # Errors
/// The file exists or cannot be written; the error names it.
pub fn write_private(path: &Path, pem: &str) -> Result<(), ProvisionError> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    let failed = |source| ProvisionError::Write { path: path.to_owned(), source };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    }
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(pem.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}

fn set_names(params: &mut CertificateParams, common: &str, uri: &str, validity: Validity) -> Result<(), rcgen::Error> {
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, common);
    params.subject_alt_names = vec![SanType::URI(uri.try_into()?)];
    params.not_before = validity.not_before;
    params.not_after = validity.not_after;
    Ok(())
}

/// The authority's certificate carries `nsfl://<federation>`.
fn federation_of(pem: &str) -> Result<String, Refusal> {
    use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
    let bad = || Refusal::new(Code::BadCertificate, "not the certificate of a federation's authority");
    let (_, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).map_err(|_| bad())?;
    let (_, certificate) = X509Certificate::from_der(&block.contents).map_err(|_| bad())?;
    let names = certificate.subject_alternative_name().ok().flatten().ok_or_else(bad)?;
    let federation = names.value.general_names.iter().find_map(|name| match name {
        GeneralName::URI(uri) => uri.strip_prefix("nsfl://"),
        _ => None,
    });
    let federation = federation.filter(|name| ClientId::new(*name).is_ok()).ok_or_else(bad)?;
    Ok(federation.to_owned())
}
