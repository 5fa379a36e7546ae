//! Values at the ends of their range, for every rule: equal, zero, one, subnormal, huge but finite, and not finite.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{One, With, file, one, rule, run, values};
use nsfl_aggregate::{AggregateError, RULES, Server};
use nsfl_tensor::{DType, WeightsView, check_update};
use serde_json::{Value, json};

const LEN: usize = 19;

fn params(name: &str) -> Value {
    match name {
        "trimmed_mean" | "krum" | "multikrum" | "bulyan" => json!({"f": 1}),
        "qfedavg" => json!({"local_learning_rate": 1.0}),
        "fedbuff" => json!({"k": 7}),
        _ => json!({}),
    }
}

/// Every rule, each of some rules after every pre-aggregator, and `ffa`. The other variants of `lora` have shapes of their own:
/// `lora.rs`.
fn cases() -> Vec<(&'static str, Value)> {
    let mut cases: Vec<_> = RULES.into_iter().map(|name| (name, params(name))).collect();
    cases.push(("lora", json!({"variant": "ffa"})));
    for pre in [
        json!({"name": "bucketing", "s": 2}),
        json!({"name": "nnm", "f": 1}),
        json!({"name": "arc", "f": 1}),
        json!({"name": "clipping", "max_norm": 100.0}),
    ] {
        for name in ["fedavg", "median", "geometric_median", "trimmed_mean"] {
            let mut params = params(name);
            params["pre"] = json!([pre]);
            cases.push((name, params));
        }
    }
    cases
}

fn members(dtype: DType, rows: &[Vec<f64>]) -> Vec<One> {
    let numbers = json!({"local_steps": 3, "initial_loss": 1.0});
    let member = |(i, row): (usize, &Vec<f64>)| One { numbers: numbers.clone(), ..one(i, file(&[("w", dtype, row)])) };
    rows.iter().enumerate().map(member).collect()
}

fn aggregate(name: &str, dtype: DType, rows: &[Vec<f64>]) -> Result<Vec<f64>, AggregateError> {
    with(name, &params(name), dtype, rows)
}

fn with(name: &str, params: &Value, dtype: DType, rows: &[Vec<f64>]) -> Result<Vec<f64>, AggregateError> {
    let base = file(&[("w", dtype, &[0.0; LEN])]);
    run(&rule(name, params), &base, None, &members(dtype, rows), With::default()).map(|next| values(&next.model, "w"))
}

/// Rules whose result from equal updates is that update.
fn keeps_what_is_equal(name: &str) -> bool {
    !matches!(name, "fedadagrad" | "fedyogi" | "fedadam" | "feddyn" | "qfedavg" | "centered_clipping")
}

#[test]
fn equal_updates_give_that_update_and_zeros_give_zeros() {
    for dtype in [DType::F64, DType::F32, DType::F16, DType::Bf16] {
        for value in [0.0, 1.0, -1.0, 0.375] {
            for (name, params) in cases() {
                let found = with(name, &params, dtype, &vec![vec![value; LEN]; 7]).unwrap();
                if keeps_what_is_equal(name) || value == 0.0 {
                    let close = found.iter().all(|x| (x - value).abs() <= 1e-12);
                    assert!(close, "{name} {params} {dtype} {value}: {found:?}");
                }
                assert!(found.iter().all(|x| x.is_finite()));
            }
        }
    }
}

#[test]
fn one_member_is_enough_where_the_rule_says_so() {
    for name in RULES {
        let found = aggregate(name, DType::F64, &[vec![0.25; LEN]]);
        if matches!(name, "krum" | "multikrum" | "bulyan" | "trimmed_mean") {
            assert_eq!(found.unwrap_err().code(), nsfl_types::Code::NoQuorum, "{name}");
        } else {
            let expected = if name == "fedbuff" { 0.25 / 7.0 } else { 0.25 };
            let found = found.unwrap();
            let close = found.iter().all(|x| (x - expected).abs() < 1e-12);
            assert!(close || !keeps_what_is_equal(name), "{name}: {found:?}");
        }
    }
}

#[test]
fn nobody_is_refused() {
    for name in RULES {
        assert_eq!(aggregate(name, DType::F64, &[]).unwrap_err(), AggregateError::NoMembers, "{name}");
    }
}

/// Subnormal and huge values: squares of an f64 leave the range at both ends, and sums do at the upper.
#[test]
fn subnormal_and_huge_values_give_a_finite_result_among_them_or_an_error_by_name() {
    for (dtype, tiny, huge) in [
        (DType::F64, 5e-324, 1e308),
        (DType::F32, 1e-45, 3e38),
        (DType::F16, 6e-8, 65_000.0),
        (DType::Bf16, 1e-40, 3e38),
    ] {
        for size in [tiny, huge] {
            let rows: Vec<Vec<f64>> =
                (0..7).map(|i| (0..LEN).map(|j| if (i + j) % 3 == 0 { -size } else { size }).collect()).collect();
            for (name, params) in cases() {
                match with(name, &params, dtype, &rows) {
                    Ok(found) => {
                        let within = found.iter().all(|x| x.is_finite());
                        assert!(within, "{name} {params} {dtype} {size}: {found:?}");
                    }
                    // squares of huge values, kept as v
                    Err(AggregateError::NotFinite { tensor, .. }) => {
                        assert!(size == huge && tensor.contains('/'), "{name} {dtype}: {tensor}");
                        assert!(matches!(name, "fedadagrad" | "fedyogi" | "fedadam" | "feddyn"), "{name}");
                    }
                    Err(e) => panic!("{name} {params} {dtype} {size}: {e}"),
                }
            }
        }
    }
}

#[test]
fn selection_works_where_squares_leave_the_range() {
    for (dtype, unit) in [(DType::F64, 1e250), (DType::F64, 1e-250), (DType::F32, 1e30), (DType::F32, 1e-30)] {
        // three nearest: 1 has 1 + 1 + 2.25, 2 has 0.25 + 1 + 4, 2.5 has 0.25 + 2.25 + 2.25
        let at = [0.0, 1.0, 2.0, 2.5, 4.0, 40.0];
        let rows: Vec<Vec<f64>> = at.iter().map(|x| vec![x * unit; LEN]).collect();
        let found = aggregate("krum", dtype, &rows).unwrap()[0] / unit;
        assert!((found - 1.0).abs() < 1e-3, "{dtype} {unit}: {found}");
        let found = aggregate("geometric_median", dtype, &rows).unwrap()[0] / unit;
        assert!((0.0..=4.5).contains(&found) || unit < 1e-6, "{dtype} {unit}: {found}");
    }
}

/// Rules and pre-aggregators with the members that their parameters need, and what is said when there is one less.
#[test]
fn members_too_few_or_too_many_for_the_parameters_are_refused_with_the_bound() {
    for (name, params, bound, says) in [
        ("trimmed_mean", json!({"f": 2}), 5, "n ≥ 2f + 1 with f = 2"),
        ("krum", json!({"f": 2}), 7, "n ≥ 2f + 3 with f = 2"),
        ("multikrum", json!({"f": 2}), 7, "n ≥ 2f + 3 with f = 2"),
        ("multikrum", json!({"f": 2, "m": 7}), 9, "m ≤ n − f with m = 7, f = 2"),
        ("bulyan", json!({"f": 1}), 7, "n ≥ 4f + 3 with f = 1"),
        ("fedavg", json!({"pre": [{"name": "nnm", "f": 3}]}), 7, "n ≥ 2f + 1 with f = 3"),
        ("fedavg", json!({"pre": [{"name": "arc", "f": 3}]}), 7, "n ≥ 2f + 1 with f = 3"),
        // of 2 + 2 + … the rule sees half as many
        ("krum", json!({"f": 1, "pre": [{"name": "bucketing", "s": 2}]}), 9, "n ≥ 2f + 3 with f = 1"),
    ] {
        let of = |n: usize| with(name, &params, DType::F32, &vec![vec![0.5; LEN]; n]);
        of(bound).unwrap();
        let error = of(bound - 1).unwrap_err();
        assert_eq!(error.code(), nsfl_types::Code::NoQuorum, "{name} {params}");
        assert!(error.to_string().contains(says), "{name} {params}: {error}");
    }
    let error = with("fedbuff", &json!({"k": 3}), DType::F32, &vec![vec![0.5; LEN]; 4]).unwrap_err();
    assert_eq!(error.to_string(), "fedbuff takes at most 3 updates, not 4");
}

#[test]
fn a_weight_or_a_learning_rate_out_of_range_is_refused() {
    let base = file(&[("w", DType::F64, &[0.0; LEN])]);
    for weight in [0.0, -1.0, f64::NAN, f64::INFINITY, 2e9] {
        let members = [One { weight, ..one(0, base.clone()) }];
        let e = run(&rule("fedavg", &json!({})), &base, None, &members, With::default()).unwrap_err();
        assert_eq!(e.code(), nsfl_types::Code::BadWeight, "{weight}");
    }
    for learning_rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let rule = rule("fedavg", &json!({})).with_server(Server::Sgd { learning_rate });
        let e = run(&rule, &base, None, &[one(0, base.clone())], With::default()).unwrap_err();
        assert!(matches!(e, AggregateError::BadLearningRate(_)), "{learning_rate}: {e}");
    }
}

#[test]
fn a_value_that_is_not_finite_is_refused_before_any_rule_with_its_place() {
    for dtype in [DType::F64, DType::F32, DType::F16, DType::Bf16] {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for at in 0..LEN {
                let mut row = vec![1.0; LEN];
                row[at] = bad;
                let update = file(&[("layer.w", dtype, &row)]);
                let view = WeightsView::parse(&update).unwrap();
                let e = check_update(view.layout(), &view).unwrap_err();
                assert_eq!(e.to_string(), format!("tensor 'layer.w' holds a value that is not finite at index {at}"));
            }
        }
    }
}

/// What was kept with a NaN is not carried on: the next state is refused by its tensor's name.
#[test]
fn a_state_that_is_not_finite_is_refused_by_name() {
    let base = file(&[("w", DType::F64, &[0.0; LEN])]);
    for (name, slot) in [("fedavgm", "fedavgm.v/w"), ("centered_clipping", "centered_clipping.v/w")] {
        let mut kept = [0.0; LEN];
        kept[3] = f64::NAN;
        let state = file(&[(slot, DType::F64, &kept)]);
        let members = members(DType::F64, &vec![vec![1.0; LEN]; 3]);
        let e = run(&rule(name, &json!({})), &base, Some(&state), &members, With::default()).unwrap_err();
        assert_eq!(e.code(), nsfl_types::Code::NotFinite, "{name}: {e}");
    }
}

#[test]
fn what_a_rule_needs_of_a_member_is_demanded_by_name() {
    let base = file(&[("w", DType::F64, &[0.0; LEN])]);
    for (name, fact) in [("fednova", "local_steps"), ("qfedavg", "initial_loss")] {
        let mut members = members(DType::F64, &vec![vec![1.0; LEN]; 3]);
        members[1].numbers = json!({});
        let e = run(&rule(name, &params(name)), &base, None, &members, With::default()).unwrap_err();
        assert!(e.to_string().contains(&format!("'{fact}'")), "{e}");
        assert_eq!(e.code(), nsfl_types::Code::BadUpdate);
    }
}

#[test]
fn a_state_of_another_rule_is_refused() {
    let base = file(&[("w", DType::F64, &[0.0; LEN])]);
    let state = file(&[("fedadam.m/w", DType::F64, &[0.0; LEN])]);
    for name in ["fedavg", "fedavgm", "fedadam"] {
        let members = members(DType::F64, &vec![vec![1.0; LEN]; 3]);
        let e = run(&rule(name, &json!({})), &base, Some(&state), &members, With::default()).unwrap_err();
        assert_eq!(e.code(), nsfl_types::Code::Internal, "{name}");
    }
}
