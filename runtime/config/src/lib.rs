//! Configuration of server and client: defaults, then a TOML file, then the environment, then flags; each later layer wins.
//! What comes out is checked: addresses are parsed, limits are in range, paths are anchored. Nothing is started or opened
//! here, and a client's identity is never configured: it is in its certificate.
//!
//! ```
//! # let dir = std::env::temp_dir().join(format!("nsfl-config-doc-{}", std::process::id()));
//! # std::fs::create_dir_all(&dir)?;
//! # let file = dir.join("server.toml");
//! # std::fs::write(&file, "data_dir='d'\n[tls]\nca='ca.pem'\ncertificate='c.pem'\nkey='k.pem'\n")?;
//! let config = nsfl_config::ServerConfig::load(Some(&file), nsfl_config::NO_FLAGS)?;
//! assert_eq!(config.link.listen.port(), 8443);
//! assert_eq!(config.data_dir, dir.join("d")); // a relative path in a file is relative to that file
//! # std::fs::remove_dir_all(&dir)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod checked;
mod client;
mod datasets;
mod error;
mod load;
mod policy;
mod sandbox;
mod scripts;
mod server;
mod telemetry;

pub use checked::{Bytes, Count, Millis, ServerAddress};
pub use client::{ClientConfig, ClientLimits, ClientLink, Console, ResourceLimits};
pub use error::ConfigError;
pub use load::{NO_FLAGS, PREFIX};
pub use policy::{Maximum, Policy};
pub use sandbox::{Sandbox, SandboxMode};
pub use scripts::{Runtimes, Scripts, TrainerProgram};
pub use server::{Aggregation, Audit, Extender, Limits, Link, Rest, RestTls, Rounds, ServerConfig};
pub use telemetry::{Otlp, Telemetry};

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Mutual TLS of the links: PEM files. The identity is the certificate's URI name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Certificate of the federation's authority, the only one trusted.
    #[serde(deserialize_with = "checked::path")]
    pub ca: PathBuf,
    /// This node's certificate chain.
    #[serde(deserialize_with = "checked::path")]
    pub certificate: PathBuf,
    /// This node's private key.
    #[serde(deserialize_with = "checked::path")]
    pub key: PathBuf,
}

/// How the stores write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// Force every acknowledged write to the disk. Without it a power cut may lose what was acknowledged.
    pub fsync: bool,
}

impl Default for Store {
    fn default() -> Self {
        Self { fsync: true }
    }
}
