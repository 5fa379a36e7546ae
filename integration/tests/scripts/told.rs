//! What a federation is told of its sites beside failures of scripts: the rule by which one refuses a task, and how far a
//! script is.

use super::ways::WAYS;
use super::{Sites, of_client, package, text};
use nsfl_integration::Place;
use serde_json::json;
use std::fs;

#[test]
fn a_task_that_a_sites_policy_refuses_names_the_rule_and_the_job_goes_on_with_the_others() {
    let sites = Sites::with_policy("[maximum]\nmemory_mb = 99.0\n");
    let job = WAYS.last().unwrap().job();
    let id = text(&job["id"]).to_owned();
    sites.create(&job, Some(&package()));
    assert_eq!(sites.federation.rest.wait_until_at_rest(&id).unwrap()["status"]["state"], "FINISHED");
    let round = sites.get(&id, "/rounds/1");
    let refused = of_client(&round["members"], "c1");
    assert_eq!((text(&refused["state"]), text(&refused["code"])), ("failed", "policy"), "{refused}");
    let rule = "maximum.memory_mb: the task asks for 100, at most 99 is allowed";
    assert!(text(&refused["reason"]).ends_with(rule), "{refused}");
    let described = sites.says(&["describe", "job", "default", &id, "--round", "1"]);
    let row = described.lines().find(|line| line.trim_start().starts_with("c1 ")).unwrap();
    assert!(row.contains("policy") && row.contains(rule), "{described}");
    let folder = sites.federation.data(Place::Client(1)).join("scripts");
    assert_eq!(fs::read_dir(folder).map_or(0, Iterator::count), 0, "nothing was fetched for it");
}

#[test]
fn how_far_a_script_is_reaches_the_jobs_events_and_who_asks_for_the_job() {
    let sites = Sites::start();
    let mut job = WAYS.last().unwrap().job();
    job["id"] = json!("progress");
    job["parameters"]["--way"] = json!("progress");
    sites.create(&job, Some(&package()));
    let rest = &sites.federation.rest;
    let told = rest.wait_for("progress", |event| event.kind == "task-progress").unwrap().fields;
    assert_eq!((text(&told["client"]), &told["done"], &told["metrics"]["loss"]), ("c1", &json!(0.4), &json!(0.5)));
    assert!(text(&told["message"]).starts_with("step "), "{told}");
    let described = sites.says(&["describe", "job", "default", "progress"]);
    assert!(described.lines().any(|line| line.starts_with("Awaited      c1 40% (step ")), "{described}");

    let tasks = fs::read_dir(sites.federation.data(Place::Client(1)).join("workspace")).unwrap();
    let folder = tasks.map(|entry| entry.unwrap().path()).find(|path| path.join("out/progress.json").exists()).unwrap();
    fs::write(folder.join("go"), "").unwrap();
    assert_eq!(rest.wait_until_at_rest("progress").unwrap()["status"]["state"], "FINISHED");
}
