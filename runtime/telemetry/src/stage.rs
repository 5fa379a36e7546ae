//! `Stage`: a part of a round's way that is told to the collector once it is over. Without a collector it is nothing. Not the
//! spans of the log (`span`), which must not end for a line to be written.

use crate::TraceContext;
use crate::collector;
use opentelemetry::trace::{Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanLinks};
use std::fmt::Display;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Whether anybody collects what is traced.
#[must_use]
pub fn is_traced() -> bool {
    collector::is_open()
}

/// A stage that has begun. It is told when it ends; dropped before, as given up.
#[derive(Debug)]
#[must_use = "it ends where it is dropped"]
pub struct Stage(Option<Box<Begun>>);

#[derive(Debug)]
struct Begun {
    name: &'static str,
    /// Follows from the parent, the name and the time when there is none.
    place: Option<TraceContext>,
    parent: Option<TraceContext>,
    follows: Option<TraceContext>,
    began: SystemTime,
    fields: Vec<KeyValue>,
}

impl Stage {
    /// Begins now, below `parent`. It may be done several times over.
    pub fn begin(name: &'static str, parent: TraceContext) -> Self {
        Self::begun(name, None, Some(parent), SystemTime::now())
    }

    /// Began then (Unix time in milliseconds), below `parent`.
    pub fn since(name: &'static str, parent: TraceContext, began_ms: u64) -> Self {
        Self::begun(name, None, Some(parent), UNIX_EPOCH + Duration::from_millis(began_ms))
    }

    /// Began then, at a place that others name as their parent.
    pub fn at(name: &'static str, place: TraceContext, parent: Option<TraceContext>, began_ms: u64) -> Self {
        Self::begun(name, Some(place), parent, UNIX_EPOCH + Duration::from_millis(began_ms))
    }

    fn begun(name: &'static str, place: Option<TraceContext>, parent: Option<TraceContext>, began: SystemTime) -> Self {
        let begun = || Box::new(Begun { name, place, parent, follows: None, began, fields: Vec::new() });
        Self(is_traced().then(begun))
    }

    /// What it is about.
    pub fn with(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        if let Some(begun) = &mut self.0 {
            begun.fields.push(KeyValue::new(key, value));
        }
        self
    }

    /// What led to it, in another trace.
    pub fn follows(mut self, cause: TraceContext) -> Self {
        if let Some(begun) = &mut self.0 {
            begun.follows = Some(cause);
        }
        self
    }

    /// It is done.
    pub fn done(mut self) {
        self.tell(Status::Ok);
    }

    /// It came to nothing.
    pub fn failed(mut self, why: impl Display) {
        self.tell(Status::error(why.to_string()));
    }

    /// It is over, the way its result says.
    pub fn ended<T, E: Display>(self, result: &Result<T, E>) {
        match result {
            Ok(_) => self.done(),
            Err(why) => self.failed(why),
        }
    }

    /// Does it.
    pub async fn over<T, E: Display>(self, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let result = work.await;
        self.ended(&result);
        result
    }

    fn tell(&mut self, status: Status) {
        if let Some(begun) = self.0.take() {
            collector::tell(begun.span(SystemTime::now(), status));
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.tell(Status::error("given up"));
    }
}

impl Begun {
    fn span(self, end: SystemTime, status: Status) -> SpanData {
        let Self { name, place, parent, follows, began, fields } = self;
        let place = place.or_else(|| Some(parent?.below(&format!("{name} {}", nanos(began)))));
        let mut links = SpanLinks::default();
        links.links.extend(follows.map(|cause| Link::new(context(Some(cause)), Vec::new(), 0)));
        SpanData {
            span_context: context(place),
            parent_span_id: parent.map_or(SpanId::INVALID, |parent| SpanId::from(parent.ids().1)),
            parent_span_is_remote: false,
            span_kind: kind(name),
            name: name.into(),
            start_time: began,
            // a clock that was set back meanwhile makes no span that ends before it begins
            end_time: end.max(began),
            attributes: fields,
            dropped_attributes_count: 0,
            events: Default::default(),
            links,
            status,
            instrumentation_scope: InstrumentationScope::builder("nsfl").build(),
        }
    }
}

/// What is handed from one node to another is seen as such by those who draw which service asks which.
fn kind(name: &str) -> SpanKind {
    match name {
        "submit" => SpanKind::Server,
        "task" => SpanKind::Producer,
        "work" => SpanKind::Consumer,
        _ => SpanKind::Internal,
    }
}

fn nanos(at: SystemTime) -> u128 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()
}

fn context(place: Option<TraceContext>) -> SpanContext {
    let Some((trace, span)) = place.map(|place| place.ids()) else { return SpanContext::NONE };
    SpanContext::new(TraceId::from(trace), SpanId::from(span), TraceFlags::SAMPLED, false, TraceState::NONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(name: &'static str, parent: TraceContext) -> Begun {
        let began = UNIX_EPOCH + Duration::from_millis(5_000);
        Begun { name, place: None, parent: Some(parent), follows: None, began, fields: Vec::new() }
    }

    #[test]
    fn work_is_in_its_parents_trace_at_a_place_of_its_own_and_never_ends_before_it_begins() {
        let job = nsfl_types::JobKey::new("default".parse().unwrap(), "digits".parse().unwrap());
        let (round, cause) = (TraceContext::of_round(&job, 1, 2), TraceContext::of_submission(&job, 1));
        let mut stage = begun("select", round);
        stage.follows = Some(cause);
        let span = stage.span(UNIX_EPOCH, Status::Ok);
        assert_eq!(format!("{:032x}", span.span_context.trace_id()), round.trace_id());
        assert_eq!(span.parent_span_id, SpanId::from(round.ids().1));
        assert_ne!(span.span_context.span_id(), span.parent_span_id);
        assert_eq!((span.start_time, span.links.len()), (span.end_time, 1));
        assert_eq!(format!("{:032x}", span.links[0].span_context.trace_id()), cause.trace_id());
        let other = begun("aggregate", round).span(UNIX_EPOCH, Status::Ok);
        assert_ne!(other.span_context.span_id(), span.span_context.span_id());
        assert!(span.span_context.is_sampled(), "what is not sampled is not sent");
    }

    #[test]
    fn without_a_collector_work_is_nothing() {
        let job = nsfl_types::JobKey::new("default".parse().unwrap(), "digits".parse().unwrap());
        let stage = Stage::begin("select", TraceContext::of_round(&job, 1, 2)).with("count", 3_i64);
        assert!(stage.0.is_none() && !is_traced());
    }
}
