//! Late updates on real processes: a frozen client's update counts when it comes, for less by its staleness, and the round is
//! made again to the bit by `nsfl-node replay`.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use nsfl_integration::{Federation, Options, Signal, echo_job, node, said};
use serde_json::{Value, json};

/// Freezes c1 in the middle of its first task, until the others have made `rounds` models, then those until c1's update is
/// accepted: nothing goes on in the federation that this gives.
fn frozen_for(rounds: u32, fields: &Value, hyper: &Value) -> Federation {
    let options =
        Options { clients: 3, server_extra: "aggregation = { keep_rounds = 100 }\n".into(), ..Options::default() };
    let federation = Federation::start(&options).unwrap();
    let mut job = echo_job("late", 3, 20, 0.001);
    for (name, value) in fields.as_object().unwrap() {
        job[name] = value.clone();
    }
    for (name, value) in hyper.as_object().unwrap() {
        job["hyper_parameters"][name] = value.clone();
    }
    federation.clients[0].signal(Signal::Stop).unwrap();
    federation.submit(&job).unwrap();
    federation.rest.wait_for("late", |e| e.kind == "round-closed" && e.fields["round"] == rounds).unwrap();
    // the others wait until its update is in
    federation.clients[1..].iter().for_each(|client| client.signal(Signal::Stop).unwrap());
    federation.clients[0].signal(Signal::Continue).unwrap();
    federation.rest.wait_for("late", |e| e.kind == "update-accepted" && e.fields["client"] == "c1").unwrap();
    federation
}

/// Until the job's end.
fn go_on(federation: Federation) -> Federation {
    federation.clients[1..].iter().for_each(|client| client.signal(Signal::Continue).unwrap());
    federation.model("late").unwrap();
    federation
}

/// The member of c1 whose update went into another round than its task's.
fn late_member(federation: &Federation) -> Value {
    (1..=20)
        .flat_map(|round| {
            let path = format!("/namespaces/default/jobs/late/rounds/{round}");
            federation.rest.get(&path).unwrap().body["members"].as_array().unwrap().clone()
        })
        .find(|member| member["client"] == "c1" && member["staleness"].as_u64() > Some(0))
        .expect("c1's late update counts")
}

fn is_made_again(mut federation: Federation, round: &Value) -> Value {
    federation.server.signal(Signal::Terminate).unwrap();
    assert_eq!(federation.server.wait().unwrap().code(), Some(0));
    let config = federation.folder().join("server.toml");
    let args = ["replay", "late", "--round", &round.to_string(), "--json", "--config", &config.to_string_lossy()];
    let output = node(&args);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let file = federation.stored(&format!("out/fl_late_output_V1/round_{round}.json"));
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

fn counts_with_its_staleness(federation: Federation) {
    let member = late_member(&federation);
    let (round, counted) = (member["round"].as_u64().unwrap(), member["counted"].as_u64().unwrap());
    assert_eq!(member["staleness"], counted - round);
    assert_eq!((&member["state"], &member["version"]), (&json!("accepted"), &json!(round - 1)));
    let record = is_made_again(federation, &member["counted"]);
    let kept = record["members"].as_array().unwrap().iter().find(|m| m["begun"]["round"] == round).unwrap();
    assert_eq!((&kept["client"], &kept["staleness"]), (&json!("c1"), &member["staleness"]));
}

#[test]
fn the_update_of_a_frozen_client_counts_in_a_later_step_of_the_buffer_and_the_step_is_made_again_to_the_bit() {
    let fields = json!({"aggregator": {"name": "fedbuff", "params": {"k": 1}}});
    counts_with_its_staleness(go_on(frozen_for(3, &fields, &json!({"late": "buffer", "threshold_client_num": 1}))));
}

#[test]
fn the_update_of_a_frozen_client_counts_in_a_later_round_and_the_round_is_made_again_to_the_bit() {
    counts_with_its_staleness(go_on(frozen_for(3, &json!({}), &stale())));
}

#[test]
fn a_late_update_that_was_accepted_counts_although_the_server_is_killed_before_its_round_closes() {
    let mut federation = frozen_for(3, &json!({}), &stale());
    federation.server.kill().unwrap();
    federation.restart_server().unwrap();
    counts_with_its_staleness(go_on(federation));
}

/// No round closes on one update.
fn stale() -> Value {
    json!({"late": "stale", "max_staleness": 20, "threshold_client_num": 2, "close_at_threshold": true})
}

#[test]
fn the_sample_of_an_asynchronous_job_makes_its_models_of_two_updates_each() {
    let federation = Federation::start(&Options { clients: 4, ..Options::default() }).unwrap();
    let job: Value = serde_json::from_str(include_str!("../../conf/jobs/buffer.json")).unwrap();
    federation.submit(&job).unwrap();
    federation.model("buffer").unwrap();
    let closed = federation.rest.events("buffer").unwrap().filter(|event| event.kind == "round-closed");
    let trained: Vec<_> = closed.filter(|event| event.fields["kind"] == "train").collect();
    assert_eq!(trained.len(), 20);
    assert!(trained.iter().all(|event| event.fields["accepted"] == 2), "{trained:?}");
    let file = federation.stored("out/fl_buffer_output_V1/metrics.json");
    let told: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert!(told["accuracy"][19].as_f64().unwrap() > 0.7, "it learns: {told}");
}
