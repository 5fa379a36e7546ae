//! Every optimizer takes the steps of the reference, `sdk/python/tests/reference.py`, which the SDK's optimizers for PyTorch
//! and Keras take too: twenty of them, on the same data, under momentum and weight decay.
#![allow(clippy::unwrap_used, reason = "a test")]
#![allow(clippy::cast_possible_truncation, reason = "to the precision of weights")]

use nsfl_optimizer::{
    Adam, AdamSettings, Clip, FedDyn, FedProx, Noise, Optimizer, PerturbedDescent, Private, Scaffold, Sgd, SgdSettings,
};
use serde_json::Value;

const GOLDEN: &str = include_str!("golden/steps.json");
/// Single precision against double, over twenty steps.
const TOLERANCE: f32 = 1e-5;

fn numbers(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect()
}

fn rows(value: &Value) -> Vec<Vec<f32>> {
    value.as_array().unwrap().iter().map(numbers).collect()
}

fn batches(value: &Value) -> Vec<Vec<Vec<f32>>> {
    value.as_array().unwrap().iter().map(rows).collect()
}

/// Of the mean squared error of a linear model, weights [bias, weight row by row].
fn gradient(weights: &[f32], inputs: &[Vec<f32>], targets: &[Vec<f32>]) -> Vec<f32> {
    let (outputs, features) = (targets[0].len(), inputs[0].len());
    let mut sum = vec![0.0; weights.len()];
    for (x, y) in inputs.iter().zip(targets) {
        for (o, target) in y.iter().enumerate() {
            let row = outputs + o * features..outputs + (o + 1) * features;
            let output = weights[o] + weights[row.clone()].iter().zip(x).map(|(w, x)| w * x).sum::<f32>();
            let slope = 2.0 * (output - target) / (inputs.len() * outputs) as f32;
            sum[o] += slope;
            sum[row].iter_mut().zip(x).for_each(|(g, x)| *g += slope * x);
        }
    }
    sum
}

fn made(golden: &Value, case: &Value) -> Box<dyn Optimizer> {
    let setting = |name: &str| case["settings"][name].as_f64().unwrap_or(0.0);
    let given = |name: &str| case["parameters"][name].as_f64().unwrap();
    let (learning_rate, weight_decay) = (setting("learning_rate"), setting("weight_decay"));
    let nesterov = case["settings"]["nesterov"].as_bool().unwrap_or(false);
    let sgd = Sgd::new(SgdSettings { learning_rate, momentum: setting("momentum"), nesterov, weight_decay });
    let noise = || Noise::new(numbers(&golden["key"]).iter().map(|v| *v as u8).collect::<Vec<_>>().try_into().unwrap());
    let list = |name: &str| numbers(&golden[name]);
    let start = list("start");
    let clip = || Clip::new(given("clip")).unwrap();
    match case["optimizer"].as_str() {
        None => Box::new(sgd),
        Some("fedprox") => Box::new(FedProx::new(sgd, given("mu"), start)),
        Some("pgd") => Box::new(PerturbedDescent::new(sgd, given("mu"), start)),
        Some("scaffold") => Box::new(Scaffold::new(sgd, start, list("control"), list("own"))),
        Some("feddyn") => Box::new(FedDyn::new(sgd, given("alpha"), start, list("own"))),
        Some("dp_sgd") => Box::new(Private::new(sgd, clip(), given("noise_multiplier"), given("batch_size"), noise())),
        Some("dp_adam") => {
            let adam = Adam::new(AdamSettings { learning_rate, weight_decay, ..AdamSettings::default() });
            Box::new(Private::new(adam, clip(), given("noise_multiplier"), given("batch_size"), noise()))
        }
        Some(other) => panic!("{other}"),
    }
}

#[track_caller]
fn assert_near(got: &[f32], expected: &[f32], what: &str) {
    let near = got.len() == expected.len() && got.iter().zip(expected).all(|(g, e)| (g - e).abs() <= TOLERANCE);
    assert!(near, "{what}: {got:?} instead of {expected:?}");
}

#[test]
fn every_step_of_every_optimizer_is_the_references() {
    let golden: Value = serde_json::from_str(GOLDEN).unwrap();
    let (inputs, targets) = (batches(&golden["inputs"]), batches(&golden["targets"]));
    let cases = golden["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 26);
    for case in cases {
        let name = format!("{} {}", case["optimizer"], case["settings"]);
        let mut optimizer = made(&golden, case);
        let mut weights = numbers(&golden["start"]);
        let path = rows(&case["weights"]);
        assert_eq!(path.len(), 20);
        for (step, expected) in path.iter().enumerate() {
            let (x, y) = (&inputs[step], &targets[step]);
            let mut g = match optimizer.clip() {
                None => gradient(&weights, x, y),
                Some(clip) => {
                    let mut sum = vec![0.0; weights.len()];
                    let each = x.chunks(1).zip(y.chunks(1)).map(|(x, y)| gradient(&weights, x, y));
                    each.for_each(|sample| clip.add(&sample, &mut sum));
                    sum
                }
            };
            optimizer.step(&mut weights, &mut g);
            assert_near(&weights, expected, &format!("{name}, step {step}"));
        }
        let finished = optimizer.finish(&weights);
        match case.get("kept") {
            Some(kept) => assert_near(&finished.kept.unwrap(), &numbers(kept), &name),
            None => assert_eq!(finished.kept, None),
        }
        let own = numbers(&golden["own"]);
        let travels = (case["optimizer"] == "scaffold").then(|| {
            let change = numbers(&case["kept"]).into_iter().zip(own).map(|(new, old)| new - old);
            numbers(&golden["control"]).into_iter().zip(change).map(|(c, change)| c + change).collect::<Vec<_>>()
        });
        match travels {
            Some(travels) => assert_near(&finished.control.unwrap(), &travels, &name),
            None => assert_eq!(finished.control, None),
        }
    }
}
