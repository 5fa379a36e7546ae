//! The event stream: what is there, what comes, taken up again after an id, and its end.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

mod support;

use nsfl_store::conformance::sample;
use nsfl_store::{Change, JobStore as _};
use nsfl_types::JobState;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::time::Duration;
use support::{Server, server};
use tokio::sync::mpsc;

/// Reads a stream in a thread of its own; each event as `(id, kind, data)`. The channel closes with the stream.
fn follow(server: &Server, query: &str, last_id: Option<&str>) -> mpsc::UnboundedReceiver<(String, String, Value)> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let url = format!("{}/namespaces/default/jobs/a/events{query}", server.url);
    let last_id = last_id.map(str::to_owned);
    std::thread::spawn(move || {
        let mut request = ureq::get(url).header("accept", "text/event-stream");
        if let Some(id) = last_id {
            request = request.header("last-event-id", id);
        }
        let body = BufReader::new(request.call().unwrap().into_body().into_reader());
        let (mut id, mut kind) = (String::new(), String::new());
        for line in body.lines().map_while(Result::ok) {
            match line.split_once(": ") {
                Some(("id", value)) => id = value.to_owned(),
                Some(("event", value)) => kind = value.to_owned(),
                Some(("data", value)) => {
                    let event = (std::mem::take(&mut id), kind.clone(), serde_json::from_str(value).unwrap());
                    if sender.send(event).is_err() {
                        return;
                    }
                }
                _ => {}
            }
        }
    });
    receiver
}

async fn append(server: &Server, kind: &str) {
    server.store.commit(vec![Change::AppendEvent(sample::event(Some("a"), kind))]).await.unwrap();
}

async fn at_rest(server: &Server) {
    let mut job = sample::job("a");
    job.state = JobState::Finished;
    let changes = vec![Change::UpdateJob(job), Change::AppendEvent(sample::event(Some("a"), "job-state"))];
    server.store.commit(changes).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_brings_what_is_there_then_what_comes_then_the_end() {
    let server = server(vec![], None).await;
    server.store.commit(vec![Change::InsertJob(sample::job("a"))]).await.unwrap();
    append(&server, "run-started").await;
    let mut events = follow(&server, "?until_end=true", None);
    let (first, kind, data) = events.recv().await.unwrap();
    assert_eq!((kind.as_str(), &data["fields"]["round"]), ("run-started", &json!(1)));
    append(&server, "round-opened").await;
    let (second, kind, _) = events.recv().await.unwrap();
    assert_eq!(kind, "round-opened");
    assert!(second.parse::<u64>().unwrap() > first.parse::<u64>().unwrap());
    at_rest(&server).await;
    assert_eq!(events.recv().await.unwrap().1, "job-state");
    assert_eq!(events.recv().await.unwrap(), (String::new(), "end".to_owned(), json!({"state": "FINISHED"})));
    assert!(events.recv().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_taken_up_after_the_last_id_by_query_or_by_header() {
    let server = server(vec![], None).await;
    server.store.commit(vec![Change::InsertJob(sample::job("a"))]).await.unwrap();
    append(&server, "run-started").await;
    append(&server, "round-opened").await;
    at_rest(&server).await;
    let first = follow(&server, "?until_end=true", None).recv().await.unwrap().0;
    let mut by_query = follow(&server, &format!("?until_end=true&after={first}"), None);
    let mut by_header = follow(&server, "?until_end=true&after=0", Some(&first));
    for events in [&mut by_query, &mut by_header] {
        let mut kinds = Vec::new();
        while let Some((_, kind, _)) = events.recv().await {
            kinds.push(kind);
        }
        assert_eq!(kinds, ["round-opened", "job-state", "end"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_job_ends_its_stream_and_a_stopped_server_cuts_it() {
    let server = server(vec![], None).await;
    server.store.commit(vec![Change::InsertJob(sample::job("a"))]).await.unwrap();
    append(&server, "run-started").await;
    let mut deleted = follow(&server, "", None);
    assert!(deleted.recv().await.is_some());
    // Events of any job wake the reader.
    let other = Change::AppendEvent(sample::event(None, "client-lost"));
    server.store.commit(vec![Change::DeleteJob(sample::job_key("a")), other]).await.unwrap();
    assert_eq!(deleted.recv().await.unwrap().2, json!({"state": "DELETED"}));
    assert!(deleted.recv().await.is_none());

    server.store.commit(vec![Change::InsertJob(sample::job("a"))]).await.unwrap();
    append(&server, "run-started").await;
    let mut cut = follow(&server, "", None);
    assert_eq!(cut.recv().await.unwrap().1, "run-started");
    server.root.shutdown(Duration::from_secs(20)).await;
    assert!(cut.recv().await.is_none(), "no `end`: the reader comes again");
}

#[tokio::test(flavor = "multi_thread")]
async fn how_far_a_client_is_comes_without_an_id_and_only_to_those_who_watch_its_job() {
    let server = server(vec![], None).await;
    server.store.commit(vec![Change::InsertJob(sample::job("a"))]).await.unwrap();
    append(&server, "run-started").await;
    let mut events = follow(&server, "", None);
    assert_eq!(events.recv().await.unwrap().1, "run-started");
    for job in ["b", "a"] {
        let (job, kind, fields) =
            (sample::job_key(job), "task-progress", json!({"client": "c1", "done": 0.5, "of": job}));
        server.live.send(nsfl_messages::LiveEvent { job, at: nsfl_types::Timestamp(0), kind, fields }).unwrap();
    }
    let (id, kind, data) = events.recv().await.unwrap();
    assert_eq!((id.as_str(), kind.as_str(), &data["fields"]["of"]), ("", "task-progress", &json!("a")));
    append(&server, "round-closed").await;
    assert_eq!(events.recv().await.unwrap().1, "round-closed");
    assert_eq!(server.store.events(None, 0, 10).await.unwrap().len(), 2, "nothing was stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_asking_for_a_stream_one_gets_a_list() {
    let server = server(vec![], None).await;
    server.store.commit(vec![Change::InsertJob(sample::job("a"))]).await.unwrap();
    append(&server, "run-started").await;
    append(&server, "round-opened").await;
    let list = server.get("/namespaces/default/jobs/a/events?limit=1").await.json();
    assert_eq!(list["events"].as_array().unwrap().len(), 1);
    let (first, last) = (list["events"][0]["id"].as_u64().unwrap(), list["last"].as_u64().unwrap());
    let rest = server.get(&format!("/namespaces/default/jobs/a/events?after={first}")).await.json();
    assert_eq!((&rest["events"][0]["kind"], &rest["events"][0]["id"]), (&json!("round-opened"), &json!(last)));
    assert_eq!(server.get("/namespaces/default/jobs/b/events").await.status, 404);
    assert_eq!(server.get("/namespaces/default/jobs/a/events?afer=1").await.status, 400);
}
