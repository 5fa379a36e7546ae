//! What a federation is told of its sites beside failures of scripts: the rule by which one refuses a task, and how far a
//! script is.

use super::ways::WAYS;
use super::{Sites, of_client, package, text};
use nsfl_integration::{Event, Place, binary};
use serde_json::json;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

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
fn how_far_a_script_is_reaches_the_jobs_events_and_who_asks_for_the_job_or_watches_it() {
    let sites = Sites::start();
    let mut job = WAYS.last().unwrap().job();
    job["id"] = json!("progress");
    job["parameters"]["--way"] = json!("progress");
    sites.create(&job, Some(&package()));
    let rest = &sites.federation.rest;
    // the other brings its update meanwhile, which is progress too
    let of_c1 = |event: &Event| event.kind == "task-progress" && event.fields["client"] == "c1";
    let told = rest.wait_for("progress", of_c1).unwrap().fields;
    assert_eq!((&told["done"], &told["metrics"]["loss"]), (&json!(0.4), &json!(0.5)));
    assert!(text(&told["message"]).starts_with("step "), "{told}");
    let described = sites.says(&["describe", "job", "default", "progress"]);
    assert!(described.lines().any(|line| line.starts_with("Awaited      c1 40% (step ")), "{described}");

    // at a terminal, where the last line shows who is awaited
    let watch = format!("{} watch job default progress", binary("nsfl-ctl").unwrap().display());
    let mut terminal = sites
        .beside("script")
        .args(["-qec", &watch, "/dev/null"])
        .stdout(Stdio::piped())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let mut shown = BufReader::new(terminal.stdout.take().unwrap()).split(b'\r');
    assert!(shown.any(|line| String::from_utf8_lossy(&line.unwrap()).contains("c1 40%")), "nothing of 40% was shown");

    let tasks = fs::read_dir(sites.federation.data(Place::Client(1)).join("workspace")).unwrap();
    let folder = tasks.map(|entry| entry.unwrap().path()).find(|path| path.join("out/progress.json").exists()).unwrap();
    fs::write(folder.join("go"), "").unwrap();
    assert_eq!(rest.wait_until_at_rest("progress").unwrap()["status"]["state"], "FINISHED");
    shown.for_each(|line| drop(line.unwrap()));
    assert!(terminal.wait().unwrap().success(), "it ends with the job");
}
