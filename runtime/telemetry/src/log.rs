//! The log: how much, in which form, set up once per process. What is logged is the caller's.

use crate::LogTail;
use serde::{Deserialize, Deserializer, Serialize};
use std::io::IsTerminal as _;
use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer as _};

/// `[log]` of a node's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// `error`, `warn`, `info`, `debug`, `trace`, `off`, or a filter such as `info,nsfl_transport=debug`. Default `info`.
    #[serde(deserialize_with = "checked_level")]
    pub level: String,
    /// Default `pretty`.
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Pretty }
    }
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people: one line an event, coloured on a terminal.
    Pretty,
    /// For machines: one JSON object an event.
    Json,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The level is no filter.
    #[error("log level '{level}' is not valid: {source}")]
    Level {
        /// As configured.
        level: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// Another log was set up before, by this or another library.
    #[error("the log of this process is already set up")]
    AlreadySet(#[source] tracing::subscriber::SetGlobalDefaultError),
}

/// Sets up the log of this process, on standard error, and keeps its last lines. Call it once, first thing in `main`.
///
/// # Errors
/// The level is not valid, or a log is already set up.
pub fn init(config: &LogConfig) -> Result<LogTail, TelemetryError> {
    let tail = LogTail::new();
    let subscriber = subscriber(config, std::io::stderr, std::io::stderr().is_terminal())?;
    tracing::subscriber::set_global_default(subscriber.with(tail.clone())).map_err(TelemetryError::AlreadySet)?;
    Ok(tail)
}

fn subscriber<W>(
    config: &LogConfig,
    writer: W,
    colour: bool,
) -> Result<impl Subscriber + for<'s> LookupSpan<'s> + Send + Sync, TelemetryError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines = match config.format {
        LogFormat::Pretty => lines.with_ansi(colour).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).boxed(),
    };
    Ok(tracing_subscriber::registry().with(filter(&config.level)?).with(lines))
}

fn filter(level: &str) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::try_new(level).map_err(|source| TelemetryError::Level { level: level.to_owned(), source })
}

/// A bare word that is no level would be taken for the name of a target, so a typo would silence the log: it is refused.
fn checked_level<'de, D: Deserializer<'de>>(d: D) -> Result<String, D::Error> {
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    let text = String::deserialize(d)?;
    let word = |part: &str| part.contains(['=', '[']) || LEVELS.contains(&part.trim().to_ascii_lowercase().as_str());
    if text.split(',').all(word) && filter(&text).is_ok() {
        return Ok(text);
    }
    Err(serde::de::Error::custom(format!(
        "'{text}' is not a level; allowed: {}, or a filter such as info,nsfl_transport=debug",
        LEVELS.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn job() -> nsfl_types::JobKey {
        nsfl_types::JobKey::new("default".parse().unwrap(), "digits".parse().unwrap())
    }

    fn logged(config: &LogConfig) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = subscriber(config, move || writer.clone(), false).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            let span = crate::span::round(&job(), 1, 3, 2);
            let _in = span.enter();
            tracing::info!(client = "c-1", "update accepted");
            tracing::debug!("not shown at info");
        });
        String::from_utf8(lines.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_json_line_holds_message_fields_and_the_round_with_its_trace() {
        let text = logged(&LogConfig { format: LogFormat::Json, ..LogConfig::default() });
        assert_eq!(text.lines().count(), 1, "{text}");
        for part in [
            r#""message":"update accepted""#,
            r#""client":"c-1""#,
            r#""job":"default/digits""#,
            r#""round":3"#,
            r#""attempt":2"#,
            &format!(r#""trace":"{}""#, crate::TraceContext::of_round(&job(), 1, 3).trace_id()),
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn a_pretty_line_holds_the_same_without_colour() {
        let text = logged(&LogConfig::default());
        assert!(text.contains("update accepted client=\"c-1\"") && text.contains("job=default/digits"), "{text}");
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn a_misspelt_level_is_refused_instead_of_silencing_the_log() {
        let level = |text: &str| {
            let json =
                serde::de::value::MapDeserializer::<_, serde::de::value::Error>::new(std::iter::once(("level", text)));
            LogConfig::deserialize(json)
        };
        for good in ["info", "WARN", "info,nsfl_transport=debug", "off"] {
            assert_eq!(level(good).unwrap().level, good);
        }
        for bad in ["inof", "", "info,", "nsfl_transport=loud"] {
            assert!(level(bad).unwrap_err().to_string().contains("allowed: error, warn"), "{bad}");
        }
    }
}
