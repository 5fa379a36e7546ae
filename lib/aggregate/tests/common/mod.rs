//! Rounds of small models through the whole library, by a rule's name and parameters.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test file uses a part of these helpers")]

use nsfl_aggregate::{
    AggregateError, Aggregation, Block, Member, MemberFacts, Plan, Round, Rules, Sink, Sources, aggregate_round,
};
use nsfl_compress::Update;
use nsfl_tensor::{DType, Layout, StreamError, WeightsView};
use nsfl_types::Metrics;
use serde_json::{Value, json};
use std::convert::Infallible;

/// A file of tensors given as name, type and values; integers are stored as whole numbers.
pub fn file(tensors: &[(&str, DType, &[f64])]) -> Vec<u8> {
    let layout = Layout::new(tensors.iter().map(|(n, d, v)| ((*n).to_owned(), *d, vec![v.len()]))).unwrap();
    let mut file = layout.header_bytes();
    for spec in layout.tensors() {
        let (_, dtype, values) = tensors.iter().find(|tensor| tensor.0 == spec.name).unwrap();
        values.iter().for_each(|value| file.extend(encode(*dtype, *value)));
    }
    file
}

pub fn encode(dtype: DType, value: f64) -> Vec<u8> {
    match dtype {
        DType::F64 => value.to_le_bytes().to_vec(),
        DType::F32 => (value as f32).to_le_bytes().to_vec(),
        DType::F16 => half::f16::from_f64(value).to_le_bytes().to_vec(),
        DType::Bf16 => half::bf16::from_f64(value).to_le_bytes().to_vec(),
        _ => (value as i64).to_le_bytes().to_vec(),
    }
}

/// One tensor `w` of doubles.
pub fn w(values: &[f64]) -> Vec<u8> {
    file(&[("w", DType::F64, values)])
}

/// One tensor `w` of singles.
pub fn w32(values: &[f32]) -> Vec<u8> {
    file(&[("w", DType::F32, &values.iter().map(|v| f64::from(*v)).collect::<Vec<_>>())])
}

/// The values of a float tensor.
pub fn values(file: &[u8], tensor: &str) -> Vec<f64> {
    let view = WeightsView::parse(file).unwrap();
    let index = view.layout().tensors().iter().position(|spec| spec.name == tensor).unwrap();
    let bytes = view.tensor(index);
    match view.layout().tensors()[index].dtype {
        DType::F64 => bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
        DType::F32 => bytes.as_chunks().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect(),
        DType::F16 => bytes.as_chunks().0.iter().map(|b| half::f16::from_le_bytes(*b).to_f64()).collect(),
        DType::Bf16 => bytes.as_chunks().0.iter().map(|b| f64::from(half::bf16::from_le_bytes(*b))).collect(),
        _ => bytes.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b) as f64).collect(),
    }
}

/// A member: id, weight, what it reported, its update.
#[derive(Debug, Clone)]
pub struct One {
    pub id: String,
    pub weight: f64,
    pub numbers: Value,
    pub update: Vec<u8>,
}

pub fn one(id: usize, update: Vec<u8>) -> One {
    One { id: format!("c{id:03}"), weight: 1.0, numbers: json!({}), update }
}

pub fn ones(updates: impl IntoIterator<Item = Vec<u8>>) -> Vec<One> {
    updates.into_iter().enumerate().map(|(i, update)| one(i, update)).collect()
}

/// The next model and what is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Next {
    pub model: Vec<u8>,
    pub state: Option<Vec<u8>>,
}

#[derive(Default)]
struct Collect {
    model: Vec<u8>,
    state: Vec<(Block, Vec<u8>)>,
}

impl Sink for Collect {
    type Error = Infallible;

    fn model(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        self.model.extend_from_slice(bytes);
        Ok(())
    }

    fn state(&mut self, block: &Block, bytes: &[u8]) -> Result<(), Infallible> {
        self.state.push((block.clone(), bytes.to_vec()));
        Ok(())
    }
}

/// What a round is run with, beside its members.
#[derive(Debug, Clone, Copy)]
pub struct With {
    pub memory: usize,
    pub clients: usize,
    pub seed: u64,
}

impl Default for With {
    fn default() -> Self {
        Self { memory: usize::MAX, clients: 4, seed: 7 }
    }
}

pub fn rule(name: &str, params: &Value) -> Aggregation {
    Rules::default().parse(name, params.as_object().unwrap(), 1.0).unwrap()
}

/// As the server knows them.
pub fn members(model: &Layout, ones: &[One], updates: &[Update<'_>]) -> Vec<Member> {
    let member = |(one, update): (&One, &Update<'_>)| {
        let facts = MemberFacts { weight: one.weight, facts: update.check(model).unwrap() };
        let numbers: Metrics = serde_json::from_value(one.numbers.clone()).unwrap();
        Member { id: one.id.clone(), facts, numbers }
    };
    ones.iter().zip(updates).map(member).collect()
}

pub fn run(
    aggregation: &Aggregation,
    base: &[u8],
    state: Option<&[u8]>,
    members: &[One],
    with: With,
) -> Result<Next, AggregateError> {
    let base = WeightsView::parse(base).unwrap();
    let state = state.map(|state| WeightsView::parse(state).unwrap());
    let updates: Vec<_> = members.iter().map(|one| Update::parse(&one.update).unwrap()).collect();
    let planned = self::members(base.layout(), members, &updates);
    let round = Round { model: base.layout(), members: &planned, clients: with.clients, seed: with.seed };
    let sources = Sources { base: &base, state: state.as_ref(), updates: &updates };
    let mut sink = Collect::default();
    match aggregate_round(aggregation, &round, sources, with.memory, &mut sink) {
        Ok(plan) => Ok(Next { state: state_file(&plan, &sink.state), model: sink.model }),
        Err(StreamError::Content(error)) => Err(error),
    }
}

/// The blocks of the state in their places; every byte is to be written once.
fn state_file(plan: &Plan, blocks: &[(Block, Vec<u8>)]) -> Option<Vec<u8>> {
    let layout = plan.state_layout()?;
    let header = layout.header_bytes();
    let mut file = [header.clone(), vec![0xa5; layout.data_len()]].concat();
    let mut written = 0;
    for (block, bytes) in blocks {
        assert_eq!(block.range.len(), bytes.len());
        let start = header.len() + layout.tensors()[block.tensor].range.start + block.range.start;
        file[start..start + bytes.len()].copy_from_slice(bytes);
        written += bytes.len();
    }
    assert_eq!(written, layout.data_len());
    Some(file)
}

/// The model after a round of equal weights without a state.
pub fn model(name: &str, params: &Value, base: &[u8], updates: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    run(&rule(name, params), base, None, &ones(updates), With::default()).unwrap().model
}

#[track_caller]
pub fn assert_close(found: &[f64], expected: &[f64], within: f64) {
    let close = found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| (a - b).abs() <= within);
    assert!(close, "{found:?}, expected {expected:?}");
}
