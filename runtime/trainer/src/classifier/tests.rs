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
