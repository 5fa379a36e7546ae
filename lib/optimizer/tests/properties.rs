//! What holds for any weights and gradients: the check values, where optimizers are plain descent, the bound on a sample, and the
//! noise.
#![allow(clippy::unwrap_used, reason = "a test")]

use nsfl_optimizer::{
    Adam, AdamSettings, Clip, FedDyn, FedProx, Noise, Optimizer, PerturbedDescent, Private, Scaffold, Sgd, SgdSettings,
};
use proptest::prelude::*;

const N: usize = 5;

fn steps(optimizer: &mut dyn Optimizer, weights: &[f32], gradients: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let mut weights = weights.to_vec();
    let step = |gradient: &Vec<f32>| {
        optimizer.step(&mut weights, &mut gradient.clone());
        weights.clone()
    };
    gradients.iter().map(step).collect()
}

fn values() -> impl Strategy<Value = Vec<f32>> {
    proptest::collection::vec(-10.0_f32..10.0, N)
}

fn settings() -> impl Strategy<Value = SgdSettings> {
    (0.001..1.0, prop_oneof![Just(0.0), 0.0..0.99], any::<bool>(), prop_oneof![Just(0.0), 0.0..0.5]).prop_map(
        |(learning_rate, momentum, nesterov, weight_decay)| SgdSettings {
            learning_rate,
            momentum,
            nesterov: nesterov && momentum > 0.0,
            weight_decay,
        },
    )
}

/// Of a sample's gradient: the usual, any number, and now and then none.
fn element() -> impl Strategy<Value = f32> {
    prop_oneof![
        40 => -1.0_f32..1.0,
        20 => -1e-6_f32..1e-6,
        20 => any::<f32>(),
        1 => prop_oneof![Just(f32::NAN), Just(f32::INFINITY), Just(f32::NEG_INFINITY)],
    ]
}

fn norm(values: &[f32]) -> f64 {
    values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt()
}

proptest! {
    #[test]
    fn without_a_correction_all_are_plain_descent(
        with in settings(),
        weights in values(),
        c in values(),
        gradients in proptest::collection::vec(values(), 1..8),
    ) {
        let sgd = || Sgd::new(with);
        let plain = steps(&mut sgd(), &weights, &gradients);
        let clip = Clip::new(1e9).unwrap();
        let adam = || Adam::new(AdamSettings::default());
        let same: [&mut dyn Optimizer; 5] = [
            &mut FedProx::new(sgd(), 0.0, weights.clone()),
            &mut PerturbedDescent::new(sgd(), 0.0, weights.clone()),
            &mut Scaffold::new(sgd(), weights.clone(), c.clone(), c.clone()),
            &mut FedDyn::new(sgd(), 0.0, weights.clone(), vec![0.0; N]),
            &mut Private::new(sgd(), clip, 0.0, 1.0, Noise::new([0; 32])),
        ];
        for optimizer in same {
            prop_assert_eq!(&steps(optimizer, &weights, &gradients), &plain);
        }
        let mut private = Private::new(adam(), clip, 0.0, 1.0, Noise::new([0; 32]));
        prop_assert_eq!(steps(&mut private, &weights, &gradients), steps(&mut adam(), &weights, &gradients));
    }

    #[test]
    fn without_momentum_and_decay_perturbed_descent_is_fedprox(
        weights in values(),
        gradients in proptest::collection::vec(values(), 1..8),
        mu in 0.0..2.0,
    ) {
        let sgd = || Sgd::new(SgdSettings::plain(0.1));
        let prox = steps(&mut FedProx::new(sgd(), mu, weights.clone()), &weights, &gradients);
        let perturbed = steps(&mut PerturbedDescent::new(sgd(), mu, weights.clone()), &weights, &gradients);
        for (a, b) in prox.iter().flatten().zip(perturbed.iter().flatten()) {
            prop_assert!((a - b).abs() < 1e-4, "{a} {b}");
        }
    }

    #[test]
    fn a_constant_gradient_is_its_own_control_variate(with in settings(), weights in values(), g in values(), k in 1..9_usize) {
        let with = SgdSettings { weight_decay: 0.0, ..with };
        let mut scaffold = Scaffold::new(Sgd::new(with), weights.clone(), vec![0.0; N], vec![0.0; N]);
        let end = steps(&mut scaffold, &weights, &vec![g.clone(); k]).pop().unwrap();
        // what rounding of the weights can do, over the length of the path
        let allowed = 1e-4 / with.learning_rate.min(1.0) + 1e-4;
        for (new, g) in scaffold.finish(&end).kept.unwrap().iter().zip(&g) {
            prop_assert!(f64::from(new - g).abs() < allowed, "{new} {g}");
        }
    }

    #[test]
    fn no_sample_moves_the_sum_by_more_than_the_bound(
        sample in proptest::collection::vec(element(), 0..40),
        bound in prop_oneof![1e-3..10.0, 1e-30..1e30_f64],
    ) {
        let clip = Clip::new(bound).unwrap();
        let mut sum = vec![0.0; sample.len()];
        clip.add(&sample, &mut sum);
        prop_assert!(norm(&sum) <= bound, "{} of {}", norm(&sum), bound);
        if norm(&sample) <= bound {
            prop_assert_eq!(sum, sample);
        } else if sample.iter().all(|g| g.is_finite()) && bound > 1e-20 {
            prop_assert!(norm(&sum) > bound * (1.0 - 1e-5), "{} of {}: less than needed", norm(&sum), bound);
        } else if sample.iter().any(|g| !g.is_finite()) {
            prop_assert!(sum.iter().all(|s| *s == 0.0));
        }
    }
}

/// One optimizer of all clients, each with a constant gradient, as the specification's example has it.
fn scaffold(own: [f32; 2], gradient: [f32; 2]) -> (Vec<f32>, nsfl_optimizer::Finished) {
    let (x, c) = (vec![1.0, 2.0], vec![0.1, -0.1]);
    let mut optimizer = Scaffold::new(Sgd::new(SgdSettings::plain(0.1)), x.clone(), c, own.to_vec());
    let y = steps(&mut optimizer, &x, &vec![gradient.to_vec(); 5]).pop().unwrap();
    let finished = optimizer.finish(&y);
    (y, finished)
}

#[track_caller]
fn assert_near(got: &[f32], expected: &[f32]) {
    assert!(got.len() == expected.len() && got.iter().zip(expected).all(|(g, e)| (g - e).abs() < 1e-6), "{got:?}");
}

#[test]
fn scaffold_has_its_check_values() {
    let (y1, one) = scaffold([0.2, 0.0], [0.5, 0.3]);
    let (y2, two) = scaffold([0.0, 0.1], [0.1, -0.2]);
    assert_near(&y1, &[0.8, 1.9]);
    assert_near(&y2, &[0.9, 2.2]);
    assert_near(one.kept.as_ref().unwrap(), &[0.5, 0.3]);
    assert_near(two.kept.as_ref().unwrap(), &[0.1, -0.2]);
    let control =
        |c: f32, i: usize| c + [&one, &two].iter().map(|f| f.control.as_ref().unwrap()[i] - c).sum::<f32>() / 4.0;
    assert_near(&[control(0.1, 0), control(-0.1, 1)], &[0.2, -0.1]);
}

#[test]
fn without_a_step_scaffold_keeps_its_control_variate() {
    let optimizer = Scaffold::new(Sgd::new(SgdSettings::plain(0.1)), vec![1.0], vec![0.5], vec![0.25]);
    let finished = optimizer.finish(&[1.0]);
    assert_eq!((finished.kept, finished.control), (Some(vec![0.25]), Some(vec![0.5])));
}

#[test]
fn feddyn_is_at_rest_where_its_loss_is_least_and_then_h_is_the_gradient() {
    // F = (w − 3)²/2 from x = 1: F(w) − hw + α(w − x)²/2 is least where w − 3 − h + α(w − 1) = 0
    let (alpha, h) = (0.5, 0.2);
    let mut optimizer = FedDyn::new(Sgd::new(SgdSettings::plain(0.5)), alpha, vec![1.0], vec![h]);
    let mut w = [1.0];
    for _ in 0..50 {
        let mut gradient = [w[0] - 3.0];
        optimizer.step(&mut w, &mut gradient);
    }
    assert_near(&w, &[(3.0 + h + 0.5) / 1.5]);
    // hᵢ⁺ = hᵢ − α(y − x), which at the least point is the gradient there
    assert_near(&optimizer.finish(&w).kept.unwrap(), &[w[0] - 3.0]);
}

#[test]
fn the_same_key_gives_the_same_noise_and_it_has_the_stated_deviation() {
    let drawn = |key: u8| {
        let mut values = vec![0.0_f32; 100_001];
        Noise::new([key; 32]).add(2.5, &mut values);
        values
    };
    let values = drawn(1);
    assert_eq!(values, drawn(1));
    assert_ne!(values, drawn(2));
    let moment = |power: i32| values.iter().map(|v| f64::from(*v / 2.5).powi(power)).sum::<f64>() / 100_001.0;
    assert!(moment(1).abs() < 0.02 && (moment(2) - 1.0).abs() < 0.03, "{} {}", moment(1), moment(2));
    assert!(moment(3).abs() < 0.06 && (moment(4) - 3.0).abs() < 0.2, "{} {}", moment(3), moment(4));
    let below = |z: f32| values.iter().filter(|v| **v < 2.5 * z).count();
    assert!((83_500..84_800).contains(&below(1.0)) && (2_000..2_600).contains(&below(-2.0)));
    // no two of a pair, nor neighbours, go together
    let together = values.windows(2).map(|w| f64::from(w[0] * w[1]) / 6.25).sum::<f64>() / 100_000.0;
    assert!(together.abs() < 0.02, "{together}");
}

#[test]
fn each_step_has_noise_of_its_own_scaled_by_bound_and_batch() {
    let n = 40_000;
    let clip = Clip::new(0.5).unwrap();
    let mut private = Private::new(Sgd::new(SgdSettings::plain(1.0)), clip, 3.0, 10.0, Noise::new([7; 32]));
    assert_eq!(private.clip(), Some(clip));
    let path = steps(&mut private, &vec![0.0; n], &[vec![0.0; n], vec![0.0; n]]);
    let deviation = |values: &[f32]| norm(values) / (n as f64).sqrt();
    // σC/L = 3 · 0.5 / 10
    assert!((deviation(&path[0]) - 0.15).abs() < 0.003, "{}", deviation(&path[0]));
    assert!((deviation(&path[1]) - 0.15 * 2.0_f64.sqrt()).abs() < 0.004, "{}", deviation(&path[1]));
}

#[test]
fn samples_are_chosen_by_a_chance_of_their_own() {
    let mut noise = Noise::new([3; 32]);
    let counts: Vec<usize> = (0..200).map(|_| noise.chosen(0.25, 400).len()).collect();
    let mean = counts.iter().sum::<usize>() as f64 / 200.0;
    let variance = counts.iter().map(|n| (*n as f64 - 100.0).powi(2)).sum::<f64>() / 200.0;
    assert!((mean - 100.0).abs() < 2.5 && (40.0..120.0).contains(&variance), "{mean} {variance}");
    assert_eq!(noise.chosen(1.0, 3), [0, 1, 2]);
    assert_eq!(noise.chosen(0.0, 3), []);
}

#[test]
fn a_bound_is_finite_and_above_zero() {
    assert!([0.0, -1.0, f64::NAN, f64::INFINITY].into_iter().all(|bound| Clip::new(bound).is_none()));
}
