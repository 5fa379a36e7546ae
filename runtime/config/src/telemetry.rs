//! `[telemetry]`: where a node sends the spans of rounds. Its log is in `[log]`.

use crate::Millis;
use crate::checked::{self, Check, constant};
use serde::{Deserialize, Deserializer, Serialize};
use std::path::PathBuf;

/// What a node tells of itself to others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Telemetry {
    /// An OpenTelemetry collector. Default none: nothing is sent.
    #[serde(deserialize_with = "collector", skip_serializing_if = "Option::is_none")]
    pub otlp: Option<Otlp>,
}

/// `[telemetry.otlp]`: a collector that takes OTLP over HTTP. Required: `endpoint`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Otlp {
    /// `http://host:port` or `https://host:port`; `/v1/traces` is added.
    #[serde(deserialize_with = "endpoint")]
    pub endpoint: String,
    /// The authority that signed its certificate, a PEM file. Required with https.
    #[serde(default, deserialize_with = "checked::optional_path", skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// How long it may take for one batch. Default 10 s.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: Millis,
    /// Spans are sent this often. Default 5 s.
    #[serde(default = "interval_ms")]
    pub interval_ms: Millis,
}

impl Check for Otlp {
    fn check(&self) -> Result<(), String> {
        match (self.endpoint.starts_with("https:"), &self.ca) {
            (true, None) => {
                Err("an https endpoint needs ca: the PEM file of the authority that signed its certificate".into())
            }
            (false, Some(_)) => Err("ca is for an https endpoint; this one is http".into()),
            _ => Ok(()),
        }
    }
}

fn collector<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Otlp>, D::Error> {
    checked::section(d).map(Some)
}

fn endpoint<'de, D: Deserializer<'de>>(d: D) -> Result<String, D::Error> {
    let text = String::deserialize(d)?;
    let place = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")).unwrap_or_default();
    let host = place.split('/').next().unwrap_or_default();
    let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '#' | '@' | '"' | '<' | '>' | '\\');
    if !host.is_empty() && place.chars().all(is_plain) {
        return Ok(text);
    }
    Err(serde::de::Error::custom(format!(
        "'{text}' is no address of a collector: http://host:port is expected, such as http://127.0.0.1:4318"
    )))
}

fn timeout_ms() -> Millis {
    constant!(Millis, 10_000)
}

fn interval_ms() -> Millis {
    constant!(Millis, 5_000)
}
