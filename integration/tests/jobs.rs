//! Jobs as users ask for them, on real processes: a model of one's own to begin with, more clients than needed, two jobs at
//! once; and what is left of a task when its client is gone, and of a round in the logs.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use nsfl_integration::{Federation, Options, Signal, ctl, digits_job, is_there, trainer, until};
use serde_json::json;
use std::path::Path;

fn digest(federation: &Federation, job: &str) -> String {
    federation.model(job).unwrap()
}

#[test]
fn a_model_given_with_the_job_is_the_one_it_goes_on_from() {
    let federation = Federation::start(&Options::default()).unwrap();
    federation.submit(&digits_job("whole", 2, 4)).unwrap();
    let whole = digest(&federation, "whole");
    let half = federation.stored("out/fl_whole_output_V1/checkpoint_2.safetensors");

    let mut job = digits_job("again", 2, 4);
    job["model_path"] = json!("models/start.safetensors");
    let file = federation.folder().join("job.json");
    std::fs::write(&file, job.to_string()).unwrap();
    let (file, model) = (file.to_str().unwrap(), half.to_str().unwrap());
    let created = ctl(&federation, &["create", "job", "default", "--wait", "-f", file, "-m", model]);
    assert!(created.status.success(), "{created:?}");
    let first = federation.rest.wait_for("again", |event| event.kind == "round-closed").unwrap();
    let of_whole = federation.rest.wait_for("whole", |e| e.kind == "round-closed").unwrap();
    let loss = |event: &nsfl_integration::Event| event.fields["metrics"]["loss"].as_f64().unwrap();
    assert!(loss(&first) < loss(&of_whole), "it begins where two rounds of training ended: {first:?} {of_whole:?}");
    assert_ne!(digest(&federation, "again"), whole);
}

#[test]
fn more_clients_than_needed_are_invited_and_the_slow_one_is_left_out() {
    let federation = Federation::start(&Options { clients: 3, ..Options::default() }).unwrap();
    let mut job = digits_job("digits", 2, 1);
    job["redundancy"] = json!(1.5);
    let hyper = &mut job["hyper_parameters"];
    hyper["threshold_client_num"] = json!(2);
    hyper["evaluate_interval"] = json!(0);
    hyper["round_timeout"] = json!(2);
    // All three are there before the job is; the third does nothing any more.
    until("three clients", || {
        let clients = federation.rest.get("/clients").unwrap().body.to_string();
        (1..=3).all(|n| clients.contains(&format!("\"c{n}\""))).then_some(())
    });
    federation.clients[2].signal(Signal::Stop).unwrap();
    federation.submit(&job).unwrap();
    digest(&federation, "digits");
    let closed = federation.rest.wait_for("digits", |event| event.kind == "round-closed").unwrap();
    assert_eq!((&closed.fields["accepted"], &closed.fields["cohort"]), (&json!(2), &json!(3)), "{closed:?}");
}

#[test]
fn two_jobs_at_once_on_the_same_clients_end_as_each_does_alone() {
    let jobs = || {
        [digits_job("one", 2, 4), {
            let mut other = digits_job("two", 2, 4);
            other["parameters"]["hidden"] = json!(24);
            other
        }]
    };
    let alone = jobs().map(|job| {
        let federation = Federation::start(&Options::default()).unwrap();
        federation.submit(&job).unwrap();
        digest(&federation, job["id"].as_str().unwrap())
    });
    let federation = Federation::start(&Options::default()).unwrap();
    jobs().iter().for_each(|job| federation.submit(job).unwrap());
    assert_eq!(["one", "two"].map(|id| digest(&federation, id)), alone);
}

#[test]
fn no_trainer_outlives_its_client() {
    let mut federation = Federation::start(&Options::default()).unwrap();
    let mut job = digits_job("digits", 2, 1);
    job["parameters"]["epochs"] = json!(100_000);
    federation.submit(&job).unwrap();
    let client = federation.clients[0].pid();
    let pid = until("a trainer", || trainer(client));
    federation.clients[0].kill().unwrap();
    until("the trainer's end", || (!is_there(pid)).then_some(()));
    // and with an orderly end
    let client = federation.clients[1].pid();
    let pid = until("another trainer", || trainer(client));
    federation.clients[1].signal(Signal::Terminate).unwrap();
    assert_eq!(federation.clients[1].wait().unwrap().code(), Some(0));
    until("the other trainer's end", || (!is_there(pid)).then_some(()));
}

#[test]
fn the_lines_of_a_round_have_one_trace_id_on_the_server_and_on_every_client() {
    let federation = Federation::start(&Options::default()).unwrap();
    federation.submit(&digits_job("digits", 2, 2)).unwrap();
    digest(&federation, "digits");
    let trace = |log: &Path, line: &str, round: &str| {
        let text = std::fs::read_to_string(log).unwrap();
        let line = text.lines().find(|l| l.contains(line) && l.contains(round)).unwrap_or_else(|| panic!("{text}"));
        line.split_once("trace=\"").unwrap().1[..32].to_owned()
    };
    let of_server = |round| trace(&federation.server.log, "round opened", round);
    assert_ne!(of_server("round=1 "), of_server("round=2 "));
    for client in &federation.clients {
        assert_eq!(trace(&client.log, "trainer starts", "round=2 "), of_server("round=2 "));
    }
}
