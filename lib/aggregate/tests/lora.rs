//! Adapters of low rank against the products they stand for.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{One, With, assert_close, one, rule, run, values};
use nsfl_tensor::{DType, Layout};
use serde_json::{Value, json};

const ROWS: usize = 3;
const COLUMNS: usize = 4;
const RANK: usize = 2;

type Matrix = Vec<f64>;

/// The model, with the weight itself or without.
fn file(whole: bool, weight: &[f64], a: &[f64], b: &[f64]) -> Vec<u8> {
    let mut tensors =
        vec![("m.q.lora_A.default.weight", vec![RANK, COLUMNS], a), ("m.q.lora_B.default.weight", vec![ROWS, RANK], b)];
    if whole {
        tensors.push(("m.q.base_layer.weight", vec![ROWS, COLUMNS], weight));
    }
    let layout = Layout::new(tensors.iter().map(|(n, shape, _)| ((*n).to_owned(), DType::F64, shape.clone()))).unwrap();
    let mut file = layout.header_bytes();
    for spec in layout.tensors() {
        let (.., values) = tensors.iter().find(|tensor| tensor.0 == spec.name).unwrap();
        file.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }
    file
}

fn numbers(seed: usize, len: usize) -> Matrix {
    (0..len).map(|i| ((seed * 31 + i * 17) % 23) as f64 / 10.0 - 1.0).collect()
}

fn product(b: &[f64], a: &[f64]) -> Matrix {
    let at = |row: usize, column: usize| (0..RANK).map(|r| b[row * RANK + r] * a[r * COLUMNS + column]).sum();
    (0..ROWS * COLUMNS).map(|i| at(i / COLUMNS, i % COLUMNS)).collect()
}

fn plus(a: &[f64], b: &[f64]) -> Matrix {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

fn times(a: &[f64], factor: f64) -> Matrix {
    a.iter().map(|a| a * factor).collect()
}

struct Case {
    weight: Matrix,
    a: Matrix,
    b: Matrix,
    /// Share, ΔA, ΔB.
    members: Vec<(f64, Matrix, Matrix)>,
}

fn case() -> Case {
    let member = |(i, share): (usize, f64)| (share, numbers(10 + i, RANK * COLUMNS), numbers(20 + i, ROWS * RANK));
    Case {
        weight: numbers(1, ROWS * COLUMNS),
        a: numbers(2, RANK * COLUMNS),
        b: numbers(3, ROWS * RANK),
        members: [0.5, 0.375, 0.125].into_iter().enumerate().map(member).collect(),
    }
}

impl Case {
    fn run(&self, params: &Value, whole: bool) -> Result<Vec<u8>, nsfl_aggregate::AggregateError> {
        let zero = vec![0.0; ROWS * COLUMNS];
        let member = |(i, (share, a, b)): (usize, &(f64, Matrix, Matrix))| One {
            weight: share * 80.0,
            ..one(i, file(whole, &zero, a, b))
        };
        let members: Vec<One> = self.members.iter().enumerate().map(member).collect();
        let base = file(whole, &self.weight, &self.a, &self.b);
        run(&rule("lora", params), &base, None, &members, With::default()).map(|next| next.model)
    }

    fn mean(&self, of: impl Fn(&(f64, Matrix, Matrix)) -> Matrix) -> Matrix {
        let sum = |sum: Option<Matrix>, member: &(f64, Matrix, Matrix)| {
            let term = times(&of(member), member.0);
            Some(sum.map_or(term.clone(), |sum| plus(&sum, &term)))
        };
        self.members.iter().fold(None, sum).unwrap()
    }
}

const A: &str = "m.q.lora_A.default.weight";
const B: &str = "m.q.lora_B.default.weight";
const W: &str = "m.q.base_layer.weight";

#[test]
fn fedit_averages_both_and_ffa_leaves_a_frozen() {
    let case = case();
    let (mean_a, mean_b) = (plus(&case.a, &case.mean(|m| m.1.clone())), plus(&case.b, &case.mean(|m| m.2.clone())));
    let next = case.run(&json!({}), false).unwrap();
    assert_close(&values(&next, A), &mean_a, 1e-12);
    assert_close(&values(&next, B), &mean_b, 1e-12);
    let next = case.run(&json!({"variant": "ffa"}), false).unwrap();
    assert_close(&values(&next, A), &case.a, 0.0);
    assert_close(&values(&next, B), &mean_b, 1e-12);
}

#[test]
fn flora_and_fedex_leave_the_effective_weight_at_the_mean_of_the_members() {
    let case = case();
    let s = 0.5;
    let products = case.mean(|m| product(&plus(&case.b, &m.2), &plus(&case.a, &m.1)));
    let expected = plus(&case.weight, &times(&products, s));
    for variant in ["flora", "fedex"] {
        let next = case.run(&json!({"variant": variant, "scaling": s}), true).unwrap();
        let (weight, a, b) = (values(&next, W), values(&next, A), values(&next, B));
        let effective = plus(&weight, &times(&product(&b, &a), s));
        assert_close(&effective, &expected, 1e-12);
        if variant == "flora" {
            assert_close(&b, &[0.0; ROWS * RANK], 0.0);
            assert_close(&a, &case.a, 0.0);
        } else {
            assert_close(&b, &plus(&case.b, &case.mean(|m| m.2.clone())), 1e-12);
        }
    }
}

#[test]
fn a_model_without_the_weight_is_refused_where_it_takes_up_products() {
    for variant in ["flora", "fedex"] {
        let e = case().run(&json!({"variant": variant}), false).unwrap_err();
        assert_eq!(e.to_string(), format!("lora: the weight that '{A}' belongs to is not in the model"));
    }
}
