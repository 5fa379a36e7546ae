//! A job whose server or clients are killed ends with the model of an undisturbed run. Real processes; waits are on
//! events and on processes' ends.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use nsfl_integration::{Federation, Options, Place, Signal, digits_job};
use serde_json::Value;

const ROUNDS: u32 = 6;

fn start() -> Federation {
    let federation = Federation::start(&Options::default()).unwrap();
    federation.submit(&digits_job("digits", 2, ROUNDS)).unwrap();
    federation
}

/// SHA-256 of the final checkpoint's bytes.
fn model(federation: &Federation) -> String {
    let job = federation.rest.wait_until_at_rest("digits").unwrap();
    assert_eq!(job["status"]["state"], "FINISHED", "{job}");
    let path = job["checkpoints"][format!("V1-{ROUNDS}")]["path"].as_str().unwrap();
    nsfl_types::Digest::of(&std::fs::read(federation.stored(path)).unwrap()).to_hex()
}

fn undisturbed() -> String {
    model(&start())
}

#[test]
fn a_job_goes_from_submit_to_trained_model_and_leaves_what_the_specification_says() {
    let federation = start();
    let sha256 = model(&federation);
    let events: Vec<_> = federation.rest.events("digits").unwrap().collect();
    let first = |kind: &str| events.iter().position(|e| e.kind == kind).unwrap_or_else(|| panic!("no {kind}"));
    let order = [
        "job-state",
        "run-started",
        "round-opened",
        "update-accepted",
        "round-closed",
        "checkpoint-saved",
        "run-ended",
    ];
    assert!(order.windows(2).all(|w| first(w[0]) < first(w[1])), "{events:?}");
    assert_eq!(events[first("run-ended")].fields["sha256"], sha256);
    let metrics: Value =
        serde_json::from_slice(&std::fs::read(federation.stored("out/fl_digits_output_V1/metrics.json")).unwrap())
            .unwrap();
    assert_eq!(metrics["round"].as_array().unwrap().len(), ROUNDS as usize);
    assert_eq!(metrics["accuracy"][0], Value::Null);
    assert!(metrics["accuracy"][5].as_f64().unwrap() > 0.5, "{metrics}");
    let again = federation.rest.put("/namespaces/default/jobs/digits:start", &Value::Null).unwrap();
    assert_eq!(again.status, 200, "{again:?}");
    federation.rest.wait_until_at_rest("digits").unwrap();
    let second = federation.stored(&format!("out/fl_digits_output_V2/checkpoint_{ROUNDS}.safetensors"));
    assert_eq!(nsfl_types::Digest::of(&std::fs::read(second).unwrap()).to_hex(), sha256);
}

#[test]
fn a_server_killed_in_the_middle_of_a_round_and_after_one_ends_with_the_same_model() {
    let expected = undisturbed();
    let mut federation = start();
    for kind in ["update-accepted", "round-closed"] {
        federation.rest.wait_for("digits", |e| e.kind == kind && e.fields["round"] != 1).unwrap();
        federation.server.kill().unwrap();
        federation.restart_server().unwrap();
    }
    assert_eq!(model(&federation), expected);
}

#[test]
fn a_client_killed_in_the_middle_of_a_round_ends_with_the_same_model() {
    let expected = undisturbed();
    let mut federation = start();
    federation.rest.wait_for("digits", |e| e.kind == "round-opened" && e.fields["round"] == 2).unwrap();
    federation.clients[0].kill().unwrap();
    federation.clients[0] = federation.client(1).unwrap();
    assert_eq!(model(&federation), expected);
}

#[test]
fn a_server_told_to_end_ends_orderly_and_the_job_goes_on_after_its_return() {
    let expected = undisturbed();
    let mut federation = start();
    federation.rest.wait_for("digits", |e| e.kind == "update-accepted" && e.fields["round"] == 2).unwrap();
    federation.server.signal(Signal::Terminate).unwrap();
    assert_eq!(federation.server.wait().unwrap().code(), Some(0));
    federation.restart_server().unwrap();
    assert_eq!(model(&federation), expected);
}

#[test]
fn an_awaited_client_that_loses_its_link_is_told_of_and_awaited_and_its_return_is_told_too() {
    let expected = undisturbed();
    let grace = vec![("NSFL_LINK__HEARTBEAT_MS", "50".to_owned()), ("NSFL_LINK__UNREACHABLE_MS", "400".to_owned())];
    let federation = Federation::start(&Options { env: Some((Place::Server, grace)), ..Options::default() }).unwrap();
    federation.submit(&digits_job("digits", 2, ROUNDS)).unwrap();
    federation.rest.wait_for("digits", |e| e.kind == "round-opened" && e.fields["round"] == 2).unwrap();
    federation.clients[0].signal(Signal::Stop).unwrap();
    let lost = federation.rest.wait_for("digits", |e| e.kind == "client-lost").unwrap();
    assert_eq!(lost.fields["client"], "c1");
    let current = federation.rest.get("/namespaces/default/jobs/digits/rounds").unwrap().body["current"].clone();
    assert_eq!((&current["awaited"], &current["away"]), (&["c1"].as_slice().into(), &["c1"].as_slice().into()));
    federation.clients[0].signal(Signal::Continue).unwrap();
    let back = federation.rest.wait_for("digits", |e| e.kind == "client-back").unwrap();
    assert_eq!((&back.fields["client"], &back.fields["round"]), (&"c1".into(), &lost.fields["round"]));
    assert_eq!(model(&federation), expected);
}

#[test]
fn a_frozen_client_is_left_out_when_the_quorum_is_met_without_it() {
    let federation = Federation::start(&Options::default()).unwrap();
    let mut job = digits_job("digits", 2, 2);
    job["hyper_parameters"]["threshold_client_num"] = 1.into();
    job["hyper_parameters"]["evaluate_interval"] = 0.into();
    job["hyper_parameters"]["round_timeout"] = 2.into();
    federation.submit(&job).unwrap();
    // Both are there by now; the second is frozen for the rest.
    federation.rest.wait_for("digits", |e| e.kind == "round-opened").unwrap();
    federation.clients[1].signal(Signal::Stop).unwrap();
    let job = federation.rest.wait_until_at_rest("digits").unwrap();
    assert_eq!(job["status"]["state"], "FINISHED", "{job}");
    let closed = federation.rest.events("digits").unwrap().filter(|e| e.kind == "round-closed").last().unwrap();
    assert_eq!((&closed.fields["accepted"], &closed.fields["cohort"]), (&1.into(), &2.into()), "{closed:?}");
}

#[test]
fn a_job_that_needs_more_clients_than_there_are_waits_and_goes_on_when_one_joins() {
    let mut federation = Federation::start(&Options { clients: 1, ..Options::default() }).unwrap();
    federation.submit(&digits_job("digits", 2, 1)).unwrap();
    let pending =
        federation.rest.wait_for("digits", |e| e.kind == "job-state" && e.fields["state"] == "PENDING").unwrap();
    assert!(pending.fields["reason"].as_str().unwrap().contains("of 2 are there"), "{pending:?}");
    let joining = federation.client(2).unwrap();
    federation.clients.push(joining);
    let job = federation.rest.wait_until_at_rest("digits").unwrap();
    assert_eq!(job["status"]["state"], "FINISHED", "{job}");
}
