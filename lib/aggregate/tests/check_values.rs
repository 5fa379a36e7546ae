//! Every check value of the specification, to 1e-6 and closer.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{One, With, assert_close, model, one, ones, rule, run, values, w};
use nsfl_tensor::DType;
use serde_json::{Value, json};

/// x0 and three rounds of Δ.
fn three_rounds(name: &str, params: &Value, dtype: DType) -> Vec<f64> {
    let of = |values: &[f64]| common::file(&[("w", dtype, values)]);
    let rule = rule(name, params);
    let (mut base, mut state) = (of(&[1.0, -2.0, 0.5]), None);
    for delta in [[0.1, -0.2, 0.05], [0.05, 0.1, -0.02], [-0.03, 0.04, 0.01]] {
        // the mean of two members is Δ
        let members = ones([of(&delta.map(|d| d * 1.5)), of(&delta.map(|d| d * 0.5))]);
        let next = run(&rule, &base, state.as_deref(), &members, With::default()).unwrap();
        (base, state) = (next.model, next.state);
    }
    values(&base, "w")
}

#[test]
fn server_optimizers_are_where_the_specification_has_them_after_three_rounds() {
    let adaptive = json!({"beta1": 0.9, "beta2": 0.99, "tau": 1e-3, "learning_rate": 0.1});
    let adagrad = json!({"beta1": 0.9, "tau": 1e-3, "learning_rate": 0.1});
    for (name, params, expected) in [
        ("fedadagrad", &adagrad, [1.030_532_786_1, -2.014_914_403_1, 0.520_185_293_3]),
        ("fedyogi", &adaptive, [1.281_094_504_4, -2.142_818_472_1, 0.670_061_276_4]),
        ("fedadam", &adaptive, [1.282_122_578_9, -2.143_065_471_3, 0.670_610_743_6]),
        ("fedavgm", &json!({"beta": 0.9, "learning_rate": 1.0}), [1.336, -2.312, 0.6075]),
    ] {
        assert_close(&three_rounds(name, params, DType::F64), &expected, 1e-9);
        assert_close(&three_rounds(name, params, DType::F32), &expected, 1e-6);
    }
}

#[test]
fn a_rule_with_a_server_optimizer_of_its_own_choice_moves_as_that_optimizer_does() {
    let nested = json!({"server": {"name": "fedadam", "learning_rate": 0.1}});
    for name in ["fedavg", "median", "geometric_median"] {
        let found = three_rounds(name, &nested, DType::F64);
        assert_close(&found, &[1.282_122_578_9, -2.143_065_471_3, 0.670_610_743_6], 1e-9);
    }
}

#[test]
fn nesterov_looks_one_step_ahead() {
    let found = three_rounds("fedavgm", &json!({"nesterov": true}), DType::F64);
    // by hand for the first coordinate: v −.1, −.14, −.096; steps Δ − .9v
    assert!((found[0] - (1.0 + 0.19 + 0.176 + 0.0564)).abs() < 1e-12, "{found:?}");
}

#[test]
fn fednova_normalises_by_local_steps() {
    let member =
        |id, weight, steps, delta: &[f64]| One { weight, numbers: json!({"local_steps": steps}), ..one(id, w(delta)) };
    let members = [member(0, 4.0, 2, &[-0.2, 0.1]), member(1, 6.0, 5, &[-0.5, -0.3])];
    let next = run(&rule("fednova", &json!({})), &w(&[1.0, 1.0]), None, &members, With::default()).unwrap();
    assert_close(&values(&next.model, "w"), &[0.62, 0.9392], 1e-12);
}

#[test]
fn scaffold_moves_model_and_control() {
    let file = |x: &[f64], c: &[f64]| common::file(&[("w", DType::F64, x), ("scaffold.c/w", DType::F64, c)]);
    let updates = [file(&[-0.2, -0.1], &[0.3, 0.3]), file(&[-0.1, 0.2], &[0.1, -0.3])];
    let next = model("scaffold", &json!({}), &file(&[1.0, 2.0], &[0.1, -0.1]), updates);
    assert_close(&values(&next, "w"), &[0.85, 2.05], 1e-12);
    assert_close(&values(&next, "scaffold.c/w"), &[0.2, -0.1], 1e-12);
}

#[test]
fn feddyn_keeps_h() {
    let members = ones([w(&[-0.2, -0.1]), w(&[-0.1, 0.2])]);
    let next = run(&rule("feddyn", &json!({"alpha": 0.1})), &w(&[1.0, 2.0]), None, &members, With::default()).unwrap();
    assert_close(&values(next.state.as_ref().unwrap(), "feddyn.h/w"), &[0.0075, -0.0025], 1e-12);
    assert_close(&values(&next.model, "w"), &[0.775, 2.075], 1e-12);
}

#[test]
fn qfedavg_is_its_formula() {
    let (q, rate) = (0.1, 0.5);
    let members: Vec<(f64, [f64; 2])> = vec![(2.0, [0.3, -0.4]), (0.5, [-0.1, 0.2])];
    let l = 1.0 / rate;
    let (mut d, mut h) = ([0.0; 2], 0.0);
    for (loss, delta) in &members {
        let f: f64 = loss + 1e-10;
        let square: f64 = delta.iter().map(|v| (l * v).powi(2)).sum();
        h += q * f.powf(q - 1.0) * square + l * f.powf(q);
        (0..2).for_each(|i| d[i] += f.powf(q) * l * -delta[i]);
    }
    let ones = members.iter().enumerate().map(|(i, (loss, delta))| One {
        numbers: json!({"initial_loss": loss, "local_learning_rate": rate}),
        ..one(i, w(delta))
    });
    let rule = rule("qfedavg", &json!({}));
    let next = run(&rule, &w(&[1.0, 1.0]), None, &ones.collect::<Vec<_>>(), With::default()).unwrap();
    assert_close(&values(&next.model, "w"), &[1.0 - d[0] / h, 1.0 - d[1] / h], 1e-12);
}

#[test]
fn a_mean_weighs_an_update_to_an_older_model_by_its_staleness() {
    // 30 samples to this model, 40 to the one three before: (30·1 + 40·½·4) / (30 + 40·½)
    let member = |(i, staleness, weight, delta): (usize, u32, f64, f64)| One {
        numbers: json!({"staleness": staleness}),
        weight,
        ..one(i, w(&[delta]))
    };
    let members = [(0, 0, 30.0, 1.0), (1, 3, 40.0, 4.0)].map(member);
    let of = |params: Value| run(&rule("fedavg", &params), &w(&[0.5]), None, &members, With::default());
    assert_close(&values(&of(json!({})).unwrap().model, "w"), &[0.5 + 110.0 / 50.0], 1e-12);
    // equal but for the staleness: (1 + ½·4) / 1½
    assert_close(&values(&of(json!({"uniform": true})).unwrap().model, "w"), &[2.5], 1e-12);
}

#[test]
fn fedbuff_divides_by_k_and_weighs_by_staleness() {
    let members = [0.0, 3.0].map(|s| One { numbers: json!({"staleness": s}), ..one(s as usize, w(&[1.0])) });
    let of = |params: Value| run(&rule("fedbuff", &params), &w(&[0.0]), None, &members, With::default());
    let next = of(json!({"k": 2, "learning_rate": 0.5})).unwrap();
    assert_close(&values(&next.model, "w"), &[0.5 / 2.0 * (1.0 + 0.5)], 1e-12);
    let e = of(json!({"max_staleness": 2})).unwrap_err();
    assert_eq!(e.to_string(), "the metric 'staleness' is 3; fedbuff takes at most 2, the job's max_staleness");
    assert_eq!(of(json!({"k": 1})).unwrap_err().to_string(), "fedbuff takes at most 1 updates, not 2");
}

/// n = 11, d = 5, f = 2; the last two are Byzantine.
fn eleven() -> Vec<Vec<f64>> {
    let value = |i: i32, j: i32| f64::from((7 * i + 13 * j) % 17) / 10.0 - 0.8 + 0.01 * f64::from(i);
    let mut rows: Vec<Vec<f64>> = (0..9).map(|i| (0..5).map(|j| value(i, j)).collect()).collect();
    rows.push((0..5).map(|j| 100.0 * f64::from(j + 1)).collect());
    rows.push(vec![-50.0; 5]);
    rows
}

fn robust(name: &str, params: &Value) -> Vec<f64> {
    values(&model(name, params, &w(&[0.0; 5]), eleven().iter().map(|row| w(row))), "w")
}

#[test]
fn robust_rules_give_the_specifications_outputs() {
    let f = json!({"f": 2});
    assert_close(&robust("median", &json!({})), &[-0.09, -0.06, 0.1, 0.13, 0.01], 1e-12);
    let trimmed = [-0.044_285_714_3, -0.06, 0.127_142_857_1, 0.071_428_571_4, 0.055_714_285_7];
    assert_close(&robust("trimmed_mean", &f), &trimmed, 1e-9);
    assert_close(&robust("krum", &f), &[-0.22, -0.62, 0.68, 0.28, -0.12], 1e-12);
    let multi = [-0.037_777_777_8, -0.06, 0.106_666_666_7, 0.084_444_444_4, 0.062_222_222_2];
    assert_close(&robust("multikrum", &json!({"f": 2, "m": 9})), &multi, 1e-9);
    assert_close(&robust("multikrum", &f), &multi, 1e-9);
}

/// By plain loops over the vectors themselves, not over inner products.
#[test]
fn geometric_median_and_centered_clipping_are_their_formulas() {
    let (rows, n) = (eleven(), 11.0);
    let distance = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
    for iterations in [1, 3, 40] {
        let mut z: Vec<f64> = (0..5).map(|j| rows.iter().map(|row| row[j]).sum::<f64>() / n).collect();
        for _ in 0..iterations {
            let pulls: Vec<f64> = rows.iter().map(|row| 1.0 / distance(row, &z).max(1e-6)).collect();
            let total: f64 = pulls.iter().sum();
            z = (0..5).map(|j| rows.iter().zip(&pulls).map(|(row, p)| row[j] * p).sum::<f64>() / total).collect();
        }
        assert_close(&robust("geometric_median", &json!({"iterations": iterations})), &z, 1e-9);
        let mut v = vec![0.0; 5];
        for _ in 0..iterations {
            let shares: Vec<f64> = rows.iter().map(|row| (1.5 / distance(row, &v)).min(1.0) / n).collect();
            let step = |j: usize| rows.iter().zip(&shares).map(|(row, s)| (row[j] - v[j]) * s).sum::<f64>();
            v = (0..5).map(|j| v[j] + step(j)).collect();
        }
        assert_close(&robust("centered_clipping", &json!({"tau": 1.5, "iterations": iterations})), &v, 1e-9);
    }
}

#[test]
fn centered_clipping_begins_where_the_last_round_ended() {
    let rule = rule("centered_clipping", &json!({"tau": 1.0, "iterations": 1}));
    let members = ones([w(&[3.0]), w(&[1.5])]);
    let first = run(&rule, &w(&[0.0]), None, &members, With::default()).unwrap();
    assert_close(&values(&first.model, "w"), &[1.0], 1e-12);
    let second = run(&rule, &first.model, first.state.as_deref(), &members, With::default()).unwrap();
    // v = 1: one pulls by 1, the other by .5; the model moves by v
    assert_close(&values(second.state.as_ref().unwrap(), "centered_clipping.v/w"), &[1.75], 1e-12);
    assert_close(&values(&second.model, "w"), &[2.75], 1e-12);
}

/// Written down again with vectors: Krum with removal, then the nearest to the median.
#[test]
fn bulyan_is_its_definition() {
    let (rows, f) = (eleven(), 2);
    let square = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
    let (mut left, mut taken): (Vec<usize>, Vec<usize>) = ((0..11).collect(), vec![]);
    while taken.len() < 11 - 2 * f {
        let score = |i: usize| {
            let mut d: Vec<f64> = left.iter().filter(|j| **j != i).map(|j| square(&rows[i], &rows[*j])).collect();
            d.sort_by(f64::total_cmp);
            d[..(left.len() - f - 2).max(1)].iter().sum::<f64>()
        };
        let best = *left.iter().min_by(|a, b| score(**a).total_cmp(&score(**b))).unwrap();
        left.retain(|i| *i != best);
        taken.push(best);
    }
    let expected: Vec<f64> = (0..5)
        .map(|j| {
            let mut column: Vec<f64> = taken.iter().map(|i| rows[*i][j]).collect();
            column.sort_by(f64::total_cmp);
            let median = column[column.len() / 2];
            column.sort_by(|a, b| (a - median).abs().total_cmp(&(b - median).abs()));
            column[..3].iter().sum::<f64>() / 3.0
        })
        .collect();
    assert_close(&robust("bulyan", &json!({"f": 2})), &expected, 1e-12);
}

#[test]
fn pre_aggregators_work_before_any_rule() {
    // mixing with the 9 nearest and then the mean: the far ones count as mixtures with the near
    let mixed = robust("median", &json!({"pre": [{"name": "nnm", "f": 2}]}));
    assert!(mixed.iter().all(|x| x.abs() < 1.0), "{mixed:?}");
    // the ⌊2·2·9/11⌋ = 3 longest are clipped to the norm of the fourth
    let clipped = robust("fedavg", &json!({"pre": [{"name": "arc", "f": 2}]}));
    assert!(clipped.iter().all(|x| x.abs() < 1.5), "{clipped:?}");
    let short = robust("fedavg", &json!({"pre": [{"name": "clipping", "max_norm": 1e-3}]}));
    assert!(short.iter().all(|x| x.abs() <= 1e-3) && short.iter().any(|x| *x != 0.0), "{short:?}");
    let both = robust("krum", &json!({"f": 2, "pre": [{"name": "arc", "f": 2}, {"name": "bucketing", "s": 1}]}));
    assert!(both.iter().all(|x| x.abs() < 1.5), "{both:?}");
}
