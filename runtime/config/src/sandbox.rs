//! `[sandbox]` of a client: whether scripts see no more of the machine than they need.

use crate::checked;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// `[sandbox]`: what scripts see.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sandbox {
    /// Default `auto`.
    pub mode: SandboxMode,
    /// Scripts may use the network. Default false: they have a loopback of their own.
    pub network: bool,
    /// What they see beside the system, their interpreter, their data sets and scripts; not to be written. Default none.
    #[serde(deserialize_with = "checked::paths")]
    pub read_only: Vec<PathBuf>,
}

/// Whether scripts run in a sandbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SandboxMode {
    /// Where bubblewrap is installed and works.
    #[default]
    Auto,
    /// Or the client does not start.
    Require,
    /// Never.
    Off,
}
