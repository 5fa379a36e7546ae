//! Values at the ends of their range, for every rule: equal, zero, one, subnormal, huge but finite, and not finite.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{One, With, file, one, rule, run, values};
use nsfl_aggregate::{AggregateError, RULES};
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

fn members(dtype: DType, rows: &[Vec<f64>]) -> Vec<One> {
    let numbers = json!({"local_steps": 3, "initial_loss": 1.0});
    let member = |(i, row): (usize, &Vec<f64>)| One { numbers: numbers.clone(), ..one(i, file(&[("w", dtype, row)])) };
    rows.iter().enumerate().map(member).collect()
}

fn aggregate(name: &str, dtype: DType, rows: &[Vec<f64>]) -> Result<Vec<f64>, AggregateError> {
    let base = file(&[("w", dtype, &[0.0; LEN])]);
    run(&rule(name, &params(name)), &base, None, &members(dtype, rows), With::default())
        .map(|next| values(&next.model, "w"))
}

/// Rules whose result from equal updates is that update.
fn keeps_what_is_equal(name: &str) -> bool {
    !matches!(name, "fedadagrad" | "fedyogi" | "fedadam" | "feddyn" | "qfedavg" | "centered_clipping")
}

#[test]
fn equal_updates_give_that_update_and_zeros_give_zeros() {
    for dtype in [DType::F64, DType::F32, DType::F16, DType::Bf16] {
        for value in [0.0, 1.0, -1.0, 0.375] {
            for name in RULES {
                let found = aggregate(name, dtype, &vec![vec![value; LEN]; 7]).unwrap();
                if keeps_what_is_equal(name) || value == 0.0 {
                    let close = found.iter().all(|x| (x - value).abs() <= 1e-12);
                    assert!(close, "{name} {dtype} {value}: {found:?}");
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
            for name in RULES {
                match aggregate(name, dtype, &rows) {
                    Ok(found) => assert!(found.iter().all(|x| x.is_finite()), "{name} {dtype} {size}: {found:?}"),
                    // squares of huge values, kept as v
                    Err(AggregateError::NotFinite { tensor, .. }) => {
                        assert!(size == huge && tensor.contains('/'), "{name} {dtype}: {tensor}");
                        assert!(matches!(name, "fedadagrad" | "fedyogi" | "fedadam" | "feddyn"), "{name}");
                    }
                    Err(e) => panic!("{name} {dtype} {size}: {e}"),
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
