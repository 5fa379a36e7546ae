//! How much memory a round takes: no more than the caller allows, and nothing for each update once blocks are made.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{file, rule};
use nsfl_aggregate::{
    Block, Member, MemberFacts, Pass, Plan, Round, Sink, Sources, Survey, Worker, aggregate_round, blocks,
};
use nsfl_compress::{Part, Task, Update, compress};
use nsfl_tensor::{DType, WeightsView};
use nsfl_types::Metrics;
use nsfl_types::{Bits, Bucket, Coding, Digest, Norm, Values};
use serde_json::{Value, json};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::convert::Infallible;

thread_local! {
    static NOW: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
    static TAKEN: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, with what each thread holds counted.
struct Counting;

#[allow(unsafe_code, reason = "an allocator is unsafe to write; this one only counts")]
// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = NOW.try_with(|now| {
            now.set(now.get() + layout.size() as isize);
            MOST.with(|most| most.set(most.get().max(now.get())));
            TAKEN.with(|taken| taken.set(taken.get() + 1));
        });
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let _ = NOW.try_with(|now| now.set(now.get() - layout.size() as isize));
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most that `work` held at a time, beyond what was there.
fn most_held<T>(work: impl FnOnce() -> T) -> (isize, T) {
    let before = NOW.get();
    MOST.set(before);
    let result = work();
    (MOST.get() - before, result)
}

struct Nowhere;

impl Sink for Nowhere {
    type Error = Infallible;

    fn model(&mut self, _: &[u8]) -> Result<(), Infallible> {
        Ok(())
    }
}

fn all() -> Vec<(&'static str, Value)> {
    vec![
        ("fedavg", json!({})),
        ("fedadam", json!({})),
        ("median", json!({})),
        ("trimmed_mean", json!({"f": 2})),
        ("multikrum", json!({"f": 2})),
        ("bulyan", json!({"f": 2})),
        ("geometric_median", json!({})),
        ("centered_clipping", json!({})),
        ("median", json!({"pre": [{"name": "nnm", "f": 2}]})),
    ]
}

fn updates(n: usize, len: usize) -> Vec<Vec<u8>> {
    (0..n).map(|i| file(&[("w", DType::F32, &vec![i as f64; len])])).collect()
}

fn members(model: &WeightsView<'_>, updates: &[Update<'_>]) -> Vec<Member> {
    let member = |(i, update): (usize, &Update<'_>)| Member {
        id: format!("{i:04}"),
        facts: MemberFacts { weight: 1.0, facts: update.check(model.layout()).unwrap() },
        numbers: Metrics::default(),
    };
    updates.iter().enumerate().map(member).collect()
}

/// The same, each a quarter as large.
fn compressed(files: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let values = Values::Qsgd { bits: Bits::Eight, bucket: Some(Bucket::DEFAULT), norm: Norm::Max };
    let coding = Coding { top_k: None, values };
    let of = |file: &Vec<u8>| {
        let view = WeightsView::parse(file).unwrap();
        let task = Task { layout: view.layout(), base: Digest::of(b""), coding: &coding, seed: 1, lost: false };
        let mut out = Vec::new();
        let read = |tensor, at, block: &mut [u8]| {
            block.copy_from_slice(&view.tensor(tensor)[at..at + block.len()]);
            Ok::<_, Infallible>(())
        };
        compress(&task, read, |part| {
            if let Part::Compressed(bytes) = part {
                out.extend_from_slice(bytes);
            }
            Ok(())
        })
        .unwrap();
        out
    };
    files.iter().map(of).collect()
}

#[test]
fn a_round_takes_no_more_memory_than_is_allowed() {
    let files = updates(200, 30_000);
    for files in [&files, &compressed(&files)] {
        within_memory(&updates(1, 30_000)[0], files);
    }
}

fn within_memory(base: &[u8], files: &[Vec<u8>]) {
    let base = WeightsView::parse(base).unwrap();
    let updates: Vec<_> = files.iter().map(|file| Update::parse(file).unwrap()).collect();
    let planned = members(&base, &updates);
    let round = Round { model: base.layout(), members: &planned, clients: 200, seed: 0 };
    let sources = Sources { base: &base, state: None, updates: &updates };
    // beside buffers: a plan's coefficients, and of the pairs products, a geometry and what is mixed of it
    let beside = |pass| if pass == Pass::Products { 200 * 200 * 8 * 6 } else { 100_000 };
    for (name, params) in all() {
        let aggregation = rule(name, &params);
        let memory = if aggregation.pass() == Pass::Products { 3_000_000 } else { 500_000 };
        let (held, result) = most_held(|| aggregate_round(&aggregation, &round, sources, memory, &mut Nowhere));
        assert!(result.is_ok(), "{name}");
        let most = (memory + beside(aggregation.pass())) as isize;
        assert!(held <= most, "{name} {params}: held {held}, allowed {most}");
    }
}

#[test]
fn blocks_are_made_and_surveyed_without_an_allocation_for_each_update() {
    let taken = |params: &(&str, Value), n: usize| {
        let files = updates(n, 40_000);
        let base = WeightsView::parse(&files[0]).unwrap();
        let updates: Vec<_> = files.iter().map(|file| Update::parse(file).unwrap()).collect();
        let planned = members(&base, &updates);
        let round = Round { model: base.layout(), members: &planned, clients: n, seed: 0 };
        let sources = Sources { base: &base, state: None, updates: &updates };
        let aggregation = rule(params.0, &params.1);
        let cut: Vec<Block> = blocks(round.model, 1 << 14).collect();
        let mut survey = Survey::new(&aggregation, &round, sources, usize::MAX).unwrap();
        let before = TAKEN.get();
        cut.iter().for_each(|block| survey.add(block).unwrap());
        let surveyed = TAKEN.get() - before;
        let geometry = survey.finish();
        let seen = (aggregation.pass() > Pass::None).then_some(&geometry);
        let plan: Plan = aggregation.plan(&round, seen).unwrap();
        let mut worker = Worker::new(&plan, sources, usize::MAX).unwrap();
        worker.run(&cut[0]).unwrap();
        let before = TAKEN.get();
        cut.iter().for_each(|block| worker.run(block).unwrap());
        (surveyed, TAKEN.get() - before)
    };
    for params in all() {
        assert_eq!(taken(&params, 16), (0, 0), "{params:?}");
        assert_eq!(taken(&params, 64), (0, 0), "{params:?}");
    }
}
