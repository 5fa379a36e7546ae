//! The metrics of a run as TensorBoard reads them: a file of records, each an `Event` of tensorflow/core/util/event.proto, in the
//! framing of TFRecord. Pure: the same rounds give the same bytes, and more rounds give more bytes after them.

use nsfl_store::{RoundRecord, RoundState};
use nsfl_types::{TaskKind, Timestamp};
use prost::Message;

/// What every such file begins with.
const VERSION: &str = "brain.Event:2";

#[derive(Clone, PartialEq, Message)]
struct Event {
    /// Unix time, seconds.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, tag = "2")]
    simple_value: f32,
}

/// The name of a run's file: TensorBoard looks for this in it.
pub(crate) fn name(run: u32) -> String {
    format!("events.out.tfevents.{run:010}.nsfl")
}

/// The complete rounds, in the order they closed: `train/<metric>` and `evaluate/<metric>`, a step a round.
pub(crate) fn events(rounds: &[RoundRecord]) -> Vec<u8> {
    let mut complete: Vec<&RoundRecord> =
        rounds.iter().filter(|r| r.state == RoundState::Complete && !r.metrics.0.is_empty()).collect();
    complete.sort_by_key(|record| (record.round, record.kind));
    let began = complete.first().map_or(0.0, |record| seconds(record.opened));
    let head = Event { wall_time: began, file_version: Some(VERSION.to_owned()), ..Event::default() };
    let mut bytes = record(&head);
    for round in complete {
        bytes.extend(record(&event(round)));
    }
    bytes
}

fn event(round: &RoundRecord) -> Event {
    let kind = match round.kind {
        TaskKind::Train => "train",
        TaskKind::Evaluate => "evaluate",
    };
    #[allow(clippy::cast_possible_truncation, reason = "TensorBoard keeps 32 bits")]
    let value = |(name, value): (&String, &f64)| Value { tag: format!("{kind}/{name}"), simple_value: *value as f32 };
    Event {
        wall_time: seconds(round.closed.unwrap_or(round.opened)),
        step: round.round.into(),
        file_version: None,
        summary: Some(Summary { value: round.metrics.0.iter().map(value).collect() }),
    }
}

/// Length, its checksum, the event, its checksum.
fn record(event: &Event) -> Vec<u8> {
    let body = event.encode_to_vec();
    let len = (body.len() as u64).to_le_bytes();
    [&len[..], &masked(&len), &body, &masked(&body)].concat()
}

/// CRC-32C, turned and shifted, since it may itself be stored in what is checked.
fn masked(bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

fn seconds(at: Timestamp) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "milliseconds since 1970 stay far below 2^52")]
    let ms = at.0 as f64;
    ms / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use nsfl_types::{JobKey, Metrics};

    fn round(round: u32, kind: TaskKind, metric: &str, value: f64) -> RoundRecord {
        RoundRecord {
            job: JobKey::new("default".parse().unwrap(), "j".parse().unwrap()),
            run: 1,
            round,
            attempt: 1,
            kind,
            state: RoundState::Complete,
            opened: Timestamp(1_700_000_000_000),
            closed: Some(Timestamp(1_700_000_001_500 + u64::from(round) * 1000)),
            cohort: 1,
            accepted: 1,
            metrics: Metrics([(metric.to_owned(), value)].into()),
            model: None,
            reason: String::new(),
            cause: None,
        }
    }

    /// As TensorBoard reads it.
    fn read(mut bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        while !bytes.is_empty() {
            let (len, rest) = bytes.split_at(8);
            let (sum, rest) = rest.split_at(4);
            assert_eq!(sum, masked(len));
            let (body, rest) = rest.split_at(u64::from_le_bytes(len.try_into().unwrap()) as usize);
            let (sum, rest) = rest.split_at(4);
            assert_eq!(sum, masked(body));
            events.push(Event::decode(body).unwrap());
            bytes = rest;
        }
        events
    }

    #[test]
    fn a_round_more_adds_to_the_file_and_changes_nothing_before() {
        let one = [round(1, TaskKind::Train, "loss", 0.5)];
        let two =
            [one[0].clone(), round(2, TaskKind::Train, "loss", 0.25), round(2, TaskKind::Evaluate, "accuracy", 0.75)];
        let (before, after) = (events(&one), events(&two));
        assert!(after.starts_with(&before) && after.len() > before.len());
        let read = read(&after);
        assert_eq!(read[0].file_version.as_deref(), Some(VERSION));
        let told: Vec<_> = read[1..]
            .iter()
            .map(|event| {
                let value = &event.summary.as_ref().unwrap().value[0];
                (event.step, value.tag.as_str(), value.simple_value)
            })
            .collect();
        assert_eq!(told, [(1, "train/loss", 0.5), (2, "train/loss", 0.25), (2, "evaluate/accuracy", 0.75)]);
        assert_eq!(read[1].wall_time, 1_700_000_002.5);
    }

    #[test]
    fn the_checksum_is_that_of_the_format() {
        // of the 8 bytes of a length 24, as TensorFlow writes it
        assert_eq!(masked(&24u64.to_le_bytes()), [0xa3, 0x7f, 0x4b, 0x22]);
    }
}
