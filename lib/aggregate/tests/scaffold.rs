//! SCAFFOLD's check value, and the same bits for the same set of members.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use nsfl_aggregate::{MemberFacts, Scaffold, aggregate};
use nsfl_compress::Update;
use nsfl_tensor::{DType, Layout, WeightsView};
use std::convert::Infallible;

/// A model of one tensor and its control variate.
fn file(model: [f64; 2], control: [f64; 2]) -> Vec<u8> {
    let layout = [("scaffold.c/w".to_owned(), DType::F64, vec![2]), ("w".to_owned(), DType::F64, vec![2])];
    let mut file = Layout::new(layout).unwrap().header_bytes();
    file.extend(control.iter().chain(&model).flat_map(|value| value.to_le_bytes()));
    file
}

fn run(rule: Scaffold, base: &[u8], updates: &[Vec<u8>]) -> Vec<u8> {
    let base = WeightsView::parse(base).unwrap();
    let views: Vec<_> = updates.iter().map(|update| Update::parse(update).unwrap()).collect();
    let facts = |update: &Update<'_>| update.check(base.layout()).unwrap();
    // weights that must not count
    let members = views.iter().zip([30.0, 1.0, 7.0]).map(|(view, weight)| MemberFacts { weight, facts: facts(view) });
    let plan = rule.plan(base.layout(), &members.collect::<Vec<_>>()).unwrap();
    let mut out = Vec::new();
    let write = |bytes: &[u8]| {
        out.extend_from_slice(bytes);
        Ok::<_, Infallible>(())
    };
    aggregate(&plan, &base, &views, write, |_| {}).unwrap();
    out
}

fn values(file: &[u8], tensor: usize) -> Vec<f64> {
    let view = WeightsView::parse(file).unwrap();
    view.tensor(tensor).as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()
}

#[track_caller]
fn assert_close(found: &[f64], expected: &[f64]) {
    assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-14), "{found:?}, expected {expected:?}");
}

/// x=[1,2], c=[.1,−.1], c_1=[.2,0], c_2=[0,.1], y_1=[.8,1.9], y_2=[.9,2.2], c_1⁺ [.5,.3], c_2⁺ [.1,−.2].
fn members() -> Vec<Vec<u8>> {
    vec![file([0.8 - 1.0, 1.9 - 2.0], [0.5 - 0.2, 0.3]), file([0.9 - 1.0, 2.2 - 2.0], [0.1, -0.2 - 0.1])]
}

#[test]
fn the_check_value_is_met() {
    let rule = Scaffold { learning_rate: 1.0, clients: 4 };
    let next = run(rule, &file([1.0, 2.0], [0.1, -0.1]), &members());
    assert_close(&values(&next, 1), &[0.85, 2.05]);
    assert_close(&values(&next, 0), &[0.2, -0.1]);
}

#[test]
fn the_server_learning_rate_moves_the_model_and_not_the_control() {
    let rule = Scaffold { learning_rate: 0.5, clients: 4 };
    let next = run(rule, &file([1.0, 2.0], [0.1, -0.1]), &members());
    assert_close(&values(&next, 1), &[0.925, 2.025]);
    assert_close(&values(&next, 0), &[0.2, -0.1]);
}

#[test]
fn any_order_of_members_gives_the_same_bits() {
    let rule = Scaffold { learning_rate: 0.3, clients: 7 };
    let base = file([1.0, 2.0], [0.1, -0.1]);
    let mut members = members();
    members.push(file([0.123_456, -1e-9], [3e7, 1e-20]));
    let first = run(rule, &base, &members);
    members.rotate_left(1);
    assert_eq!(run(rule, &base, &members), first);
    members.swap(0, 1);
    assert_eq!(run(rule, &base, &members), first);
}
