//! Trace context as W3C Trace Context, level 1, writes it: one trace id for a round and for every task of it, on any node.
//! The ids follow from the names of round and task, so that a node that was started again goes on in the same trace and
//! nothing need be stored. No sampling, no state header.

use nsfl_types::{Digest, JobKey, TaskKey, TaskKind};
use std::fmt;
use std::str::FromStr;

/// A trace and a place in it. Shown and parsed as a `traceparent` header: `00-<trace id>-<span id>-<flags>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceContext {
    trace: u128,
    span: u64,
    flags: u8,
}

/// Text that is no `traceparent`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a traceparent: 00-<32 hex digits>-<16 hex digits>-<2 hex digits>, lower case, no id all zero")]
pub struct TraceError(String);

const SAMPLED: u8 = 1;

impl TraceContext {
    /// A round from the choice of its clients to its checkpoint, whatever its attempts.
    #[must_use]
    pub fn of_round(job: &JobKey, run: u32, round: u32) -> Self {
        let name = id(&format!("{job} {run} {round}"));
        Self { trace: name, span: first_half(name), flags: SAMPLED }
    }

    /// One attempt at a part of a round: its training or its evaluation.
    #[must_use]
    pub fn of_attempt(job: &JobKey, run: u32, round: u32, attempt: u32, kind: TaskKind) -> Self {
        Self::of_round(job, run, round).below(&format!("{kind:?} {attempt}"))
    }

    /// A task of a round, in the round's trace.
    #[must_use]
    pub fn of_task(key: &TaskKey) -> Self {
        Self::of_round(&key.job, key.run, key.round).below(&key.to_string())
    }

    /// What a task is on its client.
    #[must_use]
    pub fn of_work(key: &TaskKey) -> Self {
        Self::of_task(key).below("work")
    }

    /// A run's submission, or its start by hand: in the trace of the first round.
    #[must_use]
    pub fn of_submission(job: &JobKey, run: u32) -> Self {
        Self::of_round(job, run, 1).below("submit")
    }

    /// Another place in the same trace, which follows from this one and a name.
    #[must_use]
    pub fn below(&self, name: &str) -> Self {
        Self { span: first_half(id(&format!("{self} {name}"))), ..*self }
    }

    /// The trace id, 32 lower-case hex digits: what log lines carry.
    #[must_use]
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace)
    }

    /// Trace id and span id as numbers.
    pub(crate) fn ids(&self) -> (u128, u64) {
        (self.trace, self.span)
    }
}

/// The first 16 bytes of the name's SHA-256; never 0, which means no trace.
fn id(name: &str) -> u128 {
    let digest = Digest::of(name.as_bytes());
    let bytes = digest.as_bytes().first_chunk().expect("a digest has 32 bytes");
    u128::from_be_bytes(*bytes).max(1)
}

#[allow(clippy::cast_possible_truncation, reason = "64 bits are left after the shift")]
fn first_half(id: u128) -> u64 {
    ((id >> 64) as u64).max(1)
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, self.flags)
    }
}

impl FromStr for TraceContext {
    type Err = TraceError;
    fn from_str(text: &str) -> Result<Self, TraceError> {
        parse(text).ok_or_else(|| TraceError(text.chars().take(64).collect()))
    }
}

/// A later version may append fields after the flags; version 00 may not (section 3.2.4).
fn parse(text: &str) -> Option<TraceContext> {
    let (version, rest) = text.split_once('-')?;
    let (trace, rest) = rest.split_once('-')?;
    let (span, rest) = rest.split_once('-')?;
    let (flags, more) = rest.split_once('-').map_or((rest, None), |(flags, more)| (flags, Some(more)));
    let version = hex(version, 2)?;
    if version == 0xff || (version == 0 && more.is_some()) {
        return None;
    }
    let (trace, span, flags) = (hex(trace, 32)?, hex(span, 16)?, hex(flags, 2)?);
    (trace != 0 && span != 0).then_some(())?;
    Some(TraceContext { trace, span: u64::try_from(span).ok()?, flags: u8::try_from(flags).ok()? & SAMPLED })
}

/// Exactly `len` lower-case hex digits.
fn hex(text: &str, len: usize) -> Option<u128> {
    let digits = text.len() == len && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if digits { u128::from_str_radix(text, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nsfl_types::TaskKind;

    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_example_of_the_recommendation_is_read_and_written_the_same() {
        let context: TraceContext = EXAMPLE.parse().unwrap();
        assert_eq!(context.to_string(), EXAMPLE);
        assert_eq!(context.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
    }

    #[test]
    fn all_tasks_of_a_round_are_in_one_trace_at_places_of_their_own() {
        let job = JobKey::new("default".parse().unwrap(), "digits".parse().unwrap());
        let task = |round, attempt, client: &str| {
            let client = client.parse().unwrap();
            TraceContext::of_task(&TaskKey { job: job.clone(), run: 1, round, attempt, kind: TaskKind::Train, client })
        };
        let round = TraceContext::of_round(&job, 1, 3);
        let others = [task(3, 1, "a"), task(3, 1, "b"), task(3, 2, "a")];
        for (i, other) in others.iter().enumerate() {
            assert_eq!(other.trace_id(), round.trace_id());
            assert!(*other != round && !others[..i].contains(other));
            assert_eq!(other.to_string().parse(), Ok(*other));
        }
        assert_eq!(task(3, 1, "a"), others[0]);
        assert_ne!(task(4, 1, "a").trace_id(), round.trace_id());
    }

    #[test]
    fn what_the_recommendation_calls_invalid_is_refused() {
        for bad in [
            "",
            "00",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-+0f067aa0ba902b7-01",
        ] {
            assert!(bad.parse::<TraceContext>().is_err(), "{bad}");
        }
        let later = "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more";
        assert_eq!(later.parse::<TraceContext>().map(|c| c.to_string()), Ok(EXAMPLE.to_owned()));
    }
}
