//! `LogTail`: the last lines of this process's log, kept in memory for who looks at them from outside.

use serde_json::{Map, Value};
use std::collections::VecDeque;
use std::fmt::{self, Debug};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::watch;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber, span};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

/// Lines that are kept.
const LINES: usize = 10_000;
/// Characters kept of a text.
const TEXT: usize = 4096;

/// One line of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct LogRecord {
    /// Counts up, from 1.
    pub seq: u64,
    /// Unix time, milliseconds.
    pub at_ms: u64,
    /// Its level.
    pub level: Level,
    /// The module that says it.
    pub target: &'static str,
    /// The constant message.
    pub message: String,
    /// Its fields, over those of the spans it is in.
    pub fields: Map<String, Value>,
}

/// The last lines. Clones share them.
#[derive(Clone, Debug)]
pub struct LogTail(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    lines: Mutex<VecDeque<Arc<LogRecord>>>,
    newest: watch::Sender<u64>,
}

impl LogTail {
    /// Without a line yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Inner { lines: Mutex::default(), newest: watch::Sender::new(0) }))
    }

    /// The lines after `after` that are still there, oldest first.
    #[must_use]
    pub fn after(&self, after: u64) -> Vec<Arc<LogRecord>> {
        let lines = self.lines();
        let from = lines.partition_point(|line| line.seq <= after);
        lines.iter().skip(from).cloned().collect()
    }

    /// Carries the number of the newest line; 0 before the first.
    #[must_use]
    pub fn newest(&self) -> watch::Receiver<u64> {
        self.0.newest.subscribe()
    }

    fn push(&self, event: &Event<'_>, fields: Fields) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let (level, target) = (*event.metadata().level(), event.metadata().target());
        let mut lines = self.lines();
        let seq = lines.back().map_or(0, |line| line.seq) + 1;
        if lines.len() == LINES {
            lines.pop_front();
        }
        let Fields { message, fields } = fields;
        lines.push_back(Arc::new(LogRecord { seq, at_ms, level, target, message, fields }));
        self.0.newest.send_replace(seq);
    }

    fn lines(&self) -> MutexGuard<'_, VecDeque<Arc<LogRecord>>> {
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for LogTail {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for LogTail {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(of) = span.extensions().get::<Fields>() {
                fields.fields.extend(of.fields.clone());
            }
        }
        event.record(&mut fields);
        self.push(event, fields);
    }
}

/// The message and the fields beside it, each under its name.
#[derive(Debug, Default)]
struct Fields {
    message: String,
    fields: Map<String, Value>,
}

impl Fields {
    fn set(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            (name, value) => _ = self.fields.insert(name.trim_start_matches("r#").to_owned(), value),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.set(field, Value::String(cut(format_args!("{value:?}"))));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, Value::String(cut(format_args!("{value}"))));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        for cause in std::iter::successors(value.source(), |cause| cause.source()) {
            text.push_str(": ");
            text.push_str(&cause.to_string());
        }
        self.set(field, Value::String(cut(format_args!("{text}"))));
    }
}

fn cut(text: fmt::Arguments<'_>) -> String {
    let mut text = text.to_string();
    if text.len() > TEXT {
        let end = (0..=TEXT).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt as _;

    #[test]
    fn a_line_has_its_fields_over_those_of_its_spans() {
        let tail = LogTail::new();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(tail.clone()), || {
            let _round = tracing::info_span!("round", job = "default/j", round = 3).entered();
            tracing::warn!(client = %"c-1", round = 4, ok = true, "update refused");
        });
        let lines = tail.after(0);
        let line = &lines[0];
        assert_eq!((lines.len(), line.seq, line.level, line.message.as_str()), (1, 1, Level::WARN, "update refused"));
        let fields = serde_json::json!({"job": "default/j", "round": 4, "client": "c-1", "ok": true});
        assert_eq!(Value::Object(line.fields.clone()), fields);
        assert!(line.target.ends_with("tail::tests") && line.at_ms > 0);
    }

    #[test]
    fn the_last_lines_are_kept_under_numbers_that_count_up() {
        let tail = LogTail::new();
        let newest = tail.newest();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(tail.clone()), || {
            (0..LINES + 5).for_each(|n| tracing::info!(n, "said"));
        });
        let lines = tail.after(0);
        assert_eq!((lines.len(), lines[0].seq), (LINES, 6));
        assert_eq!(*newest.borrow(), LINES as u64 + 5);
        assert_eq!(tail.after(LINES as u64 + 3).len(), 2);
        assert!(tail.after(LINES as u64 + 5).is_empty());
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(cut(format_args!("{}", "é".repeat(TEXT))).chars().count(), TEXT / 2);
    }
}
