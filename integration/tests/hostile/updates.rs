//! Updates that are not what they should be.

use crate::evil::Evil;
use crate::{ended, honest, job};
use nsfl_integration::{Federation, Options};
use nsfl_messages::wire::{TaskCommand, TaskOrder, TaskReport};
use nsfl_types::{BlobRef, Code, Metrics};

type Attack = fn(&Evil, &TaskOrder) -> TaskReport;

/// One attack a round, and the code it is refused with.
const ATTACKS: [(&str, Attack, Code); 10] = [
    ("not finite", |evil, order| done(order, upload(evil, filled(evil, order, f32::NAN)), 1.0), Code::NotFinite),
    ("infinite", |evil, order| done(order, upload(evil, filled(evil, order, f32::NEG_INFINITY)), 1.0), Code::NotFinite),
    ("another model", |evil, order| done(order, upload(evil, other_model()), 1.0), Code::WrongNames),
    ("no tensors", |evil, order| done(order, upload(evil, b"not a safetensors file".to_vec()), 1.0), Code::BadUpdate),
    ("weight 0", |evil, order| done(order, upload(evil, filled(evil, order, 1.0)), 0.0), Code::BadWeight),
    ("negative weight", |evil, order| done(order, upload(evil, filled(evil, order, 1.0)), -5.0), Code::BadWeight),
    (
        "weight not a number",
        |evil, order| done(order, upload(evil, filled(evil, order, 1.0)), f64::NAN),
        Code::BadWeight,
    ),
    (
        "infinite weight",
        |evil, order| done(order, upload(evil, filled(evil, order, 1.0)), f64::INFINITY),
        Code::BadWeight,
    ),
    ("huge weight", |evil, order| done(order, upload(evil, filled(evil, order, 1.0)), 1e300), Code::BadWeight),
    (
        "no update",
        |_, order| TaskReport::Done { key: order.key.clone(), update: None, extra: None, metrics: weight(1.0) },
        Code::BadUpdate,
    ),
];

#[test]
fn each_bad_update_is_refused_by_its_code_and_the_rounds_are_those_of_the_honest_clients() {
    let rounds = u32::try_from(ATTACKS.len()).unwrap();
    let expected = honest(rounds);
    let federation = Federation::start(&Options::default()).unwrap();
    let mut evil = Evil::join(&federation, "evil");
    federation.submit(&job(rounds)).unwrap();
    for (round, (name, attack, expected)) in (1..).zip(ATTACKS) {
        let order = evil.order();
        assert_eq!(order.key.round, round, "{name}");
        evil.report(&attack(&evil, &order));
        match evil.answer() {
            TaskCommand::Refuse { key, code, reason } => {
                assert_eq!((key, code), (order.key, expected), "{name}: {reason}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    assert_eq!(ended(&federation), expected);
    let refused = federation.rest.events("digits").unwrap().filter(|event| event.kind == "update-refused");
    assert_eq!(refused.count(), ATTACKS.len(), "each is in the job's events");
}

#[test]
fn an_update_counts_once_and_only_for_the_round_it_is_for() {
    let federation = Federation::start(&Options::default()).unwrap();
    let mut evil = Evil::join(&federation, "evil");
    federation.submit(&job(2)).unwrap();
    let first = evil.order();
    let good = done(&first, upload(&evil, filled(&evil, &first, 0.0)), 1.0);
    evil.report(&good);
    assert_eq!(evil.answer(), TaskCommand::Ack { key: first.key.clone() });
    let second = evil.order();
    assert_eq!(second.key.round, 2);
    // a round that is long closed, in whose model it is: not again. And one that never was
    evil.report(&good);
    assert_eq!(evil.answer(), TaskCommand::Ack { key: first.key.clone() });
    let mut never = second.clone();
    never.key.round = 7;
    evil.report(&done(&never, BlobRef::of(b"x"), 1.0));
    assert!(matches!(evil.answer(), TaskCommand::Refuse { code: Code::Stale, .. }));
    let mut other_run = second.clone();
    other_run.key.run = 9;
    evil.report(&done(&other_run, BlobRef::of(b"x"), 1.0));
    assert!(matches!(evil.answer(), TaskCommand::Refuse { code: Code::Stale, .. }));
    evil.report(&TaskReport::Failed {
        key: second.key.clone(),
        code: Code::TrainerFailed,
        reason: "no".into(),
        cause: None,
    });
    assert_eq!(evil.answer(), TaskCommand::Ack { key: second.key });
    ended(&federation);
    let accepted =
        |event: &nsfl_integration::Event| event.kind == "update-accepted" && event.fields["client"] == "evil";
    assert_eq!(federation.rest.events("digits").unwrap().filter(accepted).count(), 1);
}

#[test]
fn a_client_that_takes_its_task_and_never_answers_is_left_out_at_the_deadline() {
    let expected = honest(1);
    let (federation, mut evil, order) = in_a_short_round();
    assert_eq!(ended(&federation), expected);
    evil.report(&done(&order, BlobRef::of(b"too late"), 1.0));
    assert!(matches!(evil.answer(), TaskCommand::Refuse { .. } | TaskCommand::Cancel { .. }));
}

#[test]
fn an_update_that_is_told_of_and_never_brought_is_asked_for_again_and_left_out_at_the_deadline() {
    let expected = honest(1);
    let (federation, mut evil, order) = in_a_short_round();
    evil.report(&done(&order, BlobRef::of(b"never brought"), 1.0));
    assert_eq!(evil.order().key, order.key);
    assert_eq!(ended(&federation), expected);
}

/// A federation whose only round lasts three seconds, and its bad client with its task.
fn in_a_short_round() -> (Federation, Evil, TaskOrder) {
    let federation = Federation::start(&Options::default()).unwrap();
    let mut evil = Evil::join(&federation, "evil");
    let mut job = job(1);
    job["hyper_parameters"]["round_timeout"] = serde_json::json!(3);
    federation.submit(&job).unwrap();
    let order = evil.order();
    (federation, evil, order)
}

pub fn done(order: &TaskOrder, update: BlobRef, samples: f64) -> TaskReport {
    TaskReport::Done { key: order.key.clone(), update: Some(update), extra: None, metrics: weight(samples) }
}

fn weight(samples: f64) -> Metrics {
    Metrics([("sample_num".to_owned(), samples)].into())
}

pub fn upload(evil: &Evil, bytes: Vec<u8>) -> BlobRef {
    let blob = BlobRef::of(&bytes);
    evil.put(blob, bytes).unwrap();
    blob
}

/// The layout of the model of the order, every value `value`.
pub fn filled(evil: &Evil, order: &TaskOrder, value: f32) -> Vec<u8> {
    let mut bytes = evil.get(order.base).unwrap();
    let header = 8 + usize::try_from(u64::from_le_bytes(*bytes.first_chunk().unwrap())).unwrap();
    bytes[header..].chunks_exact_mut(4).for_each(|number| number.copy_from_slice(&value.to_le_bytes()));
    bytes
}

fn other_model() -> Vec<u8> {
    let layout = nsfl_tensor::Layout::new([("other".to_owned(), nsfl_tensor::DType::F32, vec![3])]).unwrap();
    let mut bytes = layout.header_bytes();
    bytes.extend_from_slice(&[0; 12]);
    bytes
}
