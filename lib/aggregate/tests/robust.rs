//! What robust rules promise: the result lies among the honest, whatever a few others send.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{With, model, ones, rule, run, values, w, w32};
use proptest::prelude::*;
use serde_json::{Value, json};

fn robust() -> Vec<(&'static str, Value)> {
    let f = json!({"f": 2});
    vec![
        ("median", json!({})),
        ("trimmed_mean", f.clone()),
        ("krum", f.clone()),
        ("multikrum", f.clone()),
        ("bulyan", f.clone()),
        ("geometric_median", json!({})),
        ("trimmed_mean", json!({"f": 2, "pre": [{"name": "nnm", "f": 2}]})),
        ("krum", json!({"f": 2, "pre": [{"name": "arc", "f": 2}]})),
    ]
}

fn vectors(n: usize, range: std::ops::Range<f64>) -> impl Strategy<Value = Vec<Vec<f64>>> {
    prop::collection::vec(prop::collection::vec(range, 6), n)
}

/// Least and greatest of each coordinate.
fn hull(rows: &[Vec<f64>]) -> Vec<(f64, f64)> {
    let ends = |j: usize| {
        let column = rows.iter().map(move |row| row[j]);
        (column.clone().fold(f64::INFINITY, f64::min), column.fold(f64::NEG_INFINITY, f64::max))
    };
    (0..rows[0].len()).map(ends).collect()
}

proptest! {
    #[test]
    fn the_result_lies_within_the_members(rows in vectors(11, -1e3..1e3)) {
        for (name, params) in robust() {
            let found = values(&model(name, &params, &w(&[0.0; 6]), rows.iter().map(|row| w(row))), "w");
            for (x, (low, high)) in found.iter().zip(hull(&rows)) {
                prop_assert!((low - 1e-9..=high + 1e-9).contains(x), "{name} {params}: {x} not in {low}..{high}");
            }
        }
    }

    /// By coordinate for the rules by coordinate, and for all by how far the honest are from each other.
    #[test]
    fn two_byzantine_members_do_not_carry_it_away(
        honest in vectors(9, -1.0..1.0),
        lies in vectors(2, -1e30..1e30),
        near in vectors(2, -20.0..20.0),
    ) {
        for lies in [lies, near] {
            let rows: Vec<Vec<f64>> = honest.iter().chain(&lies).cloned().collect();
            for (name, params) in robust() {
                let found = values(&model(name, &params, &w(&[0.0; 6]), rows.iter().map(|row| w(row))), "w");
                for (x, (low, high)) in found.iter().zip(hull(&honest)) {
                    // a far member may be taken as a neighbour, or as part of a mean, but not far off
                    let slack = if matches!(name, "median" | "trimmed_mean") && params.get("pre").is_none() { 0.0 } else { 6.0 };
                    prop_assert!((low - slack..=high + slack).contains(x), "{name} {params}: {x} not in {low}..{high}");
                }
            }
        }
    }

    #[test]
    fn the_median_of_an_odd_number_is_one_of_the_values_and_f32_is_taken_as_it_is(
        rows in prop::collection::vec(prop::collection::vec(prop::num::f32::NORMAL | prop::num::f32::ZERO, 40), 7)
    ) {
        let found = model("median", &json!({}), &w32(&[0.0; 40]), rows.iter().map(|row| w32(row)));
        for (j, x) in values(&found, "w").iter().enumerate() {
            let mut column: Vec<f32> = rows.iter().map(|row| row[j]).collect();
            column.sort_by(f32::total_cmp);
            prop_assert_eq!(*x as f32, column[3]);
        }
    }

    /// A sum moves with every member: the tests above can fail.
    #[test]
    fn a_mean_is_carried_away(honest in vectors(9, -1.0..1.0)) {
        let rows = honest.iter().cloned().chain([vec![1e6; 6]]);
        let found = values(&model("fedavg", &json!({}), &w(&[0.0; 6]), rows.map(|row| w(&row))), "w");
        prop_assert!(found.iter().all(|x| *x > 9e4));
    }
}

#[test]
fn too_few_members_are_refused_with_the_reason() {
    let says = |name: &str, params: Value, n: usize| {
        let rule = rule(name, &params);
        let e = run(&rule, &w(&[0.0]), None, &ones((0..n).map(|_| w(&[1.0]))), With::default()).unwrap_err();
        assert_eq!(rule.check_members(n), Err(e.clone()), "known at submit");
        e.to_string()
    };
    assert_eq!(says("krum", json!({"f": 2}), 6), "krum needs at least 7 updates (n ≥ 2f + 3 with f = 2), not 6");
    assert_eq!(
        says("multikrum", json!({"f": 1, "m": 5}), 5),
        "multikrum needs at least 6 updates (m ≤ n − f with m = 5, f = 1), not 5"
    );
    assert_eq!(says("bulyan", json!({"f": 1}), 6), "bulyan needs at least 7 updates (n ≥ 4f + 3 with f = 1), not 6");
    assert_eq!(
        says("trimmed_mean", json!({"f": 1}), 2),
        "trimmed_mean needs at least 3 updates (n ≥ 2f + 1 with f = 1), not 2"
    );
    let nnm = json!({"pre": [{"name": "nnm", "f": 2}]});
    assert_eq!(says("median", nnm, 4), "nnm needs at least 5 updates (n ≥ 2f + 1 with f = 2), not 4");
    // buckets of two: 9 members are 5 vectors
    let buckets = json!({"f": 2, "pre": [{"name": "bucketing"}]});
    assert_eq!(says("krum", buckets, 9), "krum needs at least 7 updates (n ≥ 2f + 3 with f = 2), not 5");
    for (name, params) in robust() {
        assert!(rule(name, &params).check_members(11).is_ok());
    }
}

/// Buffers are combined by the weights the rule gives, so a member that Krum leaves out does not reach them either.
#[test]
fn running_statistics_are_as_robust_as_weights_and_are_not_moved_by_the_server_optimizer() {
    let member = |x: f64| {
        common::file(&[("w", nsfl_tensor::DType::F64, &[x, x]), ("bn.running_var", nsfl_tensor::DType::F64, &[x])])
    };
    let updates = || [0.5, 0.5, 0.5, 0.5, 1e6].map(member);
    for (name, params) in [
        ("krum", json!({"f": 1, "server": {"name": "fedadam"}})),
        ("median", json!({"learning_rate": 0.1})),
        ("trimmed_mean", json!({"f": 1, "server": {"name": "fedavgm", "learning_rate": 0.5}})),
    ] {
        let next = run(&rule(name, &params), &member(1.0), None, &ones(updates()), With::default()).unwrap();
        assert_eq!(values(&next.model, "bn.running_var"), [1.5], "{name}");
        assert_ne!(values(&next.model, "w"), [1.5, 1.5], "{name}");
    }
}
