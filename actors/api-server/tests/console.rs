//! What the console is made of: its files, the actors, the clients, the streams.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

mod support;

use nsfl_messages::wire::{ClientInfo, ClientLoad};
use nsfl_messages::{ClientView, LiveEvent};
use nsfl_store::conformance::sample;
use nsfl_store::{Change, JobStore as _};
use nsfl_types::{Resource, Runtime, Timestamp};
use serde_json::{Value, json};
use support::server;

fn client(id: &str) -> ClientView {
    let info = ClientInfo {
        client: id.parse().unwrap(),
        address: "10.0.0.1".into(),
        os: "linux".into(),
        version: "0".into(),
        runtimes: vec![Runtime::Builtin],
        label: String::new(),
        max_tasks: 2,
        resource: Resource { worker_num: 1, cpu: 4.0, gpu: 0.0, memory_mb: 1000.0 },
        datasets: [].into(),
    };
    let load = ClientLoad { current_tasks: 0 };
    let (registered, last_seen) = (Timestamp(0), Timestamp(1));
    ClientView { info, load, state: "online".into(), registered, last_seen, cordoned: false }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_console_comes_from_the_binary_with_a_strict_policy_and_is_asked_for_once() {
    let server = server(vec![], None).await;
    let root = server.at_root("GET", "/", &[]).await;
    assert_eq!((root.status, root.headers["location"].to_str().unwrap()), (302, "/console/"));
    let index = server.at_root("GET", "/console/", &[]).await;
    assert_eq!(index.status, 200);
    let header = |name: &str| index.headers[name].to_str().unwrap().to_owned();
    assert!(header("content-type").starts_with("text/html"));
    assert!(header("content-security-policy").starts_with("default-src 'none'"));
    assert_eq!((header("cache-control"), header("x-content-type-options")), ("no-cache".into(), "nosniff".into()));
    let page = server.at_root("GET", "/console/jobs/default/digits", &[]).await;
    assert_eq!(page.body, index.body, "a page of the console is its index");
    let again = server.at_root("GET", "/console/", &[("if-none-match", &header("etag"))]).await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    for absent in ["/console/none.js", "/console/../Cargo.toml", "/console/%2e%2e/Cargo.toml"] {
        assert_eq!(server.at_root("GET", absent, &[]).await.status, 404, "{absent}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_actor_is_shown_restarted_and_stopped_by_its_path() {
    let server = server(vec![client("c1"), client("c2")], None).await;
    let one = server.get("/actors/selector").await.json();
    assert_eq!((&one["kind"], &one["restarts"], &one["handler"]["slow"]), (&json!("selector"), &json!(0), &json!(0)));
    assert_eq!(server.ask("PUT", "/actors/selector:restart", &[], "").await.status, 200);
    let again = server.get("/actors/selector").await.json();
    assert_eq!((&again["restarts"], &again["restarted"][0]["cause"]), (&json!(1), &json!(null)));
    assert_eq!(server.ask("PUT", "/actors/selector:stop", &[], "null").await.status, 200);
    assert_eq!(server.get("/actors/selector").await.json()["state"], "stopped");
    assert_eq!(server.get("/clients").await.status, 503, "who is down is said to be down");
    assert_eq!(server.ask("PUT", "/actors/selector:restart", &[], "").await.status, 200);
    assert_eq!(server.get("/clients").await.status, 200);
    for refused in ["/actors/server:stop", "/actors/server:restart", "/actors/api-server:stop"] {
        let answer = server.ask("PUT", refused, &[], "").await;
        assert_eq!((answer.status, answer.json()["code"].clone()), (403, json!("not-allowed")), "{refused}");
    }
    assert_eq!(server.ask("PUT", "/actors/nobody:restart", &[], "").await.status, 404);
    let tree = server.get("/actors?client=c1").await.json();
    assert_eq!((&tree["path"], &tree["state"]), (&json!("client"), &json!("running")));
    let closed = server.get("/actors?client=c2").await;
    assert_eq!((closed.status, closed.json()["code"].clone()), (403, json!("not-addressable")));
    assert_eq!(server.get("/actors?client=c3").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_shows_the_messages_of_an_actor_as_they_are_handled() {
    let server = server(vec![], None).await;
    let mut trace = server.stream("/actors/selector:trace?seconds=20", &[]).await;
    // asked until the trace is seen to be open
    let seen = loop {
        server.get("/clients").await;
        if let Ok(seen) = tokio::time::timeout(std::time::Duration::from_millis(200), trace.next_of("message")).await {
            break seen.data;
        }
    };
    assert_eq!((&seen["message"], &seen["from"], &seen["ok"]), (&json!("List"), &json!("mailbox"), &json!(true)));
    assert!(seen["waited_us"].is_u64() && seen["handled_us"].is_u64(), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_cordoned_and_removed_with_a_reason_and_let_in_again() {
    let server = server(vec![client("c1")], None).await;
    let shown = server.get("/clients/c1").await.json();
    assert_eq!(
        (&shown["link"]["rtt_us"], &shown["session"], &shown["observable"]),
        (&json!(300), &json!(7), &json!(true))
    );
    let cordon = server.ask("PUT", "/clients/c1:cordon", &[], r#"{"reason":"new disk"}"#).await;
    assert_eq!(cordon.status, 200, "{cordon:?}");
    let mark = server.get("/clients/c1").await.json()["mark"].clone();
    assert_eq!((&mark["by"], &mark["reason"]), (&json!("loopback"), &json!("new disk")));
    assert_eq!(server.ask("DELETE", "/clients/c1", &[], "").await.status, 200);
    assert_eq!(server.ask("PUT", "/clients/c9:cordon", &[], "").await.status, 404);
    assert_eq!(server.ask("PUT", "/clients/c1:cordon", &[], r#"{"why":1}"#).await.status, 400);
    assert_eq!(server.ask("PUT", "/clients/c1:uncordon", &[], "null").await.status, 200);
    assert_eq!(server.get("/clients/c1").await.json()["mark"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_live_stream_begins_with_everything_brings_what_comes_and_goes_on_where_it_was_cut() {
    let server = server(vec![client("c1")], None).await;
    let job = json!({"id": "a", "runtime": "builtin", "task_entry": "classifier", "output": "out"}).to_string();
    server.ask("POST", "/namespaces/default/jobs", &[], job).await;
    let queued = |job| Change::AppendEvent(sample::event(Some(job), "job-queued"));
    server.store.commit(vec![queued("before")]).await.unwrap();
    let path = "/live?topics=jobs,clients,actors,events,logs";
    let mut live = server.stream(path, &[]).await;
    let hello = live.next().await;
    assert_eq!((hello.kind.as_str(), &hello.data["role"]), ("hello", &json!("admin")));
    let mut full = std::collections::BTreeMap::new();
    while full.len() < 3 {
        let sent = live.next().await;
        if sent.data["full"] == true {
            full.insert(sent.kind.clone(), sent.data);
        }
    }
    assert_eq!(full["jobs"]["jobs"][0]["id"], "a");
    assert_eq!(full["clients"]["clients"][0]["id"], "c1");
    let actors = full["actors"]["actors"].as_array().unwrap();
    assert_eq!(
        (&actors[0]["path"], &actors[0]["depth"], &actors[1]["parent"]),
        (&json!("server"), &json!(0), &json!("server"))
    );
    server.store.commit(vec![queued("first")]).await.unwrap();
    let first = live.next_of("event").await;
    assert_eq!((&first.data["job"], &first.data["kind"]), (&json!("default/first"), &json!("job-queued")));
    server
        .live
        .send(LiveEvent {
            job: sample::job_key("a"),
            at: Timestamp(1),
            kind: "task-progress",
            fields: json!({"client": "c1", "done": 0.5}),
        })
        .unwrap();
    assert_eq!(live.next_of("progress").await.data["fields"]["done"], 0.5);
    drop(live);
    server.store.commit(vec![queued("meanwhile")]).await.unwrap();
    let mut again = server.stream("/live?topics=events", &[("last-event-id", first.id.as_deref().unwrap())]).await;
    assert_eq!(again.next_of("event").await.data["job"], "default/meanwhile");
    let mut one = server.stream("/live?topics=events&job=default/b&after=0", &[]).await;
    server.store.commit(vec![queued("a"), queued("b")]).await.unwrap();
    assert_eq!(one.next_of("event").await.data["job"], "default/b");
    assert_eq!(server.get("/live?topics=weather").await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_all_jobs_are_found_from_either_end_and_by_what_they_are_about() {
    let server = server(vec![], None).await;
    let event = |job, kind| Change::AppendEvent(sample::event(Some(job), kind));
    let all = vec![
        event("a", "job-queued"),
        event("b", "job-queued"),
        event("a", "round-opened"),
        event("a", "round-closed"),
    ];
    server.store.commit(all).await.unwrap();
    let ids = async |query: &str| {
        let body = server.get(&format!("/events{query}")).await.json();
        assert_eq!(body["last"], 4);
        body["events"].as_array().unwrap().iter().map(|event| event["id"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(ids("").await, [1, 2, 3, 4]);
    assert_eq!(ids("?after=1&limit=2").await, [2, 3]);
    assert_eq!(ids("?newest=true&limit=2").await, [3, 4]);
    assert_eq!(ids("?newest=true&limit=2&job=default/a").await, [3, 4]);
    assert_eq!(ids("?job=default/a&kind=job-queued").await, [1]);
    assert_eq!(server.get("/events?colour=red").await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_in_the_form_that_prometheus_reads_and_their_names_are_documented() {
    let server = server(vec![client("c1")], None).await;
    server.get("/clients").await;
    let answer = server.at_root("GET", "/metrics", &[]).await;
    assert_eq!(answer.status, 200);
    let text = String::from_utf8(answer.body).unwrap();
    assert!(text.ends_with("# EOF\n"), "{text}");
    assert!(text.contains("nsfl_clients{state=\"online\"} 1"), "{text}");
    assert!(text.lines().any(|l| l.starts_with("nsfl_actor_messages_total{kind=\"selector\"}")), "{text}");
    let documented = include_str!("../../../docs/metrics.md");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        assert!(documented.contains(&format!("`{name}`")), "{name} is not in docs/metrics.md");
        let words = name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        assert!(name.starts_with("nsfl_") && words, "{name}");
    }
}

#[test]
fn the_dashboard_asks_for_metrics_that_there_are() {
    let dashboard: Value = serde_json::from_str(include_str!("../../../deploy/grafana/nsfl-server.json")).unwrap();
    let documented = include_str!("../../../docs/metrics.md");
    let mut asked = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let expression = target["expr"].as_str().unwrap();
            let names =
                expression.split(|c: char| !c.is_ascii_lowercase() && c != '_').filter(|w| w.starts_with("nsfl_"));
            for name in names {
                assert!(documented.contains(&format!("`{name}`")), "{name} in {}", panel["title"]);
                asked += 1;
            }
        }
    }
    assert!(asked >= 18, "{asked}");
}
