//! SCAFFOLD's check value, and the same bits for the same set of members.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{One, With, assert_close, one, rule, values};
use nsfl_tensor::DType;
use serde_json::json;

/// A model of one tensor and its control variate.
fn file(model: [f64; 2], control: [f64; 2]) -> Vec<u8> {
    common::file(&[("w", DType::F64, &model), ("scaffold.c/w", DType::F64, &control)])
}

fn run(learning_rate: f64, clients: usize, base: &[u8], updates: &[Vec<u8>]) -> Vec<u8> {
    // weights that must not count
    let member = |(i, (update, weight)): (usize, (&Vec<u8>, f64))| One { weight, ..one(i, update.clone()) };
    let members: Vec<One> = updates.iter().zip([30.0, 1.0, 7.0]).enumerate().map(member).collect();
    let rule = rule("scaffold", &json!({"learning_rate": learning_rate}));
    common::run(&rule, base, None, &members, With { clients, ..With::default() }).unwrap().model
}

/// x=[1,2], c=[.1,−.1], c_1=[.2,0], c_2=[0,.1], y_1=[.8,1.9], y_2=[.9,2.2], c_1⁺ [.5,.3], c_2⁺ [.1,−.2].
fn members() -> Vec<Vec<u8>> {
    vec![file([0.8 - 1.0, 1.9 - 2.0], [0.5 - 0.2, 0.3]), file([0.9 - 1.0, 2.2 - 2.0], [0.1, -0.2 - 0.1])]
}

#[test]
fn the_check_value_is_met() {
    let next = run(1.0, 4, &file([1.0, 2.0], [0.1, -0.1]), &members());
    assert_close(&values(&next, "w"), &[0.85, 2.05], 1e-14);
    assert_close(&values(&next, "scaffold.c/w"), &[0.2, -0.1], 1e-14);
}

#[test]
fn the_server_learning_rate_moves_the_model_and_not_the_control() {
    let next = run(0.5, 4, &file([1.0, 2.0], [0.1, -0.1]), &members());
    assert_close(&values(&next, "w"), &[0.925, 2.025], 1e-14);
    assert_close(&values(&next, "scaffold.c/w"), &[0.2, -0.1], 1e-14);
}

#[test]
fn any_order_of_members_gives_the_same_bits() {
    let base = file([1.0, 2.0], [0.1, -0.1]);
    let mut members = members();
    members.push(file([0.123_456, -1e-9], [3e7, 1e-20]));
    let first = run(0.3, 7, &base, &members);
    members.rotate_left(1);
    assert_eq!(run(0.3, 7, &base, &members), first);
    members.swap(0, 1);
    assert_eq!(run(0.3, 7, &base, &members), first);
}
