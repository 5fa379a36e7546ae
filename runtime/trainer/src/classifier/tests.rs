//! The classifier learns, repeats itself to the byte, and says what is wrong with its parameters, data or weights.

use super::*;
use nsfl_types::Code;
use std::path::Path;

const PARAMETERS: &str = r#"{"features": 2, "classes": 2, "hidden": 8, "epochs": 40, "seed": 1}"#;

/// Exclusive or: no linear model separates it.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let line = |i: u8| {
        let (a, b) = (i & 1, i >> 1 & 1);
        format!("{}.{},{}.{},{}\n", a, i % 3, b, i % 2, a ^ b)
    };
    let text: String = (0..200).map(line).collect();
    std::fs::write(dir.path().join("train.csv"), &text).unwrap();
    std::fs::write(dir.path().join("test.csv"), (0..100).map(line).collect::<String>()).unwrap();
    dir
}

fn task(dir: &Path, work: Work, seed: u64, parameters: &str) -> TrainerTask {
    TrainerTask {
        work,
        task_entry: "classifier".into(),
        parameters: serde_json::from_str(parameters).unwrap(),
        optimizer: None,
        gpu: false,
        seed,
        datasets: [("xor".to_owned(), dir.to_owned())].into(),
        result: dir.join("result.json"),
    }
}

fn init(dir: &Path, parameters: &str) {
    run(&task(dir, Work::Init { out_weights: dir.join("base") }, 3, parameters)).unwrap();
}

fn train(dir: &Path, seed: u64, out: &str, parameters: &str) -> Result<Metrics, TaskError> {
    let work = Work::Train { base: dir.join("base"), out_weights: dir.join(out) };
    run(&task(dir, work, seed, parameters))
}

#[test]
fn it_learns_what_no_linear_model_can_and_the_same_seed_gives_the_same_bytes() {
    let dir = folder();
    init(dir.path(), PARAMETERS);
    let metrics = train(dir.path(), 1, "a", PARAMETERS).unwrap();
    assert_eq!(metrics.get("sample_num"), Some(200.0));
    assert!(metrics.get("accuracy").unwrap() > 0.95, "{metrics:?}");
    assert_eq!(train(dir.path(), 1, "b", PARAMETERS).unwrap(), metrics);
    train(dir.path(), 2, "c", PARAMETERS).unwrap();
    let read = |name: &str| std::fs::read(dir.path().join(name)).unwrap();
    assert!(read("a") == read("b") && read("a") != read("c"));

    let evaluate = task(dir.path(), Work::Evaluate { base: dir.path().join("a") }, 1, PARAMETERS);
    let metrics = run(&evaluate).unwrap();
    assert_eq!(metrics.get("sample_num"), Some(100.0));
    assert!(metrics.get("accuracy").unwrap() > 0.95, "{metrics:?}");
}

#[test]
fn without_a_hidden_layer_it_is_softmax_regression() {
    let dir = folder();
    let linear = r#"{"features": 2, "classes": 2}"#;
    init(dir.path(), linear);
    let bytes = std::fs::read(dir.path().join("base")).unwrap();
    let view = nsfl_tensor::WeightsView::parse(&bytes).unwrap();
    let names: Vec<_> = view.layout().tensors().iter().map(|t| (t.name.as_str(), t.shape.clone())).collect();
    assert_eq!(names, [("output.bias", vec![2]), ("output.weight", vec![2, 2])]);
    assert!(train(dir.path(), 1, "a", linear).unwrap().get("accuracy").unwrap() < 0.8);
}

fn with(dir: &Path, optimizer: &str, out: &str, parameters: &str) -> Result<Metrics, TaskError> {
    let work = Work::Train { base: dir.join("base"), out_weights: dir.join(out) };
    run(&TrainerTask { optimizer: Some(serde_json::from_str(optimizer).unwrap()), ..task(dir, work, 1, parameters) })
}

/// Values of a file, by name.
fn floats(path: &Path) -> std::collections::BTreeMap<String, Vec<f32>> {
    let bytes = std::fs::read(path).unwrap();
    let view = nsfl_tensor::WeightsView::parse(&bytes).unwrap();
    let values = |i| view.tensor(i).as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    view.layout().tensors().iter().enumerate().map(|(i, t)| (t.name.clone(), values(i))).collect()
}

#[test]
fn an_optimizer_that_corrects_nothing_gives_the_same_bytes_as_none() {
    let dir = folder();
    let momentum = PARAMETERS.replace("40", r#"2, "momentum": 0.9, "nesterov": true, "weight_decay": 0.01"#);
    init(dir.path(), &momentum);
    train(dir.path(), 1, "none", &momentum).unwrap();
    let read = |name: &str| std::fs::read(dir.path().join(name)).unwrap();
    for name in ["fedprox", "pgd"] {
        with(dir.path(), &format!(r#"{{"name": "{name}", "mu": 0}}"#), name, &momentum).unwrap();
        assert!(read(name) == read("none"), "{name}");
        with(dir.path(), &format!(r#"{{"name": "{name}", "mu": 1}}"#), name, &momentum).unwrap();
        assert!(read(name) != read("none"), "{name}");
    }
    assert!(!dir.path().join("out").exists(), "they keep nothing");
}

/// A base with control variates, all `c`.
fn add_controls(dir: &Path, c: f32) {
    let bytes = std::fs::read(dir.join("base")).unwrap();
    let view = nsfl_tensor::WeightsView::parse(&bytes).unwrap();
    let layout = nsfl_aggregate::with_controls(view.layout()).unwrap();
    let own = floats(&dir.join("base"));
    let values = layout.tensors().iter().flat_map(|t| own.get(&t.name).cloned().unwrap_or(vec![c; t.elements()]));
    let data = values.flat_map(f32::to_le_bytes).collect::<Vec<u8>>();
    std::fs::write(dir.join("base"), [layout.header_bytes(), data].concat()).unwrap();
}

#[test]
fn scaffold_sends_the_change_of_its_control_variate_and_finds_it_again() {
    let dir = folder();
    let once = PARAMETERS.replace("40", r#"1, "batch_size": 200"#);
    init(dir.path(), &once);
    add_controls(dir.path(), 0.25);
    with(dir.path(), r#"{"name": "scaffold"}"#, "a", &once).unwrap();
    let (base, sent) = (floats(&dir.path().join("base")), floats(&dir.path().join("a")));
    let kept = floats(&dir.path().join("out/state/scaffold.safetensors"));
    assert_eq!((kept.len(), sent.len()), (4, 8));
    for (name, new) in &kept {
        let (x, y, travels) = (&base[name], &sent[name], &sent[&format!("scaffold.c/{name}")]);
        for i in 0..new.len() {
            // one step with g + c − cᵢ, cᵢ = 0: cᵢ⁺ = (x − y)/η − c
            assert!((new[i] - ((x[i] - y[i]) / 0.1 - 0.25)).abs() < 1e-5, "{name} {i}");
            assert!((travels[i] - (0.25 + new[i])).abs() < 1e-6, "{name} {i}");
        }
    }
    // as a client does when the update was accepted: cᵢ is the gradient of all samples now, the step is c alone
    std::fs::rename(dir.path().join("out/state"), dir.path().join("state")).unwrap();
    with(dir.path(), r#"{"name": "scaffold"}"#, "b", &once).unwrap();
    for (name, y) in floats(&dir.path().join("b")).iter().filter(|(name, _)| kept.contains_key(*name)) {
        assert!(y.iter().zip(&base[name]).all(|(y, x)| (x - y - 0.1 * 0.25).abs() < 1e-5), "{name}");
    }
    // the base of an evaluation has them too
    let evaluate = task(dir.path(), Work::Evaluate { base: dir.path().join("base") }, 1, &once);
    let scaffold = serde_json::from_str(r#"{"name": "scaffold"}"#).unwrap();
    run(&TrainerTask { optimizer: Some(scaffold), ..evaluate.clone() }).unwrap();
    assert_eq!(run(&evaluate).unwrap_err().code(), Code::WrongNames);
}

#[test]
fn feddyn_keeps_what_it_moved_by_and_sends_weights_alone() {
    let dir = folder();
    init(dir.path(), PARAMETERS);
    with(dir.path(), r#"{"name": "feddyn", "alpha": 0.5}"#, "a", PARAMETERS).unwrap();
    let (base, sent) = (floats(&dir.path().join("base")), floats(&dir.path().join("a")));
    let kept = floats(&dir.path().join("out/state/feddyn.safetensors"));
    assert!(sent.keys().eq(base.keys()) && kept.keys().eq(base.keys()));
    for (name, h) in &kept {
        let moved = sent[name].iter().zip(&base[name]).map(|(y, x)| y - x);
        assert!(h.iter().zip(moved).all(|(h, moved)| (h + 0.5 * moved).abs() < 1e-6), "{name}");
    }
    std::fs::rename(dir.path().join("out/state"), dir.path().join("state")).unwrap();
    with(dir.path(), r#"{"name": "feddyn", "alpha": 0.5}"#, "b", PARAMETERS).unwrap();
    assert_ne!(floats(&dir.path().join("b")), sent, "what was kept is used");
}

#[test]
fn private_noise_is_not_the_seeds_and_a_bound_without_noise_limits_the_step() {
    let dir = folder();
    let one = PARAMETERS.replace("40", r#"1, "batch_size": 200, "learning_rate": 2"#);
    init(dir.path(), &one);
    let moved = |out: &str| {
        let (base, sent) = (floats(&dir.path().join("base")), floats(&dir.path().join(out)));
        let squares =
            sent.iter().flat_map(|(name, y)| y.iter().zip(&base[name]).map(|(y, x)| f64::from(y - x).powi(2)));
        squares.sum::<f64>().sqrt()
    };
    for name in ["dp_sgd", "dp_adam"] {
        let noisy = format!(r#"{{"name": "{name}", "noise_multiplier": 2}}"#);
        with(dir.path(), &noisy, "a", &one).unwrap();
        with(dir.path(), &noisy, "b", &one).unwrap();
        assert_ne!(floats(&dir.path().join("a")), floats(&dir.path().join("b")), "{name}: the server knows the seed");
    }
    // every sample is in the batch: a step of η times the mean of 200 gradients, each cut at C
    with(dir.path(), r#"{"name": "dp_sgd", "clip": 0.001, "noise_multiplier": 0}"#, "c", &one).unwrap();
    assert!((0.0001..0.002).contains(&moved("c")), "{}", moved("c"));
    // and without a bound to speak of the step of plain descent
    with(dir.path(), r#"{"name": "dp_sgd", "clip": 1000, "noise_multiplier": 0}"#, "d", &one).unwrap();
    train(dir.path(), 1, "e", &one).unwrap();
    let (d, e) = (floats(&dir.path().join("d")), floats(&dir.path().join("e")));
    assert!(d.iter().all(|(name, d)| d.iter().zip(&e[name]).all(|(d, e)| (d - e).abs() < 1e-5)), "{d:?} {e:?}");
}

#[test]
fn training_tells_what_rules_want_to_know_of_it() {
    let dir = folder();
    let few = PARAMETERS.replace("40", r#"3, "batch_size": 30, "learning_rate": 0.05, "momentum": 0.5"#);
    init(dir.path(), &few);
    let start = task(dir.path(), Work::Evaluate { base: dir.path().join("base") }, 1, &few);
    let metrics = train(dir.path(), 1, "a", &few).unwrap();
    // 200 samples: seven batches a pass
    for (name, value) in [("local_steps", 21.0), ("local_learning_rate", 0.05), ("momentum", 0.5)] {
        assert_eq!(metrics.get(name), Some(value), "{name}");
    }
    assert_eq!(metrics.get("mu"), None);
    std::fs::copy(dir.path().join("train.csv"), dir.path().join("test.csv")).unwrap();
    assert_eq!(metrics.get("initial_loss"), run(&start).unwrap().get("loss"), "of the model it was given");
    let metrics = with(dir.path(), r#"{"name": "fedprox", "mu": 0.3}"#, "b", PARAMETERS).unwrap();
    assert_eq!((metrics.get("mu"), metrics.get("momentum")), (Some(0.3), None));
    let metrics = with(dir.path(), r#"{"name": "dp_adam"}"#, "c", PARAMETERS).unwrap();
    assert_eq!((metrics.get("local_steps"), metrics.get("local_learning_rate")), (Some(800.0), Some(0.001)));
}

#[test]
fn a_site_in_a_drill_sends_what_it_ordered_of_itself_and_reports_as_ever() {
    let dir = folder();
    init(dir.path(), PARAMETERS);
    let told = train(dir.path(), 1, "honest", PARAMETERS).unwrap();
    let order = |text: &str| std::fs::write(dir.path().join("drill.json"), text).unwrap();
    let base = floats(&dir.path().join("base"));
    let change = |out: &str| -> Vec<f32> {
        let y = floats(&dir.path().join(out));
        y.iter().flat_map(|(name, y)| y.iter().zip(&base[name]).map(|(y, x)| y - x).collect::<Vec<_>>()).collect()
    };
    let honest = change("honest");
    for (text, factor) in [
        (r#"{"delay_ms": 1}"#, 1.0),
        (r#"{"attack": "sign_flip"}"#, -1.0),
        (r#"{"attack": "sign_flip", "factor": 3}"#, -3.0),
        (r#"{"attack": "scale", "factor": 10}"#, 10.0),
    ] {
        order(text);
        assert_eq!(train(dir.path(), 1, "sent", PARAMETERS).unwrap(), told, "{text}");
        assert!(change("sent").iter().zip(&honest).all(|(s, h)| (s - factor * h).abs() < 1e-4), "{text}");
    }
    order(r#"{"attack": "noise", "factor": 2}"#);
    train(dir.path(), 1, "sent", PARAMETERS).unwrap();
    let size = |values: &[f32]| values.iter().map(|v| v * v).sum::<f32>().sqrt();
    let (sent, expected) = (size(&change("sent")), 2.0 * size(&honest));
    assert!((0.5..2.0).contains(&(sent / expected)) && change("sent") != honest, "{sent} {expected}");
    // a site that mistypes its order learns of it, and sends nothing
    for (text, says) in [
        (r#"{"attack": "flip"}"#, "unknown variant `flip`"),
        (r#"{"attak": "noise"}"#, "unknown field `attak`"),
        (r#"{"factor": -1}"#, "factor: must be a finite number ≥ 0"),
    ] {
        order(text);
        let e = train(dir.path(), 1, "sent", PARAMETERS).unwrap_err();
        assert!(e.code() == Code::BadDataset && e.to_string().contains(says), "{e}");
    }
}

#[test]
fn wrong_parameters_are_named() {
    let dir = folder();
    let says = |parameters: &str| {
        let e = train(dir.path(), 1, "a", parameters).unwrap_err();
        assert_eq!(e.code(), Code::BadDocument);
        e.to_string()
    };
    let unknown = says(r#"{"features": 2, "classes": 2, "epoch": 3}"#);
    assert!(
        unknown.starts_with("parameters.epoch: unknown field `epoch`, expected one of `features`, `classes`, `hidden`"),
        "{unknown}"
    );
    assert_eq!(says(r#"{"classes": 2}"#), "parameters: missing field `features`");
    assert_eq!(
        says(r#"{"features": 2, "classes": 2, "batch_size": 0}"#),
        "parameters.batch_size: must be an integer ≥ 1"
    );
    assert_eq!(
        says(r#"{"features": 2, "classes": 2, "momentum": 1}"#),
        "parameters.momentum: must be from 0 to below 1"
    );
    assert_eq!(
        says(r#"{"features": 2, "classes": 2, "nesterov": true}"#),
        "parameters.nesterov: needs a momentum above 0"
    );
    let heavy = r#"{"features": 2, "classes": 2, "momentum": 0.5}"#;
    let optimizer = |text: &str| with(dir.path(), text, "a", heavy).unwrap_err().to_string();
    assert_eq!(optimizer(r#"{"name": "dp_adam"}"#), "parameters.momentum: is not for optimizer dp_adam");
    assert!(optimizer(r#"{"name": "fedprox", "mu": -1}"#).starts_with("optimizer.mu: -1 is out of range"));
    assert!(
        says(r#"{"features": 2, "classes": 2, "scale": "x"}"#).starts_with("parameters.scale: invalid type: string")
    );
}

#[test]
fn data_weights_and_learning_rates_that_do_not_fit_are_told_apart() {
    let dir = folder();
    init(dir.path(), PARAMETERS);
    let three = r#"{"features": 3, "classes": 2, "hidden": 8}"#;
    assert_eq!(train(dir.path(), 1, "a", three).unwrap_err().code(), Code::BadDataset);
    let wide = r#"{"features": 2, "classes": 2, "hidden": 9}"#;
    let e = train(dir.path(), 1, "a", wide).unwrap_err();
    assert_eq!(e.code(), Code::WrongShape);
    assert!(e.into_failure().reason.ends_with("tensor 'hidden.bias' has the shape [8]; the model's is [9]"));
    let wild = r#"{"features": 2, "classes": 2, "hidden": 8, "learning_rate": 1e30}"#;
    assert!(matches!(train(dir.path(), 1, "a", wild).unwrap_err(), TaskError::Diverged(_)));
}
