//! What FedAvg promises: the same bits for the same set of members, the right value, no overflow.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{One, With, one, rule};
use nsfl_aggregate::{AggregateError, Partial, Plan, Round};
use nsfl_compress::Update;
use nsfl_tensor::{BLOCK_BYTES, DType, Layout, WeightsView};
use nsfl_types::Code;
use proptest::prelude::*;
use serde_json::{Value, json};

type Member = (f64, Vec<u8>);

fn file(dtype: DType, data: &[u8]) -> Vec<u8> {
    let shape = vec![data.len() / dtype.size()];
    [Layout::new([("w".to_owned(), dtype, shape)]).unwrap().header_bytes(), data.to_vec()].concat()
}

fn f32_file(values: &[f32]) -> Vec<u8> {
    file(DType::F32, &values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>())
}

fn f32_values(file: &[u8]) -> Vec<f32> {
    let view = WeightsView::parse(file).unwrap();
    view.tensor(0).as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

fn ones(members: &[Member]) -> Vec<One> {
    members.iter().enumerate().map(|(i, (weight, update))| One { weight: *weight, ..one(i, update.clone()) }).collect()
}

fn run(params: &Value, base: &[u8], members: &[Member]) -> Result<Vec<u8>, AggregateError> {
    common::run(&rule("fedavg", params), base, None, &ones(members), With::default()).map(|next| next.model)
}

/// With the parameters' defaults.
fn mean(base: &[u8], members: &[Member]) -> Result<Vec<u8>, AggregateError> {
    run(&json!({}), base, members)
}

fn plan(base: &[u8], members: &[Member]) -> Plan {
    let base = WeightsView::parse(base).unwrap();
    let updates: Vec<_> = members.iter().map(|(_, update)| Update::parse(update).unwrap()).collect();
    let members = common::members(base.layout(), &ones(members), &updates);
    let round = Round { model: base.layout(), members: &members, clients: members.len(), seed: 0 };
    rule("fedavg", &json!({})).plan(&round, None).unwrap()
}

/// Any finite float, with a fair share of zeros, subnormals and values near the largest.
fn any_value() -> impl Strategy<Value = f32> {
    prop_oneof![
        4 => any::<u32>().prop_map(f32::from_bits).prop_filter("finite", |x| x.is_finite()).prop_map(|x| x / 4.0),
        4 => -1.0_f32..1.0,
        1 => Just(0.0_f32),
        1 => Just(1e38_f32),
        1 => Just(1e-45_f32),
    ]
}

fn any_members() -> impl Strategy<Value = Vec<Member>> {
    let weight = prop_oneof![4 => (1_u32..10_000).prop_map(f64::from), 1 => 1e-9_f64..1e9, 1 => Just(1e-300)];
    (1_usize..40).prop_flat_map(move |len| {
        let member = (weight.clone(), prop::collection::vec(any_value(), len).prop_map(|v| f32_file(&v)));
        prop::collection::vec(member, 1..12)
    })
}

fn zeros_like(members: &[Member]) -> Vec<u8> {
    f32_file(&vec![0.0; f32_values(&members[0].1).len()])
}

proptest! {
    #[test]
    fn any_order_of_members_gives_the_same_bits(
        (members, shuffled) in any_members().prop_flat_map(|m| (Just(m.clone()), Just(m).prop_shuffle())),
        uniform: bool,
    ) {
        let (base, params) = (zeros_like(&members), json!({"learning_rate": 0.7, "uniform": uniform}));
        prop_assert_eq!(run(&params, &base, &members), run(&params, &base, &shuffled));
    }

    #[test]
    fn any_grouping_gives_the_same_bits(members in any_members(), groups in prop::collection::vec(0_usize..4, 12)) {
        let base = zeros_like(&members);
        let plan = plan(&base, &members);
        let base_view = WeightsView::parse(&base).unwrap();
        let len = base_view.tensor(0).len();
        let mut parts = vec![Partial::new(&plan, 0, len); 4];
        for (i, (_, update)) in members.iter().enumerate().rev() {
            parts[groups[i]].accumulate(i, WeightsView::parse(update).unwrap().tensor(0)).unwrap();
        }
        let mut whole = parts.pop().unwrap();
        parts.into_iter().for_each(|part| whole.merge(part).unwrap());
        let mut out = vec![0; len];
        whole.finish(base_view.tensor(0), &mut out).unwrap();
        prop_assert_eq!(f32_file(&f32_values(&file(DType::F32, &out))), mean(&base, &members).unwrap());
    }

    /// Against 128-bit integers: values are multiples of 2^-60, weights whole.
    #[test]
    fn the_result_is_that_of_exact_arithmetic_within_the_stated_bound(
        members in prop::collection::vec((1_i64..1_000_000, -(1_i64 << 24)..1 << 24, -36_i32..20), 1..30),
        base in -100.0_f32..100.0,
    ) {
        let x = |mantissa: i64, e: i32| (mantissa as f64 * 2_f64.powi(e)) as f32;
        let updates: Vec<Member> = members.iter().map(|(w, m, e)| (*w as f64, f32_file(&[x(*m, *e)]))).collect();
        let got = f32_values(&mean(&f32_file(&[base]), &updates).unwrap())[0];
        let total: i64 = members.iter().map(|m| m.0).sum();
        let sum: i128 = members.iter().map(|(w, m, e)| i128::from(*w) * (i128::from(*m) << (e + 60))).sum();
        let largest = members.iter().map(|(w, m, e)| (*w as f64 * f64::from(x(*m, *e))).abs()).fold(0.0, f64::max);
        let exact = f64::from(base) + sum as f64 / 2_f64.powi(60) / total as f64;
        let half_ulp = f64::from(got.abs().next_up() - got.abs()) / 2.0;
        let bound = half_ulp + members.len() as f64 * largest / total as f64 * 2_f64.powi(-50) + exact.abs() * 2_f64.powi(-50);
        prop_assert!((f64::from(got) - exact).abs() <= bound, "{got} is not {exact} within {bound}");
    }

    #[test]
    fn one_member_of_any_weight_moves_the_base_by_its_delta(
        weight in prop_oneof![1e-12_f64..1e9, Just(1e-300)],
        pairs in prop::collection::vec((-1e3_f32..1e3, -1.0_f32..1.0), 1..50),
    ) {
        let (base, delta): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
        let out = f32_values(&mean(&f32_file(&base), &[(weight, f32_file(&delta))]).unwrap());
        for ((out, base), delta) in out.iter().zip(&base).zip(&delta) {
            let exact = f64::from(*base) + f64::from(*delta);
            let ulp = f64::from(out.abs().next_up() - out.abs());
            prop_assert!((f64::from(*out) - exact).abs() <= ulp + 2_f64.powi(-50));
        }
    }
}

#[test]
fn the_mean_is_weighted_by_samples_and_uniform_ignores_them() {
    let members = [(30.0, f32_file(&[1.0, -2.0])), (10.0, f32_file(&[5.0, 2.0]))];
    let base = f32_file(&[10.0, 10.0]);
    let of = |params: Value| f32_values(&run(&params, &base, &members).unwrap());
    assert_eq!(of(json!({})), [12.0, 9.0]);
    assert_eq!(of(json!({"learning_rate": 0.5})), [11.0, 9.5]);
    assert_eq!(of(json!({"uniform": true})), [13.0, 10.0]);
}

#[test]
fn huge_and_subnormal_values_are_averaged_without_overflow() {
    let members: Vec<Member> = (0..100).map(|_| (1e9, f32_file(&[3.4e38, -3.4e38]))).collect();
    assert_eq!(f32_values(&mean(&f32_file(&[0.0; 2]), &members).unwrap()), [3.4e38, -3.4e38]);
    let tiny = f32::from_bits(1);
    let members: Vec<Member> = (0..100).map(|_| (1e-9, f32_file(&[tiny, 0.0]))).collect();
    assert_eq!(f32_values(&mean(&f32_file(&[0.0; 2]), &members).unwrap()), [tiny, 0.0]);
}

#[test]
fn an_aggregate_beyond_the_data_type_is_refused_by_name() {
    let e = mean(&f32_file(&[0.0, 3e38]), &[(1.0, f32_file(&[0.0, 3e38]))]).unwrap_err();
    assert_eq!(e.code(), Code::NotFinite);
    assert_eq!(e.to_string(), "the aggregate of tensor 'w' is not finite at index 1");
}

#[test]
fn integers_take_the_maximum_with_their_own_sign() {
    let member =
        |values: &[i64]| (1.0, file(DType::I64, &values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>()));
    let members = [member(&[-1, 5, i64::MIN]), member(&[-3, 7, -1]), member(&[-2, 6, 2])];
    assert_eq!(mean(&member(&[0, 0, 0]).1, &members).unwrap(), member(&[-1, 7, 2]).1);
}

#[test]
fn the_other_float_types_are_averaged_in_their_own_precision() {
    let f64_file = |x: f64| file(DType::F64, &x.to_le_bytes());
    let members = [(1.0, f64_file(1.0)), (3.0, f64_file(0.25))];
    assert_eq!(mean(&f64_file(1e-3), &members).unwrap(), f64_file(1e-3 + 0.4375));
    // 1.0 and 1.5 in both half formats; their mean is 1.25
    for (dtype, one, one_and_half, between) in
        [(DType::F16, 0x3c00_u16, 0x3e00, 0x3d00), (DType::Bf16, 0x3f80, 0x3fc0, 0x3fa0)]
    {
        let of = |bits: u16| file(dtype, &bits.to_le_bytes());
        let members = [(1.0, of(one)), (1.0, of(one_and_half))];
        assert_eq!(mean(&of(0), &members).unwrap(), of(between));
    }
}

#[test]
fn a_tensor_longer_than_a_block_is_put_together_without_a_seam() {
    let len = BLOCK_BYTES / 4 * 2 + 5;
    let delta: Vec<f32> = (0..len).map(|i| i as f32).collect();
    let out = mean(&f32_file(&vec![1.0; len]), &[(3.0, f32_file(&delta))]).unwrap();
    assert!(f32_values(&out).iter().enumerate().all(|(i, x)| *x == i as f32 + 1.0));
}

#[test]
fn a_block_with_a_member_too_few_is_not_finished() {
    let base = f32_file(&[0.0]);
    let members = [(1.0, f32_file(&[1.0])), (1.0, f32_file(&[1.0]))];
    let plan = plan(&base, &members);
    let mut partial = Partial::new(&plan, 0, 4);
    partial.accumulate(0, &[0; 4]).unwrap();
    assert_eq!(partial.finish(&[0; 4], &mut [0; 4]).unwrap_err().code(), Code::Internal);
    assert_eq!(partial.accumulate(1, &[0; 8]).unwrap_err().code(), Code::Internal);
}
