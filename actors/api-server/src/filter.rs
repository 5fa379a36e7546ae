//! Which events and log lines somebody wants to see.

use nsfl_store::EventRecord;
use nsfl_telemetry::LogRecord;
use serde::Deserialize;
use serde_json::Value;
use std::str::FromStr as _;
use tracing::Level;

/// What is asked for; what is not given does not matter.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Filter {
    /// `namespace/id`.
    pub(crate) job: Option<String>,
    pub(crate) client: Option<String>,
    pub(crate) actor: Option<String>,
    /// Of events.
    pub(crate) kind: Option<String>,
    /// Of log lines: this one and worse.
    pub(crate) level: Option<String>,
    /// Somewhere in a log line's message or fields.
    pub(crate) text: Option<String>,
}

impl Filter {
    pub(crate) fn event(&self, event: &EventRecord) -> bool {
        let job = |wanted: &String| event.job.as_ref().is_some_and(|job| job.to_string() == *wanted);
        self.job.as_ref().is_none_or(job)
            && self.client.as_ref().is_none_or(|client| is(&event.fields["client"], client))
            && self.kind.as_ref().is_none_or(|kind| event.kind == *kind)
    }

    pub(crate) fn line(&self, line: &LogRecord) -> bool {
        let field = |name: &str, wanted: &Option<String>| {
            wanted.as_ref().is_none_or(|wanted| line.fields.get(name).is_some_and(|value| is(value, wanted)))
        };
        let level = self.level.as_ref().and_then(|level| Level::from_str(level).ok());
        level.is_none_or(|level| line.level <= level)
            && field("job", &self.job)
            && field("client", &self.client)
            && field("actor", &self.actor)
            && self.text.as_ref().is_none_or(|text| holds(line, text))
    }
}

fn is(value: &Value, wanted: &str) -> bool {
    value.as_str() == Some(wanted)
}

fn holds(line: &LogRecord, text: &str) -> bool {
    let text = text.to_lowercase();
    let within = |of: &str| of.to_lowercase().contains(&text);
    within(&line.message) || within(line.target) || line.fields.values().any(|value| within(&value.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nsfl_store::conformance::sample;
    use serde_json::json;

    fn line(level: Level, fields: Value) -> LogRecord {
        let Value::Object(fields) = fields else { panic!("fields are an object") };
        LogRecord { seq: 1, at_ms: 1, level, target: "nsfl_x", message: "Link up".into(), fields }
    }

    #[test]
    fn every_given_part_must_fit() {
        let fits = |query: Value, line: &LogRecord| serde_json::from_value::<Filter>(query).unwrap().line(line);
        let warning = line(Level::WARN, json!({"client": "c1", "job": "default/a"}));
        for good in
            [json!({}), json!({"level": "info"}), json!({"client": "c1", "text": "LINK"}), json!({"text": "ault/a"})]
        {
            assert!(fits(good.clone(), &warning), "{good}");
        }
        for bad in [json!({"level": "error"}), json!({"client": "c"}), json!({"actor": "a"}), json!({"text": "down"})] {
            assert!(!fits(bad.clone(), &warning), "{bad}");
        }
        let event = sample::event(Some("a"), "job-queued");
        let fits = |query: Value| serde_json::from_value::<Filter>(query).unwrap().event(&event);
        assert!(fits(json!({"job": "default/a", "kind": "job-queued"})) && !fits(json!({"job": "default/b"})));
        assert!(!fits(json!({"client": "c9"})));
    }
}
