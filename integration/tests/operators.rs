//! What an operator gets wrong is answered with one clear line and an exit code of its own, and nothing is lost.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use nsfl_integration::{Federation, Options, Signal, digits_job, node, said};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Output;

fn alone() -> Federation {
    Federation::start(&Options { clients: 0, ..Options::default() }).unwrap()
}

fn server(config: &Path) -> Output {
    node(&["server", "--until-stdin-closes", "--config", config.to_str().unwrap()])
}

/// A copy of the server's configuration with something replaced.
fn other(federation: &Federation, from: &str, to: &str) -> std::path::PathBuf {
    let dir = federation.folder();
    let text = std::fs::read_to_string(dir.join("server.toml")).unwrap();
    assert!(text.contains(from), "{text}");
    let file = dir.join("other.toml");
    std::fs::write(&file, text.replace(from, to)).unwrap();
    file
}

#[test]
fn a_port_in_use_is_named_and_ends_with_code_3() {
    let federation = alone();
    let config = other(&federation, "/server\"\n", "/server-2\"\n");
    let output = server(&config);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    let port = federation.link().unwrap();
    assert!(said(&output).contains(&port), "{} should name {port}", said(&output));
}

#[test]
fn a_data_folder_in_use_is_named_and_ends_with_code_6() {
    let federation = alone();
    let output = server(&federation.folder().join("server.toml"));
    assert_eq!(output.status.code(), Some(6), "{}", said(&output));
    assert!(said(&output).contains("in use by another node"), "{}", said(&output));
}

#[test]
fn a_configuration_that_cannot_be_read_is_named_by_file_and_key_and_ends_with_code_2() {
    let federation = alone();
    let output = server(&other(&federation, "data_dir", "dta_dir"));
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("dta_dir") && said(&output).contains("other.toml"), "{}", said(&output));
    let missing = server(&federation.folder().join("none.toml"));
    assert_eq!(missing.status.code(), Some(2), "{}", said(&missing));
}

#[test]
fn a_damaged_database_is_named_and_left_as_it_is_and_ends_with_code_4() {
    let mut federation = alone();
    federation.server.signal(Signal::Terminate).unwrap();
    assert!(federation.server.wait().unwrap().success());
    let database = federation.folder().join("server/nsfl.sqlite");
    // The log would repair it.
    for log in ["server/nsfl.sqlite-wal", "server/nsfl.sqlite-shm"] {
        let _ = std::fs::remove_file(federation.folder().join(log));
    }
    std::fs::write(&database, [0x55; 8192]).unwrap();
    let output = server(&federation.folder().join("server.toml"));
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    assert!(said(&output).contains("nsfl.sqlite"), "{}", said(&output));
    assert_eq!(std::fs::read(&database).unwrap(), [0x55; 8192]);
}

#[test]
fn a_bad_job_document_is_refused_with_the_path_of_the_field() {
    let federation = alone();
    let with = |field: &str, value: Value| {
        let mut job = digits_job("j", 2, 1);
        job[field] = value;
        job
    };
    for (job, says) in [
        (with("colour", json!(1)), "colour"),
        (with("redundancy", json!("two")), "redundancy"),
        (with("hyper_parameters", json!({"client_num": 0})), "hyper_parameters.client_num"),
        (with("output", Value::Null), "output"),
        (json!({"id": "j"}), "runtime"),
    ] {
        let answer = federation.rest.post("/namespaces/default/jobs", &job).unwrap();
        assert_eq!(answer.status, 403, "{answer:?}");
        assert_eq!(answer.body["state"], "FAILED");
        assert!(answer.body["reason"].as_str().unwrap().contains(says), "{answer:?}");
    }
    federation.submit(&digits_job("j", 2, 1)).unwrap();
    let clash = federation.rest.post("/namespaces/default/jobs", &digits_job("j", 2, 1)).unwrap();
    assert_eq!((clash.status, &clash.body["code"]), (403, &json!("job-exists")), "{clash:?}");
    let nowhere = federation.rest.post("/namespaces/none/jobs", &digits_job("j", 2, 1)).unwrap();
    assert_eq!(nowhere.status, 403, "{nowhere:?}");
    assert_eq!(federation.rest.get("/namespaces/default/jobs/none").unwrap().status, 404);
    assert_eq!(federation.rest.delete("/namespaces/default/jobs/none").unwrap().status, 200);
    let start = federation.rest.put("/namespaces/default/jobs/j:start", &Value::Null).unwrap();
    assert_eq!(start.status, 403, "a waiting job is not started: {start:?}");
}

#[test]
fn the_command_line_says_by_its_exit_code_what_happened() {
    let federation = Federation::start(&Options::default()).unwrap();
    let ctl = |args: &[&str]| nsfl_integration::ctl(&federation, args);
    let file = federation.folder().join("job.json");
    std::fs::write(&file, digits_job("byctl", 2, 2).to_string()).unwrap();
    let file = file.to_str().unwrap();
    let created = ctl(&["create", "job", "default", "-f", file, "--wait"]);
    assert_eq!(created.status.code(), Some(0), "{created:?}");
    let listed = ctl(&["get", "jobs", "default", "-o", "json"]);
    let jobs: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert!(jobs.to_string().contains("FINISHED"), "{jobs}");
    let actors = String::from_utf8(ctl(&["get", "actors"]).stdout).unwrap();
    assert!(actors.contains("scheduler") && actors.contains("sessions/c2"), "{actors}");
    assert_eq!(ctl(&["create", "job", "default", "-f", file]).status.code(), Some(1), "the job exists");
    assert_eq!(ctl(&["create", "job"]).status.code(), Some(2), "usage");
    assert_eq!(ctl(&["--server", "http://127.0.0.1:1", "health"]).status.code(), Some(3), "nobody there");
    assert_eq!(ctl(&["get", "job", "default", "none"]).status.code(), Some(4), "no such job");
}
