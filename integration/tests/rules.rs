//! Aggregation rules through the programs: jobs by rules that keep a state or see all updates end the same when the server
//! is killed; `nsfl-node aggregate` gives the specification's check values; a held round is made again to the bit.
#![allow(clippy::unwrap_used, clippy::cast_precision_loss, reason = "a test ends at the first surprise")]

use nsfl_integration::{Federation, Options, Signal, digits_job, node, said};
use nsfl_tensor::{DType, Layout, WeightsView};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const ROUNDS: u32 = 6;

fn start(aggregator: &Value, server_extra: &str) -> Federation {
    let clients = 3;
    let options = Options { clients, server_extra: server_extra.to_owned(), ..Options::default() };
    let federation = Federation::start(&options).unwrap();
    let mut job = digits_job("digits", clients, ROUNDS);
    job["aggregator"] = aggregator.clone();
    federation.submit(&job).unwrap();
    federation
}

#[test]
fn jobs_that_keep_a_state_or_see_all_updates_end_with_the_same_model_when_the_server_is_killed() {
    for aggregator in [
        json!({"name": "fedadam", "params": {"learning_rate": 0.03}}),
        json!({"name": "trimmed_mean", "params": {"f": 1}}),
    ] {
        let expected = start(&aggregator, "").model("digits").unwrap();
        let mut federation = start(&aggregator, "");
        for kind in ["update-accepted", "round-closed"] {
            federation.rest.wait_for("digits", |e| e.kind == kind && e.fields["round"] != 1).unwrap();
            federation.server.kill().unwrap();
            federation.restart_server().unwrap();
        }
        assert_eq!(federation.model("digits").unwrap(), expected, "{aggregator}");
    }
}

#[test]
fn a_held_round_is_made_again_to_the_bit_and_one_that_is_not_held_says_what_is() {
    let extra = "aggregation = { keep_rounds = 2 }\n";
    let mut federation = start(&json!({"name": "fedadam", "params": {"learning_rate": 0.03}}), extra);
    federation.model("digits").unwrap();
    federation.server.signal(Signal::Terminate).unwrap();
    assert_eq!(federation.server.wait().unwrap().code(), Some(0));
    let config = federation.folder().join("server.toml");
    let replay =
        |round: &str| node(&["replay", "digits", "--round", round, "--json", "--config", &config.to_string_lossy()]);
    for round in ["5", "6"] {
        let output = replay(round);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&report["equal"], &report["members"]), (&json!(true), &json!(3)), "{report}");
        assert_eq!(report["model"], report["recomputed"]);
    }
    let gone = replay("4");
    assert_eq!(gone.status.code(), Some(1));
    assert!(said(&gone).contains("round 4 of run 1 of job default/digits is not held"), "{}", said(&gone));
    // a record that was changed does not come out
    let file = federation.stored("out/fl_digits_output_V1/round_6.json");
    let mut record: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    record["members"][0]["update"]["weight"] = json!("1");
    std::fs::write(&file, record.to_string()).unwrap();
    let changed = replay("6");
    assert_eq!(changed.status.code(), Some(1));
    assert!(said(&changed).contains("does not come out as it is stored"), "{}", said(&changed));
}

/// Files of one tensor `w`, and of others, in a folder.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_string_lossy().into_owned()
    }

    fn put(&self, name: &str, tensors: &[(&str, &[f64])]) -> String {
        let layout = Layout::new(tensors.iter().map(|(n, v)| ((*n).to_owned(), DType::F64, vec![v.len()]))).unwrap();
        let mut bytes = layout.header_bytes();
        for spec in layout.tensors() {
            let values = tensors.iter().find(|tensor| tensor.0 == spec.name).unwrap().1;
            bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        }
        std::fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    fn w(&self, name: &str, values: &[f64]) -> String {
        self.put(name, &[("w", values)])
    }

    /// Runs the tool; the updates come last.
    fn run(&self, rule: &str, params: &Value, more: &[&str], base: &str, updates: &[String]) -> PathBuf {
        let (out, params) = (self.path("out.safetensors"), params.to_string());
        let mut args = vec!["aggregate", "--rule", rule, "--params", &params, "--base", base, "--out", &out];
        args.extend(more);
        args.extend(updates.iter().map(String::as_str));
        let output = node(&args);
        assert_eq!(output.status.code(), Some(0), "{rule}: {}", said(&output));
        out.into()
    }
}

fn close(file: &Path, tensor: &str, expected: &[f64]) {
    let bytes = std::fs::read(file).unwrap();
    let view = WeightsView::parse(&bytes).unwrap();
    let index = view.layout().tensors().iter().position(|spec| spec.name == tensor).unwrap();
    let found: Vec<f64> = view.tensor(index).as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect();
    assert_eq!(found.len(), expected.len());
    assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{tensor}: {found:?}, not {expected:?}");
}

#[test]
fn the_tool_gives_the_check_values_of_server_optimizers_over_three_rounds_by_their_state_files() {
    let files = Files::new();
    let deltas = [[0.1, -0.2, 0.05], [0.05, 0.1, -0.02], [-0.03, 0.04, 0.01]];
    for (rule, rate, expected) in [
        ("fedadagrad", 0.1, [1.030_532_786_1, -2.014_914_403_1, 0.520_185_293_3]),
        ("fedyogi", 0.1, [1.281_094_504_4, -2.142_818_472_1, 0.670_061_276_4]),
        ("fedadam", 0.1, [1.282_122_578_9, -2.143_065_471_3, 0.670_610_743_6]),
        ("fedavgm", 1.0, [1.336, -2.312, 0.6075]),
    ] {
        let base = files.w("base", &[1.0, -2.0, 0.5]);
        let params = json!({"learning_rate": rate});
        for (round, delta) in deltas.iter().enumerate() {
            let update = files.w("update", delta);
            let (before, after) = (files.path(&format!("s{round}")), files.path(&format!("s{}", round + 1)));
            let mut more = vec!["--state-out", &after];
            if round > 0 {
                more.extend(["--state", before.as_str()]);
            }
            let out = files.run(rule, &params, &more, &base, &[update]);
            std::fs::rename(out, &base).unwrap();
        }
        close(Path::new(&base), "w", &expected);
    }
}

#[test]
fn the_tool_gives_the_check_values_of_robust_rules() {
    let files = Files::new();
    let base = files.w("base", &[0.0; 5]);
    let value = |i: usize, j: usize| match i {
        9 => 100.0 * (j + 1) as f64,
        10 => -50.0,
        _ => ((7 * i + 13 * j) % 17) as f64 / 10.0 - 0.8 + 0.01 * i as f64,
    };
    let rows = (0..11).map(|i| (0..5).map(|j| value(i, j)).collect::<Vec<f64>>());
    let updates: Vec<String> = rows.enumerate().map(|(i, row)| files.w(&format!("u{i}"), &row)).collect();
    for (rule, params, expected) in [
        ("median", json!({}), [-0.09, -0.06, 0.1, 0.13, 0.01]),
        ("trimmed_mean", json!({"f": 2}), [-0.044_285_714_3, -0.06, 0.127_142_857_1, 0.071_428_571_4, 0.055_714_285_7]),
        ("krum", json!({"f": 2}), [-0.22, -0.62, 0.68, 0.28, -0.12]),
        (
            "multikrum",
            json!({"f": 2, "m": 9}),
            [-0.037_777_777_8, -0.06, 0.106_666_666_7, 0.084_444_444_4, 0.062_222_222_2],
        ),
    ] {
        close(&files.run(rule, &params, &[], &base, &updates), "w", &expected);
        // whole weights to a base of zeros are the same
        close(&files.run(rule, &params, &["--absolute"], &base, &updates), "w", &expected);
    }
}

#[test]
fn the_tool_gives_the_check_values_of_fednova_scaffold_and_feddyn() {
    let files = Files::new();
    let base = files.w("base", &[1.0, 1.0]);
    let updates = [files.w("u0", &[-0.2, 0.1]), files.w("u1", &[-0.5, -0.3])];
    let numbers = json!([{"local_steps": 2}, {"local_steps": 5}]).to_string();
    let more = ["--weights", "0.4,0.6", "--numbers", &numbers];
    close(&files.run("fednova", &json!({}), &more, &base, &updates), "w", &[0.62, 0.9392]);
    let listed = json!({"local_steps": [2, 5]});
    close(&files.run("fednova", &listed, &["--weights", "0.4,0.6"], &base, &updates), "w", &[0.62, 0.9392]);

    let c = "scaffold.c/w";
    let base = files.put("base", &[("w", &[1.0, 2.0]), (c, &[0.1, -0.1])]);
    // y - x, and c⁺ - c of each
    let updates = [
        files.put("u0", &[("w", &[-0.2, -0.1]), (c, &[0.3, 0.3])]),
        files.put("u1", &[("w", &[-0.1, 0.2]), (c, &[0.1, -0.3])]),
    ];
    let out = files.run("scaffold", &json!({}), &["--clients", "4"], &base, &updates);
    close(&out, "w", &[0.85, 2.05]);
    close(&out, c, &[0.2, -0.1]);

    let base = files.w("base", &[1.0, 2.0]);
    let updates = [files.w("u0", &[0.8, 1.9]), files.w("u1", &[0.9, 2.2])];
    let state = files.path("h");
    let more = ["--clients", "4", "--absolute", "--state-out", &state];
    close(&files.run("feddyn", &json!({"alpha": 0.1}), &more, &base, &updates), "w", &[0.775, 2.075]);
    close(Path::new(&state), "feddyn.h/w", &[0.0075, -0.0025]);
}

#[test]
fn the_tool_says_what_is_wrong_and_writes_nothing() {
    let files = Files::new();
    let base = files.w("base", &[1.0, 1.0]);
    let (good, nan, other) =
        (files.w("u0", &[0.1, 0.1]), files.w("u1", &[f64::NAN, 0.0]), files.put("u2", &[("v", &[1.0])]));
    let out = files.path("out");
    for (rule, params, updates, code, says) in [
        ("meen", "{}", &good, 2, "aggregator.name: 'meen' is unknown"),
        ("median", "{\"f\":1}", &good, 2, "aggregator.params.f: is unknown"),
        ("krum", "{\"f\":1}", &good, 1, "krum needs at least 5 updates"),
        ("fedavg", "{}", &nan, 1, "u1: "),
        ("fedavg", "{}", &other, 1, "u2: "),
        ("fednova", "{}", &good, 1, "needs the metric 'local_steps'"),
    ] {
        let output = node(&["aggregate", "--rule", rule, "--params", params, "--base", &base, "--out", &out, updates]);
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        assert!(said(&output).contains(says), "{}", said(&output));
        assert!(!Path::new(&out).exists());
    }
}
