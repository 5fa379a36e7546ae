//! A round is a function of the set of its members: for every rule the same bits in any order, with any memory, in any parts.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{One, With, file, one, rule, run};
use nsfl_aggregate::{
    AggregateError, Aggregation, Block, Member, MemberFacts, RULES, Round, Sources, Survey, Worker, blocks,
};
use nsfl_compress::Update;
use nsfl_tensor::{DType, WeightsView};
use proptest::prelude::*;
use serde_json::{Value, json};

const CHUNK: usize = 1024;

/// Every rule, and the combinations that take other ways through the code.
fn all() -> Vec<(&'static str, Value)> {
    let plain = RULES.iter().map(|name| match *name {
        "trimmed_mean" | "krum" | "multikrum" | "bulyan" => (*name, json!({"f": 1})),
        "qfedavg" => (*name, json!({"local_learning_rate": 0.1})),
        "fedbuff" => (*name, json!({"k": 20})),
        _ => (*name, json!({})),
    });
    let pre = |list: Value| json!({"f": 1, "pre": list});
    let nnm = json!({"name": "nnm", "f": 1});
    let bucketing = json!({"name": "bucketing"});
    plain
        .chain([
            ("fedavg", json!({"pre": [{"name": "clipping", "max_norm": 0.5}]})),
            ("fedavg", json!({"server": {"name": "fedadam"}, "pre": [nnm]})),
            ("trimmed_mean", pre(json!([nnm, {"name": "arc", "f": 1}]))),
            ("krum", pre(json!([{"name": "arc", "f": 1}, nnm]))),
            ("median", json!({"pre": [bucketing]})),
            ("centered_clipping", json!({"pre": [bucketing], "server": {"name": "fedavgm"}})),
            ("geometric_median", json!({"uniform": false, "server": {"name": "fedyogi"}})),
        ])
        .collect()
}

/// A model with every kind of tensor, longer than a chunk.
fn member(id: usize, seed: u64, spread: f64) -> One {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5
    };
    let mut floats = |n: usize| (0..n).map(|_| next() * spread).collect::<Vec<f64>>();
    let (a, b, c, d) = (floats(CHUNK * 2 + 37), floats(CHUNK + 3), floats(CHUNK * 9), floats(300));
    let (variance, control) = (floats(20), floats(40));
    let update = file(&[
        ("a", DType::F32, &a),
        ("b", DType::F64, &b),
        ("c", DType::F16, &c),
        ("d", DType::Bf16, &d),
        ("bn.running_var", DType::F32, &variance),
        ("scaffold.c/a", DType::F32, &control),
        ("bn.num_batches_tracked", DType::I64, &[seed as f64]),
    ]);
    let numbers = json!({"local_steps": 1 + seed % 5, "initial_loss": 0.1 + (seed % 7) as f64, "staleness": seed % 3});
    One { weight: 1.0 + (seed % 9) as f64, numbers, ..one(id, update) }
}

fn members(seed: u64, n: usize) -> Vec<One> {
    // the last is far from the others
    (0..n).map(|i| member(i, seed * 31 + i as u64, if i + 1 == n { 1e4 } else { 1.0 })).collect()
}

fn zero() -> Vec<u8> {
    member(0, 0, 0.0).update
}

/// Two rounds, so that what is kept counts.
fn two_rounds(aggregation: &Aggregation, members: &[One], with: With) -> Result<common::Next, AggregateError> {
    let first = run(aggregation, &zero(), None, members, with)?;
    run(aggregation, &first.model, first.state.as_deref(), members, with)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]
    #[test]
    fn any_order_of_members_gives_the_same_bits(seed in 0_u64..1000, order in Just((0..9).collect::<Vec<usize>>()).prop_shuffle()) {
        let members = members(seed, 9);
        let shuffled: Vec<One> = order.iter().map(|i| members[*i].clone()).collect();
        for (name, params) in all() {
            let rule = rule(name, &params);
            let (one, other) = (two_rounds(&rule, &members, With::default()), two_rounds(&rule, &shuffled, With::default()));
            prop_assert!(one.is_ok(), "{name} {params}: {:?}", one.err());
            prop_assert!(one == other, "{} {}", name, params);
        }
    }

    #[test]
    fn any_memory_gives_the_same_bits_or_is_refused(seed in 0_u64..1000, memory in 60_000_usize..2_000_000) {
        let members = members(seed, 9);
        for (name, params) in all() {
            let rule = rule(name, &params);
            match two_rounds(&rule, &members, With { memory, ..With::default() }) {
                Ok(next) => prop_assert!(next == two_rounds(&rule, &members, With::default()).unwrap(), "{name} {params}"),
                Err(e) => prop_assert!(matches!(e, AggregateError::Memory { .. }), "{} {}: {}", name, params, e),
            }
        }
    }

    /// Blocks in any order, each in the hands of one of three.
    #[test]
    fn any_division_of_the_work_gives_the_same_bits(seed in 0_u64..1000, hands in prop::collection::vec(0_usize..3, 64), turn in 0_usize..20) {
        let members = members(seed, 9);
        for (name, params) in all() {
            let whole = run(&rule(name, &params), &zero(), None, &members, With::default()).unwrap().model;
            prop_assert!(in_parts(&rule(name, &params), &members, &hands, turn) == whole, "{} {}", name, params);
        }
    }
}

fn in_parts(aggregation: &Aggregation, members: &[One], hands: &[usize], turn: usize) -> Vec<u8> {
    let base = zero();
    let base = WeightsView::parse(&base).unwrap();
    let updates: Vec<_> = members.iter().map(|one| Update::parse(&one.update).unwrap()).collect();
    let planned = |(one, update): (&One, &Update<'_>)| Member {
        id: one.id.clone(),
        facts: MemberFacts { weight: one.weight, facts: update.check(base.layout()).unwrap() },
        numbers: serde_json::from_value(one.numbers.clone()).unwrap(),
    };
    let planned: Vec<Member> = members.iter().zip(&updates).map(planned).collect();
    let round = Round { model: base.layout(), members: &planned, clients: 4, seed: 7 };
    let sources = Sources { base: &base, state: None, updates: &updates };

    let mut cut: Vec<Block> = blocks(base.layout(), 8 * CHUNK).collect();
    let at = turn % cut.len();
    cut.rotate_left(at);
    let mut surveys: Vec<Survey<'_>> =
        (0..3).map(|_| Survey::new(aggregation, &round, sources, usize::MAX).unwrap()).collect();
    for (i, block) in cut.iter().enumerate() {
        surveys[hands[i % hands.len()]].add(block).unwrap();
    }
    let mut survey = surveys.pop().unwrap();
    surveys.iter().for_each(|other| survey.merge(other).unwrap());
    let geometry = survey.finish();
    let seen = (aggregation.pass() > nsfl_aggregate::Pass::None).then_some(&geometry);

    let plan = aggregation.plan(&round, seen).unwrap();
    let mut workers: Vec<Worker<'_>> = (0..3).map(|_| Worker::new(&plan, sources, usize::MAX).unwrap()).collect();
    let head = base.layout().header_bytes();
    let mut model = [head.clone(), vec![0; base.layout().data_len()]].concat();
    for (i, block) in cut.iter().enumerate() {
        let worker = &mut workers[hands[(i + 1) % hands.len()]];
        worker.run(block).unwrap();
        let start = head.len() + base.layout().tensors()[block.tensor].range.start + block.range.start;
        model[start..start + block.range.len()].copy_from_slice(worker.model());
    }
    model
}

#[test]
fn too_little_memory_is_refused_with_how_much_would_do() {
    let rule = rule("krum", &json!({"f": 1}));
    let e = run(&rule, &zero(), None, &members(1, 9), With { memory: 10_000, ..With::default() }).unwrap_err();
    assert_eq!(e.to_string(), "aggregating 9 updates needs 74628 bytes of memory, 10000 are allowed");
    assert!(run(&rule, &zero(), None, &members(1, 9), With { memory: 80_000, ..With::default() }).is_ok());
}

#[test]
fn two_members_of_one_id_are_refused() {
    let twice = vec![member(1, 1, 1.0); 5];
    let e = run(&rule("krum", &json!({"f": 1})), &zero(), None, &twice, With::default()).unwrap_err();
    assert_eq!(e.code(), nsfl_types::Code::Internal);
}
