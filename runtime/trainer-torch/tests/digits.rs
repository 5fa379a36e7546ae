//! Networks that PyTorch made learn handwritten digits in the program, as the daemon starts it.
#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use nsfl_tensor::WeightsView;
use nsfl_trainer::digits;
use support::Bench;

const DIGITS: &[u8] = include_bytes!("../../../data/digits/digits.csv.gz");
const MLP: &str = r#"{"loss": "cross_entropy", "optimizer": "sgd", "learning_rate": 0.1, "momentum": 0.9, "epochs": 10,
    "scale": 16}"#;
const CNN: &str = r#"{"loss": "cross_entropy", "optimizer": "adam", "learning_rate": 0.003, "epochs": 5, "scale": 16,
    "input_shape": [1, 8, 8]}"#;

fn bench(module: &str, parameters: &str) -> Bench {
    let mut bench = Bench::begun(module, parameters);
    let folder = digits::split(DIGITS, 1, 1, bench.dir.path()).unwrap().remove(0);
    bench.task.datasets = [("digits".to_owned(), folder)].into();
    bench
}

#[test]
fn a_network_with_a_hidden_layer_learns_them_and_repeats_itself_to_the_byte() {
    let mut bench = bench("mlp.pt", MLP);
    let before = bench.evaluate("base.safetensors").unwrap();
    let metrics = bench.train("a.safetensors").unwrap();
    assert!(metrics.get("spend_time").unwrap() > 0.0);
    assert_eq!(metrics.get("sample_num"), Some(1442.0));
    let after = bench.evaluate("a.safetensors").unwrap();
    assert!(before.get("accuracy").unwrap() < 0.3 && after.get("accuracy").unwrap() > 0.93, "{before:?} {after:?}");
    assert_eq!(after.get("sample_num"), Some(355.0));
    assert!(after.get("loss").unwrap() < 0.3, "{after:?}");

    // order and dropout come from the seed
    let again = bench.train("b.safetensors").unwrap();
    assert_eq!((again.get("loss"), again.get("accuracy")), (metrics.get("loss"), metrics.get("accuracy")));
    bench.task.seed = 2;
    bench.train("c.safetensors").unwrap();
    assert!(bench.bytes("a.safetensors") == bench.bytes("b.safetensors"));
    assert!(bench.bytes("a.safetensors") != bench.bytes("c.safetensors"));
}

#[test]
fn a_convolutional_one_too_and_its_batch_normalisation_travels() {
    let mut bench = bench("cnn.pt", CNN);
    std::fs::create_dir(bench.path("out")).unwrap();
    bench.train("a.safetensors").unwrap();
    let after = bench.evaluate("a.safetensors").unwrap();
    assert!(after.get("accuracy").unwrap() > 0.95, "{after:?}");

    let counted = |file: &str| {
        let bytes = bench.bytes(file);
        let view = WeightsView::parse(&bytes).unwrap();
        let at = view.layout().tensors().iter().position(|t| t.name == "1.num_batches_tracked").unwrap();
        i64::from_le_bytes(view.tensor(at).try_into().unwrap())
    };
    // 1442 samples in batches of 32, of which the last has 2
    assert_eq!((counted("base.safetensors"), counted("a.safetensors")), (0, 5 * 46));
    let mean = |file: &str| bench.floats(file)["1.running_mean"].clone();
    assert!(mean("base.safetensors").1.iter().all(|m| *m == 0.0) && mean("a.safetensors").1.iter().any(|m| *m != 0.0));

    let progress: serde_json::Value = serde_json::from_slice(&bench.bytes("out/progress.json")).unwrap();
    assert_eq!((&progress["done"], &progress["message"]), (&0.8.into(), &"epoch 5 of 5".into()));

    // an evaluation that left the buffers out would normalise with mean 0 and variance 1
    let mut without = bench.floats("a.safetensors");
    let base = bench.floats("base.safetensors");
    for name in ["1.running_mean", "1.running_var"] {
        without.insert(name.to_owned(), base[name].clone());
    }
    let counter = ("1.num_batches_tracked".to_owned(), nsfl_tensor::DType::I64, vec![], vec![0; 8]);
    let bytes = |(name, (shape, values)): (String, (Vec<usize>, Vec<f32>))| {
        (name, nsfl_tensor::DType::F32, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect())
    };
    bench.write_any("without.safetensors", without.into_iter().map(bytes).chain([counter]).collect());
    let worse = bench.evaluate("without.safetensors").unwrap();
    assert!(worse.get("loss").unwrap() > after.get("loss").unwrap() * 1.05, "{worse:?} {after:?}");
}
