//! The steps that optimizers and federated optimizers make, against the formulas computed here in double precision.
#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use nsfl_tensor::DType;
use support::{Bench, Floats};

/// Weights and bias of the module `linear.pt`, as `make.py` set them.
const START: [f64; 3] = [0.5, -0.25, 0.125];
const X: [[f64; 2]; 4] = [[1.0, 2.0], [-1.0, 0.5], [0.25, -2.0], [3.0, 1.0]];
const Y: [f64; 4] = [1.0, -1.0, 2.0, 0.5];

/// Of the mean squared error over all samples.
fn gradient(w: &[f64; 3]) -> [f64; 3] {
    let mut sum = [0.0; 3];
    for (x, y) in X.iter().zip(Y) {
        let slope = 2.0 * (w[0] * x[0] + w[1] * x[1] + w[2] - y) / 4.0;
        (0..3).for_each(|i| sum[i] += slope * [x[0], x[1], 1.0][i]);
    }
    sum
}

/// Whole-batch steps, so that the order of samples does not matter.
fn bench(optimizer: &str, epochs: u32) -> Bench {
    let mut bench = Bench::begun("linear.pt", optimizer);
    bench.set("loss", "mse").set("epochs", epochs);
    bench.data("data.safetensors");
    let floats = |values: &[f64]| values.iter().flat_map(|v| (*v as f32).to_le_bytes()).collect::<Vec<u8>>();
    let x = ("x".to_owned(), DType::F32, vec![4, 2], floats(X.as_flattened()));
    bench.write_any("data.safetensors", vec![x, ("y".to_owned(), DType::F32, vec![4], floats(&Y))]);
    bench
}

fn triple(tensors: &Floats, prefix: &str) -> [f64; 3] {
    let (w, b) = (&tensors[&format!("{prefix}weight")].1, &tensors[&format!("{prefix}bias")].1);
    [w[0], w[1], b[0]].map(f64::from)
}

fn tensors(prefix: &str, [a, b, c]: [f64; 3]) -> Floats {
    [
        (format!("{prefix}weight"), (vec![1, 2], vec![a as f32, b as f32])),
        (format!("{prefix}bias"), (vec![1], vec![c as f32])),
    ]
    .into()
}

#[track_caller]
fn assert_near(got: [f64; 3], expected: [f64; 3]) {
    assert!(got.iter().zip(expected).all(|(g, e)| (g - e).abs() < 2e-6), "{got:?} instead of {expected:?}");
}

/// `steps` of stochastic gradient descent where `more` is added to each gradient.
fn descend(
    steps: u32,
    rate: f64,
    momentum: f64,
    (decay, nesterov): (f64, bool),
    more: impl Fn(&[f64; 3]) -> [f64; 3],
) -> [f64; 3] {
    let (mut w, mut buffer) = (START, [0.0; 3]);
    for step in 0..steps {
        let (g, extra, before) = (gradient(&w), more(&w), w);
        for i in 0..3 {
            let g = g[i] + extra[i] + decay * before[i];
            buffer[i] = if step == 0 { g } else { momentum * buffer[i] + g };
            w[i] -= rate * if nesterov { g + momentum * buffer[i] } else { buffer[i] };
        }
    }
    w
}

fn trained(bench: &mut Bench) -> [f64; 3] {
    bench.train("w.safetensors").unwrap();
    triple(&bench.floats("w.safetensors"), "")
}

#[test]
fn sgd_with_momentum_nesterov_and_decay_steps_as_its_formula() {
    let none = |_: &[f64; 3]| [0.0; 3];
    let plain = r#"{"loss": "mse", "learning_rate": 0.05}"#;
    assert_near(trained(&mut bench(plain, 1)), descend(1, 0.05, 0.0, (0.0, false), none));
    let heavy = r#"{"loss": "mse", "learning_rate": 0.05, "momentum": 0.9, "weight_decay": 0.1}"#;
    assert_near(trained(&mut bench(heavy, 5)), descend(5, 0.05, 0.9, (0.1, false), none));
    let ahead = r#"{"loss": "mse", "learning_rate": 0.05, "momentum": 0.9, "nesterov": true}"#;
    assert_near(trained(&mut bench(ahead, 5)), descend(5, 0.05, 0.9, (0.0, true), none));
}

#[test]
fn adam_and_adamw_step_as_their_formulas() {
    let adam = |decay: f64, decoupled: bool| {
        let (mut w, mut m, mut v) = (START, [0.0; 3], [0.0; 3]);
        for step in 1..=5 {
            let g = gradient(&w);
            for i in 0..3 {
                let g = if decoupled { g[i] } else { g[i] + decay * w[i] };
                w[i] *= if decoupled { 1.0 - 0.05 * decay } else { 1.0 };
                m[i] = 0.9 * m[i] + 0.1 * g;
                v[i] = 0.999 * v[i] + 0.001 * g * g;
                let (m, v) = (m[i] / (1.0 - 0.9_f64.powi(step)), v[i] / (1.0 - 0.999_f64.powi(step)));
                w[i] -= 0.05 * m / (v.sqrt() + 1e-8);
            }
        }
        w
    };
    let text =
        |name: &str| format!(r#"{{"loss": "mse", "optimizer": "{name}", "learning_rate": 0.05, "weight_decay": 0.2}}"#);
    assert_near(trained(&mut bench(&text("adam"), 5)), adam(0.2, false));
    assert_near(trained(&mut bench(&text("adamw"), 5)), adam(0.2, true));
}

#[test]
fn fedprox_pulls_toward_the_global_model_under_momentum_too() {
    let text = r#"{"loss": "mse", "learning_rate": 0.05, "momentum": 0.9}"#;
    let free = trained(&mut bench(text, 5));
    let pulled = trained(bench(text, 5).optimizer(r#"{"name": "fedprox", "mu": 0.7}"#));
    let prox = |w: &[f64; 3]| [0, 1, 2].map(|i| 0.7 * (w[i] - START[i]));
    assert_near(pulled, descend(5, 0.05, 0.9, (0.0, false), prox));
    let distance = |w: [f64; 3]| w.iter().zip(START).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
    assert!(distance(pulled) < distance(free), "{pulled:?} {free:?}");
}

#[test]
fn scaffold_corrects_each_step_and_hands_over_the_change_of_its_control_variate() {
    let (c, own) = ([0.3, -0.2, 0.1], [-0.1, 0.4, 0.2]);
    let mut bench = bench(r#"{"loss": "mse", "learning_rate": 0.05}"#, 4);
    bench.optimizer(r#"{"name": "scaffold"}"#);
    let mut base = bench.floats("base.safetensors");
    base.extend(tensors("scaffold.c/", c));
    bench.write("base.safetensors", &base);
    bench.write("state/scaffold.safetensors", &tensors("", own));

    let got = trained(&mut bench);
    let expected = descend(4, 0.05, 0.0, (0.0, false), |_| [0, 1, 2].map(|i| c[i] - own[i]));
    assert_near(got, expected);
    // the paper's option II
    let new = [0, 1, 2].map(|i| own[i] - c[i] + (START[i] - expected[i]) / (4.0 * 0.05));
    assert_near(triple(&bench.floats("out/state/scaffold.safetensors"), ""), new);
    let travels = [0, 1, 2].map(|i| c[i] + new[i] - own[i]);
    assert_near(triple(&bench.floats("w.safetensors"), "scaffold.c/"), travels);
    assert_eq!(bench.floats("w.safetensors").len(), 4);

    // a client's first time: its own is zero
    std::fs::remove_file(bench.path("state/scaffold.safetensors")).unwrap();
    assert_near(trained(&mut bench), descend(4, 0.05, 0.0, (0.0, false), |_| c));
    // evaluation passes the control variate over
    bench.evaluate("base.safetensors").unwrap();
}

#[test]
fn bytes_are_scaled_reshaped_and_classified_with_logits() {
    let mut bench = Bench::begun("linear.pt", r#"{"loss": "bce_with_logits", "scale": 255, "input_shape": [2]}"#);
    let folder = bench.data("images");
    std::fs::create_dir(&folder).unwrap();
    // three images of 1 × 2: 0.5 a − 0.25 b + 0.125 is 0.625, −0.125, 0.375
    std::fs::write(
        folder.join("t10k-images-idx3-ubyte"),
        [&[0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2][..], &[255, 0, 0, 255, 255, 255]].concat(),
    )
    .unwrap();
    std::fs::write(folder.join("t10k-labels-idx1-ubyte"), [0, 0, 8, 1, 0, 0, 0, 3, 1, 0, 0]).unwrap();
    let metrics = bench.evaluate("base.safetensors").unwrap();
    let sigmoid = |z: f64| 1.0 / (1.0 + (-z).exp());
    let loss = -(sigmoid(0.625).ln() + (1.0 - sigmoid(-0.125)).ln() + (1.0 - sigmoid(0.375)).ln()) / 3.0;
    assert!((metrics.get("loss").unwrap() - loss).abs() < 1e-6, "{metrics:?} {loss}");
    assert!((metrics.get("accuracy").unwrap() - 2.0 / 3.0).abs() < 1e-9, "{metrics:?}");
}
