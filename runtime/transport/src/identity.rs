//! Who a peer is: read from its certificate's URI subject alternative name, and from nowhere else.

use crate::Refusal;
use nsfl_types::{ClientId, Code};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// What a node is in its federation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeerRole {
    /// The federation's server.
    Server,
    /// A training site.
    Client,
}

/// A node's identity, written `nsfl://<federation>/<role>/<name>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PeerId {
    /// The federation: letters, digits, '.', '_' and '-'.
    pub federation: String,
    /// Server or client.
    pub role: PeerRole,
    /// The name within federation and role.
    pub name: ClientId,
}

impl PeerId {
    /// Checks the federation's name, which obeys the rules of a client's.
    ///
    /// # Errors
    /// A federation that is not a valid name.
    pub fn new(federation: &str, role: PeerRole, name: ClientId) -> Result<Self, Refusal> {
        ClientId::new(federation)
            .map_err(|_| Refusal::new(Code::BadCertificate, format!("'{federation}' is no federation name")))?;
        Ok(Self { federation: federation.to_owned(), role, name })
    }

    /// Reads the identity from a DER certificate. The chain is not verified here.
    ///
    /// # Errors
    /// `BadCertificate` unless there is exactly one URI name with the scheme `nsfl` and it is well formed.
    pub fn from_certificate(der: &[u8]) -> Result<Self, Refusal> {
        let bad = |reason: String| Refusal::new(Code::BadCertificate, reason);
        let (_, certificate) = X509Certificate::from_der(der).map_err(|e| bad(format!("not a certificate: {e}")))?;
        let names = certificate
            .subject_alternative_name()
            .map_err(|e| bad(format!("subject alternative names unreadable: {e}")))?
            .ok_or_else(|| bad("the certificate has no subject alternative name".into()))?;
        let mut uris = names.value.general_names.iter().filter_map(|name| match name {
            GeneralName::URI(uri) if uri.starts_with("nsfl:") => Some(*uri),
            _ => None,
        });
        match (uris.next(), uris.next()) {
            (Some(uri), None) => uri.parse(),
            (None, _) => Err(bad("the certificate has no nsfl:// name".into())),
            (Some(_), Some(_)) => Err(bad("the certificate has several nsfl:// names".into())),
        }
    }
}

impl FromStr for PeerId {
    type Err = Refusal;
    fn from_str(uri: &str) -> Result<Self, Refusal> {
        let bad = || Refusal::new(Code::BadCertificate, format!("'{uri}' is not nsfl://<federation>/<role>/<name>"));
        let parts: Vec<&str> = uri.strip_prefix("nsfl://").ok_or_else(bad)?.split('/').collect();
        let [federation, role, name] = parts[..] else { return Err(bad()) };
        let role = match role {
            "server" => PeerRole::Server,
            "client" => PeerRole::Client,
            _ => return Err(bad()),
        };
        PeerId::new(federation, role, ClientId::new(name).map_err(|_| bad())?)
    }
}

impl fmt::Display for PeerRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PeerRole::Server => "server",
            PeerRole::Client => "client",
        })
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nsfl://{}/{}/{}", self.federation, self.role, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_survives_its_text() {
        let id: PeerId = "nsfl://lab/client/site-1".parse().unwrap();
        assert_eq!((id.federation.as_str(), id.role, id.name.as_str()), ("lab", PeerRole::Client, "site-1"));
        assert_eq!(id.to_string(), "nsfl://lab/client/site-1");
    }

    #[test]
    fn anything_but_three_valid_parts_is_refused() {
        for bad in [
            "nsfl://lab/client",
            "nsfl://lab/client/a/b",
            "nsfl://lab/admin/a",
            "nsfl:///client/a",
            "nsfl://lab/client/../a",
            "nsfl://lab/client/",
            "http://lab/client/a",
        ] {
            assert_eq!(bad.parse::<PeerId>().unwrap_err().code, Code::BadCertificate, "{bad}");
        }
    }
}
