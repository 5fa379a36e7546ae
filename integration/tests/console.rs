//! What an operator sees and does on real processes: actors restarted under a running job, clients kept away, tokens, the
//! record of changes, a stream that outlives the server.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use nsfl_integration::{Federation, Options, ctl, digits_job, said, until};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};

fn actor(federation: &Federation, path: &str) -> Value {
    federation.rest.get(&format!("/actors/{path}")).unwrap().body
}

#[test]
fn a_coordinator_that_is_restarted_by_an_operator_goes_on_to_the_same_model() {
    let federation = Federation::start(&Options::default()).unwrap();
    federation.submit(&digits_job("whole", 2, 6)).unwrap();
    let whole = federation.model("whole").unwrap();
    let board = std::fs::read(federation.stored("out/fl_whole_output_V1/events.out.tfevents.0000000001.nsfl")).unwrap();
    assert!(String::from_utf8_lossy(&board).contains("evaluate/accuracy"), "what TensorBoard shows");

    federation.submit(&digits_job("digits", 2, 6)).unwrap();
    let coordinator = "jobs/default/digits/coordinator";
    for round in [1, 3] {
        federation.rest.wait_for("digits", |e| e.kind == "round-closed" && e.fields["round"] == round).unwrap();
        let answer = federation.rest.put(&format!("/actors/{coordinator}:restart"), &Value::Null).unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let seen = actor(&federation, coordinator);
    // it may have ended already, with its job
    assert!(seen["restarts"] == 2 || seen["code"] == "not-found", "{seen}");
    assert_eq!(federation.model("digits").unwrap(), whole);
    let audit = federation.rest.get("/audit?newest=true").unwrap().body;
    let path = format!("/api/v1/actors/{coordinator}:restart");
    let told: Vec<_> =
        audit["entries"].as_array().unwrap().iter().filter(|entry| entry["path"] == path.as_str()).collect();
    assert_eq!(told.len(), 2, "{audit}");
    assert!(told.iter().all(|entry| entry["who"] == "loopback" && entry["status"] == 200), "{audit}");
}

#[test]
fn the_actors_of_a_client_are_seen_when_its_site_allows_it_and_only_then() {
    let client_extra = vec![(1, "console.observe = true".to_owned())];
    let federation = Federation::start(&Options { client_extra, ..Options::default() }).unwrap();
    until("both clients", || {
        (federation.rest.get("/clients").unwrap().body["clients"].as_array()?.len() == 2).then_some(())
    });
    let tree = federation.rest.get("/actors?client=c1").unwrap();
    assert_eq!((tree.status, &tree.body["path"]), (200, &json!("client")), "{tree:?}");
    let kinds: Vec<_> = tree.body["children"].as_array().unwrap().iter().map(|child| &child["kind"]).collect();
    assert_eq!(json!(kinds), json!(["supervisor", "task-manager", "uplink"]));
    let uplink = federation.rest.get("/actors/client/uplink?client=c1").unwrap();
    assert_eq!((uplink.status, &uplink.body["detail"]["link"]["connected"]), (200, &json!(true)), "{uplink:?}");
    let closed = federation.rest.get("/actors?client=c2").unwrap();
    assert_eq!((closed.status, &closed.body["code"]), (403, &json!("not-addressable")), "{closed:?}");
    let c1 = federation.rest.get("/clients/c1").unwrap().body;
    assert_eq!((&c1["observable"], &c1["link"]["connected"]), (&json!(true), &json!(true)), "{c1}");
}

#[test]
fn a_cordoned_client_gets_no_tasks_and_a_removed_one_no_link_also_after_a_restart_of_the_server() {
    let mut federation = Federation::start(&Options { clients: 3, ..Options::default() }).unwrap();
    let states = |federation: &Federation| {
        let clients = federation.rest.get("/clients").ok()?.body["clients"].as_array()?.clone();
        Some(
            clients.iter().map(|client| format!("{} {}", client["id"], client["state"])).collect::<Vec<_>>().join(", "),
        )
    };
    let all = |states: &str| states == r#""c1" "online", "c2" "online", "c3" "online""#;
    until("all clients", || states(&federation).filter(|states| all(states)));
    assert!(ctl(&federation, &["cordon", "client", "c3", "--reason", "new disk"]).status.success());
    let mut job = digits_job("without", 2, 2);
    job["redundancy"] = json!(1.5);
    federation.submit(&job).unwrap();
    federation.model("without").unwrap();
    let opened = federation.rest.wait_for("without", |event| event.kind == "round-opened").unwrap();
    assert_eq!(opened.fields["cohort"].as_array().map_or(json!(opened.fields["cohort"]), |c| json!(c.len())), json!(2));
    assert!(!opened.fields.to_string().contains("c3"), "{opened:?}");

    assert!(ctl(&federation, &["remove", "client", "c3"]).status.success());
    let removed = r#""c1" "online", "c2" "online", "c3" "removed""#;
    until("the removed client", || states(&federation).filter(|states| states == removed));
    federation.server.kill().unwrap();
    federation.restart_server().unwrap();
    until("the others", || states(&federation).filter(|states| states == removed));
    assert!(ctl(&federation, &["uncordon", "client", "c3"]).status.success());
    until("all clients again", || states(&federation).filter(|states| all(states)));
    let described = ctl(&federation, &["describe", "client", "c3"]);
    assert!(String::from_utf8_lossy(&described.stdout).contains("connected"), "{described:?}");
}

#[test]
fn a_server_is_asked_with_tokens_and_its_log_says_who_did_what() {
    let federation = Federation::start(&Options { tokens: true, clients: 1, ..Options::default() }).unwrap();
    assert_eq!(federation.rest.get("/clients").unwrap().status, 401);
    assert_eq!(federation.rest.get("/health").unwrap().status, 200);
    let refused = ctl(&federation, &["get", "clients"]);
    assert!(!refused.status.success() && said(&refused).contains("token"), "{refused:?}");

    let admin = federation.folder().join("server/admin.token");
    assert!(ctl(&federation, &["set", "config", "-t", admin.to_str().unwrap()]).status.success());
    let made = ctl(&federation, &["token", "create", "ada", "--role", "operator"]);
    assert!(made.status.success(), "{made:?}");
    let ada = federation.folder().join("ada.token");
    std::fs::write(&ada, &made.stdout).unwrap();
    assert!(ctl(&federation, &["set", "config", "-t", ada.to_str().unwrap()]).status.success());
    assert!(ctl(&federation, &["restart", "actor", "selector"]).status.success());
    let forbidden = ctl(&federation, &["audit"]);
    assert!(!forbidden.status.success() && said(&forbidden).contains("admin"), "{forbidden:?}");

    assert!(ctl(&federation, &["set", "config", "-t", admin.to_str().unwrap()]).status.success());
    let audit = ctl(&federation, &["audit", "-o", "json"]);
    let audit: Value = serde_json::from_slice(&audit.stdout).unwrap();
    let who: Vec<_> =
        audit["entries"].as_array().unwrap().iter().map(|e| (&e["who"], &e["path"], &e["status"])).collect();
    let said = json!([["first-admin", "/api/v1/tokens", 201], ["ada", "/api/v1/actors/selector:restart", 200]]);
    assert_eq!(json!(who), said);
    let list = ctl(&federation, &["token", "list", "-o", "json"]);
    let list: Value = serde_json::from_slice(&list.stdout).unwrap();
    let id = list["tokens"].as_array().unwrap().iter().find(|t| t["name"] == "ada").unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(ctl(&federation, &["token", "revoke", &id]).status.success());
    assert!(ctl(&federation, &["set", "config", "-t", ada.to_str().unwrap()]).status.success());
    assert!(!ctl(&federation, &["get", "clients"]).status.success());
}

#[test]
fn a_live_stream_goes_on_with_the_events_of_another_life_of_the_server() {
    let mut federation = Federation::start(&Options { clients: 0, ..Options::default() }).unwrap();
    let address = federation.server.ready["rest"].as_str().unwrap().to_owned();
    let live = |seen: Option<&str>| {
        let request = ureq::get(format!("http://{address}/api/v1/live?topics=events,logs"));
        let request = seen.into_iter().fold(request, |request, id| request.header("last-event-id", id));
        BufReader::new(request.call().unwrap().into_body().into_reader()).lines()
    };
    let hello = |lines: &mut std::io::Lines<_>| {
        let id = after(lines, "id: ");
        (id, serde_json::from_str::<Value>(&after(lines, "data: ")).unwrap()["boot"].clone())
    };
    let (id, boot) = hello(&mut live(None));
    federation.submit(&digits_job("waits", 2, 2)).unwrap();
    federation.server.kill().unwrap();
    federation.restart_server().unwrap();
    let mut lines = live(Some(&id));
    let (_, second) = hello(&mut lines);
    assert_ne!(boot, second, "the reader sees that the server is another");
    while !after(&mut lines, "event: ").starts_with("event") {}
    let event: Value = serde_json::from_str(&after(&mut lines, "data: ")).unwrap();
    assert_eq!(event["job"], "default/waits", "what happened while it was cut");
}

/// The rest of the next line that begins so.
fn after(lines: &mut std::io::Lines<impl std::io::BufRead>, start: &str) -> String {
    lines.find_map(|line| line.unwrap().strip_prefix(start).map(str::to_owned)).unwrap()
}
