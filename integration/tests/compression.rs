//! Compressed jobs through the programs: the same model whoever is killed, what was saved is told, a held round is made again
//! to the bit, and the tool gives the same of the same files.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use nsfl_integration::{Federation, Options, Signal, ctl, digits_job, node, said};
use serde_json::{Value, json};

const ROUNDS: u32 = 6;
const CLIENTS: usize = 3;

fn top_and_quantised() -> Value {
    json!({"top_k": 0.2, "values": "qsgd8", "model": "f16"})
}

fn start(compression: &Value, aggregator: &Value, server_extra: &str) -> Federation {
    let options = Options { clients: CLIENTS, server_extra: server_extra.to_owned(), ..Options::default() };
    let federation = Federation::start(&options).unwrap();
    let mut job = digits_job("digits", CLIENTS, ROUNDS);
    job["compression"] = compression.clone();
    job["aggregator"] = aggregator.clone();
    federation.submit(&job).unwrap();
    federation
}

fn metrics(federation: &Federation) -> Value {
    let file = federation.stored("out/fl_digits_output_V1/metrics.json");
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

fn sum(metrics: &Value, name: &str) -> f64 {
    let list = metrics[name].as_array().unwrap_or_else(|| panic!("no {name}: {metrics}"));
    list.iter().filter_map(Value::as_f64).sum()
}

#[test]
fn a_compressed_job_ends_with_the_same_model_when_a_client_or_the_server_is_killed_and_says_what_it_saved() {
    let fedavg = json!({"name": "fedavg"});
    let undisturbed = start(&top_and_quantised(), &fedavg, "");
    let expected = undisturbed.model("digits").unwrap();
    let told = metrics(&undisturbed);
    assert!(told["accuracy"][5].as_f64().unwrap() > 0.5, "it learns: {told}");
    for (name, least) in [("train_update_bytes", 0.7), ("train_model_bytes", 0.4), ("model_bytes", 0.4)] {
        let (sent, saved) = (sum(&told, name), sum(&told, &format!("{name}_saved")));
        assert!(sent > 0.0 && saved / (sent + saved) > least, "{name}: {sent} sent, {saved} saved");
    }
    assert_eq!(
        told["train_update_bytes"].as_array().unwrap().iter().filter(|v| v.is_number()).count(),
        ROUNDS as usize
    );
    let rest = undisturbed.rest.get("/namespaces/default/jobs/digits/metrics").unwrap().body;
    assert_eq!(rest["train"]["update_bytes_saved"], told["train_update_bytes_saved"]);
    let described = ctl(&undisturbed, &["describe", "job", "default", "digits"]);
    let described = String::from_utf8(described.stdout).unwrap();
    assert!(
        described.lines().any(|line| line.starts_with("Traffic ") && line.contains("saved by compression")),
        "{described}"
    );

    let mut federation = start(&top_and_quantised(), &fedavg, "");
    let at = |federation: &Federation, kind: &str, round: u32| {
        federation.rest.wait_for("digits", |e| e.kind == kind && e.fields["round"] == round).unwrap();
    };
    at(&federation, "round-opened", 2);
    federation.clients[0].kill().unwrap();
    federation.clients[0] = federation.client(1).unwrap();
    at(&federation, "update-accepted", 3);
    federation.server.kill().unwrap();
    federation.restart_server().unwrap();
    at(&federation, "round-closed", 4);
    for number in 1..=CLIENTS {
        federation.clients[number - 1].kill().unwrap();
        federation.clients[number - 1] = federation.client(number).unwrap();
    }
    assert_eq!(federation.model("digits").unwrap(), expected);
    let mut again = metrics(&federation);
    let mut told = told;
    // how long it took is not the same
    for metrics in [&mut again, &mut told] {
        metrics.as_object_mut().unwrap().retain(|name, _| !name.contains("time"));
    }
    assert_eq!(again, told);
}

#[test]
fn a_held_round_of_compressed_updates_is_made_again_by_replay_and_by_the_tool_on_its_files() {
    for compression in [top_and_quantised(), json!({"values": "qsgd4", "bucket": "tensor"})] {
        let mut federation = start(&compression, &json!({"name": "fedavg"}), "aggregation = { keep_rounds = 1 }\n");
        federation.model("digits").unwrap();
        federation.server.signal(Signal::Terminate).unwrap();
        assert_eq!(federation.server.wait().unwrap().code(), Some(0));
        let config = federation.folder().join("server.toml");
        let output = node(&["replay", "digits", "--round", "6", "--json", "--config", &config.to_string_lossy()]);
        assert_eq!(output.status.code(), Some(0), "{compression}: {}", said(&output));

        let record = federation.stored("out/fl_digits_output_V1/round_6.json");
        let record: Value = serde_json::from_slice(&std::fs::read(record).unwrap()).unwrap();
        let blob = |blob: &Value| -> String {
            let digest = blob["digest"].as_str().unwrap();
            federation
                .folder()
                .join("server/blobs/objects")
                .join(&digest[..2])
                .join(digest)
                .to_string_lossy()
                .into_owned()
        };
        let members = record["members"].as_array().unwrap();
        assert_eq!(members.len(), CLIENTS);
        let weights: Vec<&str> = members.iter().map(|member| member["update"]["weight"].as_str().unwrap()).collect();
        let (base, weights) = (blob(&record["base"]), weights.join(","));
        let out = federation.folder().join("out.safetensors").to_string_lossy().into_owned();
        let mut args = vec!["aggregate", "--rule", "fedavg", "--base", &base, "--weights", &weights, "--out", &out];
        let updates: Vec<String> = members.iter().map(|member| blob(&member["update"]["blob"])).collect();
        args.extend(updates.iter().map(String::as_str));
        let output = node(&args);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        let made = nsfl_types::Digest::of(&std::fs::read(&out).unwrap()).to_hex();
        assert_eq!(made, record["model"]["digest"], "{compression}");
        // of another model it is no update
        let output = node(&["aggregate", "--rule", "fedavg", "--base", &out, "--out", &base, &updates[0]]);
        assert_eq!(output.status.code(), Some(1));
        assert!(said(&output).contains("the update is one to the model"), "{}", said(&output));
    }
}

#[test]
fn compression_that_does_not_go_with_the_rule_is_refused_with_the_field() {
    let federation = Federation::start(&Options { clients: 0, ..Options::default() }).unwrap();
    let mut job = digits_job("digits", 3, 1);
    job["aggregator"] = json!({"name": "median"});
    for (compression, field) in [
        (json!({"top_k": 0.1}), "compression.top_k: aggregator 'median' sees mostly zeros"),
        (json!({"values": "zip"}), "compression.values: \"zip\" is unknown; allowed: f16, bf16, qsgd8, qsgd4"),
    ] {
        job["compression"] = compression;
        let answer = federation.rest.post("/namespaces/default/jobs", &job).unwrap();
        assert_eq!(answer.status, 403, "{answer:?}");
        assert!(answer.body.to_string().replace("\\\"", "\"").contains(field), "{answer:?}");
    }
}
