//! Adapters of low rank against the products they stand for.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{One, With, assert_close, one, rule, run, values};
use nsfl_tensor::{DType, Layout};
use proptest::prelude::*;
use serde_json::{Value, json};

const ROWS: usize = 3;
const COLUMNS: usize = 4;
const RANK: usize = 2;

type Matrix = Vec<f64>;

/// The model, with the weight itself or without.
fn file(whole: bool, weight: &[f64], a: &[f64], b: &[f64]) -> Vec<u8> {
    let mut tensors = vec![(A, vec![RANK, COLUMNS], a), (B, vec![ROWS, RANK], b)];
    if whole {
        tensors.push((W, vec![ROWS, COLUMNS], weight));
    }
    stored(&tensors)
}

fn stored(tensors: &[(&str, Vec<usize>, &[f64])]) -> Vec<u8> {
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

/// x·y, of `rows` × `inner` and `inner` × `columns`.
fn multiplied(x: &[f64], y: &[f64], inner: usize, columns: usize) -> Matrix {
    let at = |row: &[f64], column| row.iter().enumerate().map(|(i, x)| x * y[i * columns + column]).sum();
    x.chunks(inner).flat_map(|row| (0..columns).map(move |column| at(row, column))).collect()
}

/// A member's own adapter, of a rank of its own.
#[derive(Debug, Clone)]
struct Adapter {
    rank: usize,
    weight: f64,
    a: Matrix,
    b: Matrix,
}

/// A model of which every weight has an adapter of the largest rank, unused as yet, and what its members make of it.
#[derive(Debug, Clone)]
struct Mixed {
    size: [usize; 3],
    weight: Matrix,
    a: Matrix,
    members: Vec<Adapter>,
}

impl Mixed {
    /// The member's update: its rows of A and columns of B; of the others no change.
    fn update(&self, adapter: &Adapter) -> Vec<u8> {
        let [rows, columns, rank] = self.size;
        let mut a = vec![0.0; rank * columns];
        a.iter_mut().zip(adapter.a.iter().zip(&self.a)).for_each(|(delta, (own, base))| *delta = own - base);
        let wide = |row: &[f64]| row.iter().copied().chain(vec![0.0; rank - adapter.rank]).collect::<Vec<_>>();
        let b: Matrix = adapter.b.chunks(adapter.rank).flat_map(wide).collect();
        stored(&[
            (A, vec![rank, columns], &a),
            (B, vec![rows, rank], &b),
            (W, vec![rows, columns], &vec![0.0; rows * columns]),
        ])
    }

    fn flora(&self, members: &[usize], memory: usize) -> Vec<u8> {
        let [rows, columns, rank] = self.size;
        let b = vec![0.0; rows * rank];
        let base = stored(&[
            (A, vec![rank, columns], &self.a),
            (B, vec![rows, rank], &b),
            (W, vec![rows, columns], &self.weight),
        ]);
        let member = |i: &usize| One { weight: self.members[*i].weight, ..one(*i, self.update(&self.members[*i])) };
        let members: Vec<One> = members.iter().map(member).collect();
        let rule = rule("lora", &json!({"variant": "flora", "scaling": 2.0}));
        run(&rule, &base, None, &members, With { memory, ..With::default() }).unwrap().model
    }

    /// [p₁B₁ … pₘBₘ]·[A₁; …; Aₘ], of the adapters as they are.
    fn stacked(&self) -> Matrix {
        let [rows, columns, _] = self.size;
        let total: f64 = self.members.iter().map(|adapter| adapter.weight).sum();
        let ranks: usize = self.members.iter().map(|adapter| adapter.rank).sum();
        let a: Matrix = self.members.iter().flat_map(|adapter| adapter.a.clone()).collect();
        let row = |row: usize| -> Matrix {
            let of = |m: &Adapter| times(&m.b[row * m.rank..][..m.rank], m.weight / total);
            self.members.iter().flat_map(of).collect()
        };
        let b: Matrix = (0..rows).flat_map(row).collect();
        multiplied(&b, &a, ranks, columns)
    }
}

fn mixed() -> impl Strategy<Value = (Mixed, Vec<usize>)> {
    let size = (1_usize..7, prop_oneof![4 => 1_usize..20, 1 => 200_usize..500], 1_usize..6);
    let model = size.prop_flat_map(|(rows, columns, rank)| {
        let values = |len| prop::collection::vec(-2.0_f64..2.0, len);
        let adapter = (1..=rank, 1_u32..1000).prop_flat_map(move |(rank, weight)| {
            let made = move |(a, b)| Adapter { rank, weight: f64::from(weight), a, b };
            (values(rank * columns), values(rows * rank)).prop_map(made)
        });
        let members = prop::collection::vec(adapter, 1..6);
        (values(rows * columns), values(rank * columns), members).prop_map(move |(weight, a, members)| Mixed {
            size: [rows, columns, rank],
            weight,
            a,
            members,
        })
    });
    model.prop_flat_map(|model| {
        let order: Vec<usize> = (0..model.members.len()).collect();
        (Just(model), Just(order).prop_shuffle())
    })
}

proptest! {
    #[test]
    fn flora_adds_the_product_of_the_stacked_adapters_whatever_their_ranks((model, order) in mixed()) {
        let in_order: Vec<usize> = (0..model.members.len()).collect();
        let next = model.flora(&in_order, usize::MAX);
        assert_close(&values(&next, W), &plus(&model.weight, &times(&model.stacked(), 2.0)), 1e-11);
        assert_close(&values(&next, A), &model.a, 0.0);
        prop_assert!(values(&next, B).iter().all(|b| *b == 0.0));
        // and the same bits for the same set, however it is cut
        prop_assert_eq!(model.flora(&order, 50_000), next);
    }
}

/// By hand: ¼·[1 0; 2 1][1 2; 0 1] + ¾·[1; −1][3 1] = ¼·[1 2; 2 5] + ¾·[3 1; −3 −1] = [2.5 1.25; −1.75 0.5], times s = 2.
#[test]
fn flora_with_ranks_two_and_one_is_its_check_value() {
    let adapter = |rank, weight, a: &[f64], b: &[f64]| Adapter { rank, weight, a: a.to_vec(), b: b.to_vec() };
    let model = Mixed {
        size: [2, 2, 2],
        weight: vec![1.0, 2.0, 3.0, 4.0],
        a: vec![1.0, 0.0, 0.0, 1.0],
        members: vec![
            adapter(2, 10.0, &[1.0, 2.0, 0.0, 1.0], &[1.0, 0.0, 2.0, 1.0]),
            adapter(1, 30.0, &[3.0, 1.0], &[1.0, -1.0]),
        ],
    };
    let next = model.flora(&[0, 1], usize::MAX);
    assert_close(&values(&next, W), &[6.0, 4.5, -0.5, 5.0], 1e-15);
    assert_close(&model.stacked(), &[2.5, 1.25, -1.75, 0.5], 1e-15);
}
