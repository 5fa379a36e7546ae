//! A node that was built with an aggregation rule of its own (`examples/custom-rule`): jobs name it and are checked for it, and
//! `aggregate` and `replay` of that program know it.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use nsfl_integration::{Federation, Options, Place, Signal, binary, digits_job, node, said};
use nsfl_tensor::WeightsView;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const CLIENTS: usize = 3;

fn program() -> PathBuf {
    binary("nsfl-custom-rule").unwrap()
}

fn own(args: &[&str]) -> Output {
    Command::new(program()).args(args).stdin(Stdio::null()).output().unwrap()
}

fn start() -> Federation {
    let server_extra = "aggregation = { keep_rounds = 1 }\n".to_owned();
    Federation::start(&Options { program: Some(program()), clients: CLIENTS, server_extra, ..Options::default() })
        .unwrap()
}

fn job(params: Value) -> Value {
    let mut job = digits_job("digits", CLIENTS, 2);
    job["aggregator"] = json!({"name": "by_accuracy", "params": params});
    job
}

/// The whole file's values, one tensor after the other.
fn values(file: &Path) -> Vec<f64> {
    let bytes = std::fs::read(file).unwrap();
    let view = WeightsView::parse(&bytes).unwrap();
    bytes[view.start(0)..].as_chunks().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect()
}

#[test]
fn a_job_by_a_rule_that_the_node_was_built_with_ends_with_the_model_that_the_rule_says() {
    let mut federation = start();
    federation.submit(&job(json!({"power": 8}))).unwrap();
    let digest = federation.model("digits").unwrap();
    federation.server.signal(Signal::Terminate).unwrap();
    assert_eq!(federation.server.wait().unwrap().code(), Some(0));

    let record = std::fs::read(federation.stored("out/fl_digits_output_V1/round_2.json")).unwrap();
    let record: Value = serde_json::from_slice(&record).unwrap();
    let objects = federation.data(Place::Server).join("blobs/objects");
    let blob = |blob: &Value| {
        let digest = blob["digest"].as_str().unwrap();
        objects.join(&digest[..2]).join(digest)
    };
    let members = record["members"].as_array().unwrap();
    assert_eq!((members.len(), record["model"]["digest"].as_str()), (CLIENTS, Some(digest.as_str())));
    let accuracy: Vec<f64> = members.iter().map(|m| m["update"]["metrics"]["accuracy"].as_f64().unwrap()).collect();
    assert!(accuracy.iter().any(|a| *a != accuracy[0]), "the clients' data are unlike: {accuracy:?}");

    // by the rule's definition, in plain loops
    let updates: Vec<PathBuf> = members.iter().map(|member| blob(&member["update"]["blob"])).collect();
    let weighed = |weights: &[f64]| {
        let (mut next, total) = (values(&blob(&record["base"])), weights.iter().sum::<f64>());
        for (update, weight) in updates.iter().zip(weights) {
            next.iter_mut().zip(values(update)).for_each(|(x, delta)| *x += weight / total * delta);
        }
        next
    };
    let model = federation.stored("out/fl_digits_output_V1/checkpoint_2.safetensors");
    let farthest = |expected: Vec<f64>| {
        let found = values(&model);
        assert_eq!(found.len(), expected.len());
        found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    };
    let eighth: Vec<f64> = accuracy.iter().map(|a| a.powi(8)).collect();
    assert!(farthest(weighed(&eighth)) < 1e-6);
    assert!(farthest(weighed(&[1.0; CLIENTS])) > 1e-4, "which is not what the mean would give");

    // the tool makes the same bytes of the same files
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    let (base, out) = (text(blob(&record["base"])), text(federation.folder().join("out.safetensors")));
    let numbers: Vec<Value> = accuracy.iter().map(|a| json!({"accuracy": a})).collect();
    let (numbers, files) = (json!(numbers).to_string(), updates.iter().cloned().map(text).collect::<Vec<_>>());
    let mut args = vec!["aggregate", "--rule", "by_accuracy", "--params", r#"{"power": 8}"#, "--numbers", &numbers];
    args.extend(["--base", base.as_str(), "--out", out.as_str()]);
    args.extend(files.iter().map(String::as_str));
    let made = own(&args);
    assert_eq!(made.status.code(), Some(0), "{}", said(&made));
    assert_eq!(std::fs::read(&out).unwrap(), std::fs::read(&model).unwrap());

    let config = federation.folder().join("server.toml");
    let args = ["replay", "digits", "--round", "2", "--json", "--config", &config.to_string_lossy()];
    let again = own(&args);
    assert_eq!(again.status.code(), Some(0), "{}", said(&again));
    assert_eq!(serde_json::from_slice::<Value>(&again.stdout).unwrap()["equal"], true);
    let without = node(&args);
    assert_eq!(without.status.code(), Some(1));
    assert!(said(&without).contains("'by_accuracy' is unknown"), "{}", said(&without));
}

#[test]
fn its_parameters_are_checked_with_the_document_and_a_node_without_it_refuses_its_name() {
    let federation = start();
    let refused = |federation: &Federation, job: &Value| {
        let answer = federation.rest.post("/namespaces/default/jobs", job).unwrap();
        assert_eq!(answer.status, 403, "{answer:?}");
        format!("{answer:?}")
    };
    let says = refused(&federation, &job(json!({"power": -1})));
    assert!(says.contains("aggregator.params.power") && says.contains("out of range"), "{says}");
    let says = refused(&federation, &job(json!({"powr": 2})));
    assert!(says.contains("unknown to by_accuracy; allowed: learning_rate, power, pre, server"), "{says}");
    let mixed = json!({"pre": [{"name": "nnm", "f": 0}]});
    assert!(refused(&federation, &job(mixed)).contains("must see each member's own update"));

    let plain = Federation::start(&Options { clients: 0, ..Options::default() }).unwrap();
    assert!(refused(&plain, &job(json!({}))).contains("'by_accuracy' is unknown; allowed: fedavg"));
}
