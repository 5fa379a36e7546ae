//! Modules, weights and data that do not fit: each is named, with a code, and no task hangs or crashes.
#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use nsfl_tensor::DType;
use nsfl_types::Code;
use support::Bench;

const MSE: &str = r#"{"loss": "mse"}"#;
const CLASSES: &str = r#"{"loss": "cross_entropy"}"#;

/// Four samples of `features` floats with F32 or integer targets.
fn with_data(bench: &mut Bench, features: usize, classes: Option<i64>) {
    bench.data("data.safetensors");
    let x = ("x".to_owned(), DType::F32, vec![4, features], vec![0; 16 * features]);
    let y = match classes {
        Some(label) => ("y".to_owned(), DType::I64, vec![4], label.to_le_bytes().repeat(4)),
        None => ("y".to_owned(), DType::F32, vec![4], vec![0; 16]),
    };
    bench.write_any("data.safetensors", vec![x, y]);
}

#[track_caller]
fn refused(bench: &mut Bench, code: Code, says: &str) {
    let e = bench.train("w.safetensors").unwrap_err();
    assert!(e.to_string().contains(says), "{e}");
    assert_eq!(e.code(), code, "{e}");
    assert!(!bench.path("w.safetensors").exists());
}

#[test]
fn a_module_that_is_not_there_or_not_one() {
    let mut bench = Bench::begun("linear.pt", MSE);
    with_data(&mut bench, 2, None);
    bench.task.task_entry = "nothing.pt".to_owned();
    refused(&mut bench, Code::ScriptMissing, "task_entry: nothing.pt cannot be read: No such file");
    std::fs::write(bench.path("text.pt"), "no module").unwrap();
    bench.task.task_entry = "text.pt".to_owned();
    refused(&mut bench, Code::BadDocument, "task_entry: text.pt is not a TorchScript module");
}

#[test]
fn weights_of_another_model_with_the_tensor_named() {
    let mut bench = Bench::begun("linear.pt", MSE);
    with_data(&mut bench, 2, None);
    let base = bench.floats("base.safetensors");
    let mut other = base.clone();
    let bias = other.remove("bias").unwrap();
    bench.write("base.safetensors", &other);
    refused(&mut bench, Code::WrongNames, "base.safetensors cannot be used: tensor 'bias' is missing");
    other.insert("shift".to_owned(), bias);
    other.insert("bias".to_owned(), base["bias"].clone());
    bench.write("base.safetensors", &other);
    refused(&mut bench, Code::WrongNames, "tensor 'shift' is not part of the model");
    other.remove("shift");
    other.insert("weight".to_owned(), (vec![1, 3], vec![0.0; 3]));
    bench.write("base.safetensors", &other);
    refused(&mut bench, Code::WrongShape, "tensor 'weight' has the shape [1, 3]; the model's is [1, 2]");
    std::fs::write(bench.path("base.safetensors"), b"pickle").unwrap();
    refused(&mut bench, Code::BadUpdate, "not readable as safetensors");
}

#[test]
fn scaffold_without_its_control_variate() {
    let mut bench = Bench::begun("linear.pt", MSE);
    with_data(&mut bench, 2, None);
    bench.optimizer(r#"{"name": "scaffold"}"#);
    refused(&mut bench, Code::WrongNames, "tensor 'scaffold.c/bias' is missing");
}

#[test]
fn data_that_do_not_fit_loss_or_module() {
    let mut bench = Bench::begun("linear.pt", MSE);
    with_data(&mut bench, 3, None);
    refused(&mut bench, Code::TrainerFailed, "the computation failed: mat1 and mat2 shapes cannot be multiplied");
    bench.set("input_shape", vec![2]);
    refused(&mut bench, Code::BadDataset, "a sample has the shape [3]; parameters.input_shape [2] does not fit");
    bench.task.parameters.remove("input_shape");

    let x = ("x".to_owned(), DType::F32, vec![4, 2], vec![0; 32]);
    bench.write_any("data.safetensors", vec![x.clone(), ("y".to_owned(), DType::F32, vec![3], vec![0; 12])]);
    refused(&mut bench, Code::BadDataset, "x [4, 2] and y [3] are not as many samples");
    bench.write_any("data.safetensors", vec![x.clone(), ("y".to_owned(), DType::F32, vec![4, 2], vec![0; 32])]);
    refused(&mut bench, Code::TrainerFailed, "output has the shape [4, 1]; the loss needs [4, 2]");
    bench.write_any("data.safetensors", vec![x]);
    refused(&mut bench, Code::BadDataset, "has no tensor 'y'");
    std::fs::write(bench.path("data.safetensors"), b"x").unwrap();
    refused(&mut bench, Code::BadDataset, "data.safetensors: is not readable as safetensors");
}

#[test]
fn labels_that_are_no_classes_of_the_module() {
    let mut bench = Bench::begun("mlp.pt", CLASSES);
    with_data(&mut bench, 64, Some(10));
    refused(&mut bench, Code::BadDataset, "the label 10 is not from 0 to below 10");
    with_data(&mut bench, 64, Some(-1));
    refused(&mut bench, Code::BadDataset, "the label -1 is not from 0 to below 10");
    with_data(&mut bench, 64, None);
    refused(&mut bench, Code::BadDataset, "this loss needs class numbers, integers");
}

#[test]
fn an_output_that_is_no_tensor_and_a_training_that_diverges() {
    let mut bench = Bench::begun("two.pt", MSE);
    with_data(&mut bench, 2, None);
    refused(&mut bench, Code::TrainerFailed, "the computation failed: ");
    let mut bench = Bench::begun("linear.pt", r#"{"loss": "mse", "learning_rate": 1e30, "epochs": 9}"#);
    with_data(&mut bench, 2, None);
    refused(&mut bench, Code::TrainerFailed, "the training diverged");
}
