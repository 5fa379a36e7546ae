//! Each optimizer and rule that the builtin classifier serves, as a job on real processes: it learns, what a client keeps from
//! round to round outlives the client, and what rules ask of updates is there.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use nsfl_integration::{Federation, Options, Place, digits_job, trainer, until};
use serde_json::{Value, json};

const CLIENTS: usize = 3;
const ROUNDS: u32 = 4;

fn job(id: &str, optimizer: Value, aggregator: Value) -> Value {
    let mut job = digits_job(id, CLIENTS, ROUNDS);
    for (field, value) in [("optimizer", optimizer), ("aggregator", aggregator)] {
        if !value.is_null() {
            job[field] = value;
        }
    }
    job
}

fn start() -> Federation {
    Federation::start(&Options { clients: CLIENTS, ..Options::default() }).unwrap()
}

fn metrics(federation: &Federation, id: &str) -> Value {
    let file = federation.stored(&format!("out/fl_{id}_output_V1/metrics.json"));
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

#[test]
fn jobs_with_each_optimizer_of_the_classifier_and_rules_that_ask_for_its_steps_or_losses_learn() {
    let federation = start();
    let plain = job("plain", Value::Null, Value::Null);
    federation.submit(&plain).unwrap();
    let mut digests = vec![federation.model("plain").unwrap()];
    for (id, optimizer, aggregator) in [
        ("fedprox", json!({"name": "fedprox", "mu": 0.5}), Value::Null),
        ("pgd", json!({"name": "pgd", "mu": 0.5}), Value::Null),
        ("feddyn", json!({"name": "feddyn", "alpha": 0.1}), Value::Null),
        ("scaffold", json!({"name": "scaffold"}), json!({"name": "scaffold"})),
        ("dp-sgd", json!({"name": "dp_sgd", "clip": 1.0, "noise_multiplier": 0.2}), Value::Null),
        (
            "dp-adam",
            json!({"name": "dp_adam", "clip": 1.0, "noise_multiplier": 0.2, "learning_rate": 0.01}),
            Value::Null,
        ),
        ("fednova", Value::Null, json!({"name": "fednova"})),
        ("fednova-prox", json!({"name": "fedprox", "mu": 0.5}), json!({"name": "fednova"})),
        ("qfedavg", Value::Null, json!({"name": "qfedavg"})),
    ] {
        federation.submit(&job(id, optimizer, aggregator)).unwrap();
        let digest = federation.model(id).unwrap();
        assert!(!digests.contains(&digest), "{id} is another job's model");
        digests.push(digest);
        let told = metrics(&federation, id);
        assert!(told["accuracy"][3].as_f64().unwrap() > 0.3, "{id} learns: {told}");
        for name in ["train_initial_loss", "train_local_steps", "train_local_learning_rate"] {
            assert_eq!(told[name].as_array().map(Vec::len), Some(ROUNDS as usize), "{id} {name}: {told}");
        }
        let losses = &told["train_initial_loss"];
        assert!(losses[3].as_f64() < losses[0].as_f64(), "{id}: {told}");
    }
}

#[test]
fn what_an_optimizer_keeps_outlives_its_client() {
    for (optimizer, aggregator) in [
        (json!({"name": "scaffold"}), json!({"name": "scaffold"})),
        (json!({"name": "feddyn", "alpha": 0.1}), Value::Null),
    ] {
        let job = job("kept", optimizer.clone(), aggregator);
        let undisturbed = start();
        undisturbed.submit(&job).unwrap();
        let expected = undisturbed.model("kept").unwrap();
        let mut federation = start();
        // c1 trains long enough to be killed while it does
        std::fs::write(federation.folder().join("data/client-1/drill.json"), r#"{"delay_ms": 2000}"#).unwrap();
        federation.submit(&job).unwrap();
        let kept = federation.data(Place::Client(1)).join("state/default/kept/r1/1.1");
        until("c1 keeps what it made in round 1", || kept.exists().then_some(()));
        until("c1 trains in round 2", || trainer(federation.clients[0].pid()));
        federation.clients[0].kill().unwrap();
        std::fs::remove_file(federation.folder().join("data/client-1/drill.json")).unwrap();
        federation.clients[0] = federation.client(1).unwrap();
        assert_eq!(federation.model("kept").unwrap(), expected, "{optimizer}");
    }
}
