//! Compressed updates that are not what they should be.

use crate::evil::Evil;
use crate::updates::{done, filled, upload};
use crate::{ended, job};
use nsfl_compress::{Compressed, Part, Task, compress};
use nsfl_integration::{Federation, Options};
use nsfl_messages::wire::{TaskCommand, TaskOrder};
use nsfl_tensor::WeightsView;
use nsfl_types::{Code, Coding, Digest, UpdateCoding};
use serde_json::json;
use std::convert::Infallible;

type Attack = fn(&Evil, &TaskOrder) -> Vec<u8>;

/// One attack a round, and the code it is refused with.
const ATTACKS: [(&str, Attack, Code); 8] = [
    ("not compressed", |evil, order| filled(evil, order, 1.0), Code::BadUpdate),
    ("another coding", |evil, order| made(evil, order, order.base.digest, |c| c.top_k = None), Code::BadUpdate),
    ("another base", |evil, order| made(evil, order, Digest::of(b"another"), |_| ()), Code::WrongBase),
    (
        "cut off",
        |evil, order| {
            let mut bytes = good(evil, order);
            bytes.truncate(bytes.len() - 1);
            bytes
        },
        Code::BadUpdate,
    ),
    ("a place twice", |evil, order| changed(evil, order, 6, |bytes| [bytes[4], bytes[5]]), Code::BadUpdate),
    ("more values than there are", |evil, order| changed(evil, order, 2, |_| [0xff, 0xff]), Code::BadUpdate),
    ("another version", |evil, order| [b"NSFLCMP\x63".as_slice(), &good(evil, order)[8..]].concat(), Code::BadUpdate),
    (
        "an infinite scale",
        |evil, order| {
            changed(evil, order, 0, |bytes| {
                let count = u32::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
                bytes[4 + 2 * count..8 + 2 * count].copy_from_slice(&f32::INFINITY.to_le_bytes());
                [bytes[0], bytes[1]]
            })
        },
        Code::NotFinite,
    ),
];

#[test]
fn each_bad_compressed_update_is_refused_by_its_code_and_the_job_goes_on() {
    let rounds = u32::try_from(ATTACKS.len()).unwrap();
    let federation = Federation::start(&Options::default()).unwrap();
    let mut evil = Evil::join(&federation, "evil");
    let mut job = job(rounds);
    job["compression"] = json!({"top_k": 0.1, "values": "qsgd8"});
    federation.submit(&job).unwrap();
    for (round, (name, attack, expected)) in (1..).zip(ATTACKS) {
        let order = evil.order();
        assert_eq!(order.key.round, round, "{name}");
        evil.report(&done(&order, upload(&evil, attack(&evil, &order)), 1.0));
        match evil.answer() {
            TaskCommand::Refuse { key, code, reason } => {
                assert_eq!((key, code), (order.key, expected), "{name}: {reason}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    ended(&federation);
}

fn good(evil: &Evil, order: &TaskOrder) -> Vec<u8> {
    made(evil, order, order.base.digest, |_| ())
}

/// An update of ones as the order asks for it, but for what is adjusted.
fn made(evil: &Evil, order: &TaskOrder, base: Digest, adjust: fn(&mut Coding)) -> Vec<u8> {
    let asked: UpdateCoding = serde_json::from_str(&order.compression.as_ref().unwrap().coding).unwrap();
    let mut coding = asked.coding;
    adjust(&mut coding);
    let file = filled(evil, order, 1.0);
    let view = WeightsView::parse(&file).unwrap();
    let task = Task { layout: view.layout(), base, coding: &coding, seed: 1, lost: false };
    let mut out = Vec::new();
    let read = |tensor, at, block: &mut [u8]| {
        block.copy_from_slice(&view.tensor(tensor)[at..at + block.len()]);
        Ok::<_, Infallible>(())
    };
    let written = compress(&task, read, |part| {
        if let Part::Compressed(bytes) = part {
            out.extend_from_slice(bytes);
        }
        Ok(())
    });
    written.unwrap();
    out
}

/// A good one, with two bytes of its largest section, at this place of it, made of the section's.
fn changed(evil: &Evil, order: &TaskOrder, at: usize, bytes: fn(&mut [u8]) -> [u8; 2]) -> Vec<u8> {
    let mut update = good(evil, order);
    let parsed = Compressed::parse(&update).unwrap();
    let sections = (0..parsed.layout().tensors().len()).map(|index| parsed.section(index).len());
    let lens: Vec<usize> = sections.collect();
    let largest = (0..lens.len()).max_by_key(|index| lens[*index]).unwrap();
    let start = update.len() - lens[largest..].iter().sum::<usize>();
    let section = &mut update[start..start + lens[largest]];
    let two = bytes(section);
    section[at..at + 2].copy_from_slice(&two);
    update
}
