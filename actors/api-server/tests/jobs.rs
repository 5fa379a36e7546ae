//! The table of the interface, row by row, over real HTTP; and what is shown of rounds, clients and actors.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

mod support;

use nsfl_actor::{Address, ChildSpec, Context, Failure, Next, Restart, Role, Supervisor, SupervisorSpec};
use nsfl_messages::CoordinatorMsg;
use nsfl_messages::wire::{ClientInfo, ClientLoad};
use nsfl_store::conformance::sample;
use nsfl_store::{Change, JobStore as _, RoundState};
use nsfl_types::{Resource, Runtime, TaskKind, Timestamp};
use serde_json::{Value, json};
use support::server;

const JOBS: &str = "/namespaces/default/jobs";

fn document(id: &str) -> String {
    json!({"id": id, "runtime": "builtin", "task_entry": "classifier", "output": "out"}).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_goes_through_the_rows_of_the_table() {
    let server = server(vec![], None).await;
    let created = server.ask("POST", JOBS, &[], document("a")).await;
    assert_eq!((created.status, created.json()), (201, json!({"state": "SUCCESSFUL"})));

    let again = server.ask("POST", JOBS, &[], document("a")).await;
    assert_eq!((again.status, again.json()["code"].clone()), (403, json!("job-exists")));
    assert_eq!(again.json()["state"], "FAILED");

    let bad = json!({"id": "b", "runtime": "builtin", "hyper_parameters": {"client_num": "x"}}).to_string();
    let bad = server.ask("POST", JOBS, &[], bad).await;
    assert_eq!(bad.status, 403);
    assert!(bad.json()["reason"].as_str().unwrap().contains("hyper_parameters.client_num"), "{bad:?}");
    assert_eq!(server.ask("POST", JOBS, &[], "{").await.status, 403);

    let job = server.get(&format!("{JOBS}/a")).await;
    assert_eq!((job.status, job.json()["status"]["state"].clone()), (200, json!("QUEUING")));
    assert_eq!(job.json()["create_time"], "2023-11-14T22:13:20.000Z");
    let list = server.get(JOBS).await;
    assert_eq!((list.status, list.json()["jobs"][0]["id"].clone()), (200, json!("a")));

    assert_eq!(server.ask("PUT", &format!("{JOBS}/a"), &[], document("a")).await.status, 200);
    let start = server.ask("PUT", &format!("{JOBS}/a:start"), &[], "null").await;
    assert_eq!((start.status, start.json()["code"].clone()), (403, json!("not-allowed")));
    assert!(start.json()["reason"].as_str().unwrap().contains("Start"), "not an update: {start:?}");
    assert_eq!(server.ask("PUT", &format!("{JOBS}/a:stop"), &[], "").await.status, 403);

    assert_eq!(server.ask("DELETE", &format!("{JOBS}/a"), &[], "").await.status, 200);
    assert_eq!(server.ask("DELETE", &format!("{JOBS}/a"), &[], "").await.status, 200, "absent");
    assert_eq!(server.ask("DELETE", &format!("{JOBS}/a:b"), &[], "").await.status, 200, "cannot exist");
    let gone = server.get(&format!("{JOBS}/a")).await;
    assert_eq!((gone.status, gone.json()["code"].clone()), (404, json!("not-found")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_said_in_json_and_is_never_500() {
    let server = server(vec![], None).await;
    let large = server.ask("POST", JOBS, &[], vec![b' '; 3000]).await;
    assert_eq!((large.status, large.json()["code"].clone()), (413, json!("too-large")));
    assert_eq!(server.ask("PUT", &format!("{JOBS}/b@d:start"), &[], "").await.status, 403);
    assert_eq!(server.get(&format!("{JOBS}/b@d")).await.status, 404);
    assert_eq!(server.get("/nothing").await.json()["code"], "not-found");
    assert_eq!(server.ask("DELETE", "/health", &[], "").await.status, 405);
    let silent = server.get(&format!("{JOBS}/silent")).await;
    assert_eq!((silent.status, silent.json()["code"].clone()), (503, json!("busy")));
    assert_eq!(silent.headers["retry-after"], "1");
    server.root.stop_child("scheduler").await.unwrap();
    assert_eq!(server.get(JOBS).await.status, 503, "a scheduler that is down is no fault of the asker, nor forever");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_tells_of_itself_and_describes_what_it_serves() {
    let server = server(vec![], None).await;
    let health = server.get("/health").await;
    assert_eq!((health.status, health.body.as_slice()), (200, b"OK".as_slice()));
    assert_eq!(server.get("/version").await.json()["api"], "v1");
    assert_eq!(server.get("/namespaces").await.json(), json!({"namespaces": ["default"]}));

    let description = server.get("/openapi.json").await.json();
    assert_eq!(description["openapi"], "3.1.0");
    for (path, operations) in description["paths"].as_object().unwrap() {
        let path = path.trim_start_matches("/api/v1");
        let path = path
            .replace("{ns}", "default")
            .replace("{id}", "x")
            .replace("{path}", "f")
            .replace("{client}", "c")
            .replace("{round}", "1");
        for method in operations.as_object().unwrap().keys() {
            let answer = server.ask(&method.to_uppercase(), &path, &[], "").await;
            let body = String::from_utf8_lossy(&answer.body).into_owned();
            assert!(answer.status != 405 && !body.contains("there is nothing at"), "{method} {path}: {body}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tree_shows_every_actor_and_what_this_one_served() {
    let server = server(vec![], None).await;
    assert_eq!(server.get("/nothing").await.status, 404);
    assert_eq!(server.get("/health").await.status, 200);
    let tree = server.get("/actors").await.json();
    let children = tree["children"].as_array().unwrap();
    let kinds: Vec<&Value> = children.iter().map(|child| &child["kind"]).collect();
    assert_eq!(kinds, ["scheduler", "selector", "gateway", "api-server"]);
    let served = &children[3]["detail"]["served"];
    assert_eq!((&served["2xx"], &served["4xx"], &served["5xx"]), (&json!(1), &json!(1), &json!(0)));
    assert_eq!(children[0]["mailbox"]["capacity"], 64);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_listed_and_found_by_id() {
    let info = ClientInfo {
        client: "c1".parse().unwrap(),
        address: "10.0.0.1".into(),
        os: "linux".into(),
        version: "0.1.0".into(),
        runtimes: vec![Runtime::Builtin],
        label: "eu".into(),
        max_tasks: 2,
        resource: Resource { worker_num: 1, cpu: 4.0, gpu: 0.0, memory_mb: 1000.0 },
        datasets: [("digits".to_owned(), 120)].into(),
    };
    let view = nsfl_messages::ClientView {
        info,
        load: ClientLoad { current_tasks: 1 },
        state: "online".into(),
        registered: Timestamp(0),
        last_seen: Timestamp(1500),
        cordoned: false,
    };
    let server = server(vec![view], None).await;
    assert_eq!(server.get("/clients").await.json()["clients"][0]["datasets"], json!({"digits": 120}));
    let one = server.get("/clients/c1").await.json();
    assert_eq!((&one["current_tasks"], &one["last_seen"]), (&json!(1), &json!("1970-01-01T00:00:01.500Z")));
    assert_eq!(server.get("/clients/c2").await.status, 404);
}

/// A coordinator in the middle of round 2.
struct Coordinator;

impl Role for Coordinator {
    type Msg = CoordinatorMsg;
    type Args = ();
    const KIND: &'static str = "coordinator";

    async fn start((): (), _: &Context<CoordinatorMsg>) -> Result<Self, Failure> {
        Ok(Self)
    }

    async fn handle(&mut self, msg: CoordinatorMsg, _: &Context<CoordinatorMsg>) -> Result<Next, Failure> {
        if let CoordinatorMsg::View { reply } = msg {
            let view = json!({"phase": "collecting", "round": 2, "max_round_num": 5, "attempt": 1, "kind": "train",
                "deadline": 60_000, "awaited": ["c3", "c4"], "away": ["c3"],
                "progress": {"c3": {"done": 0.5, "message": "epoch 1", "metrics": {"loss": 2.0}, "at": 1000}}, "accepted": 2, "refused": 0, "failed": 0, "accuracy": null, "model": null});
            reply.send(serde_json::from_value(view)?);
        }
        Ok(Next::Continue)
    }

    fn observe(&self) -> Value {
        Value::Null
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn why_a_client_failed_is_in_the_job_in_short_and_in_its_round_in_full() {
    let server = server(vec![], None).await;
    server.ask("POST", JOBS, &[], document("a")).await;
    let mut failed = sample::member("a", 1, TaskKind::Train, "c2");
    failed.state = nsfl_store::MemberState::Failed;
    let mut round = sample::round("a", 1, TaskKind::Train, 1);
    round.state = RoundState::Failed;
    let changes = vec![
        Change::InsertJob(sample::job("a")),
        Change::PutRound(round),
        Change::PutMember(failed),
        Change::PutMember(sample::member("a", 2, TaskKind::Train, "c1")),
    ];
    server.store.commit(changes).await.unwrap();
    let job = server.get(&format!("{JOBS}/a")).await.json();
    let names = |field: &str| job["failures"].as_array().unwrap().iter().map(|f| f[field].clone()).collect::<Vec<_>>();
    assert_eq!(names("client"), ["c1", "c2"], "the newest first");
    assert_eq!(names("state"), ["refused", "failed"]);
    let first = &job["failures"][1];
    assert_eq!((&first["exit"], &first["limit"]), (&json!("exit code 1"), &json!("memory 512 MB")));
    assert_eq!((&first["last"], first.get("log")), (&json!("  é"), None));

    let round = server.get(&format!("{JOBS}/a/rounds/1")).await.json();
    assert_eq!(round["attempts"][0]["cause"]["traceback"], "Traceback: é");
    assert_eq!(round["members"][0]["cause"]["log"], "last\nlines");
    assert_eq!(round["members"][0]["cause"]["traceback"], "Traceback\n  é");
    let absent = server.get(&format!("{JOBS}/a/rounds/7")).await;
    assert_eq!((absent.status, absent.json()["code"].clone()), (404, json!("not-found")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_author_is_the_user_of_the_request_and_nonsense_is_refused() {
    let server = server(vec![], None).await;
    // ada:secret
    let ada = [("authorization", "Basic YWRhOnNlY3JldA==")];
    assert_eq!(server.ask("POST", JOBS, &ada, document("a")).await.status, 201);
    assert_eq!(server.ask("POST", JOBS, &[("authorization", "Bearer x")], document("b")).await.status, 201);
    let of = async |id: &str| server.get(&format!("{JOBS}/{id}")).await.json()["author"].clone();
    assert_eq!((of("a").await, of("b").await), (json!("ada"), json!("anonymous")));
    let bad = server.ask("POST", JOBS, &[("authorization", "Basic %%%")], document("c")).await;
    assert_eq!((bad.status, bad.json()["code"].clone()), (400, json!("bad-document")));
}

#[tokio::test(flavor = "multi_thread")]
async fn rounds_come_from_the_store_and_who_is_awaited_from_the_coordinator() {
    let server = server(vec![], None).await;
    server.ask("POST", JOBS, &[], document("a")).await;
    assert_eq!(server.get(&format!("{JOBS}/a/rounds")).await.json(), json!({"run": 1, "rounds": [], "current": null}));

    let mut open = sample::round("a", 2, TaskKind::Train, 1);
    (open.state, open.closed, open.model) = (RoundState::Open, None, None);
    let mut evaluated = sample::round("a", 1, TaskKind::Evaluate, 1);
    evaluated.metrics.0 = [("accuracy".to_owned(), 0.5), ("loss".to_owned(), f64::NAN)].into();
    let mut member = sample::member("a", 1, TaskKind::Train, "c2");
    member.task.round = 2;
    let changes = vec![
        Change::InsertJob(sample::job("a")),
        Change::PutRound(sample::round("a", 1, TaskKind::Train, 1)),
        Change::PutRound(evaluated),
        Change::PutRound(open),
        Change::PutMember(member),
    ];
    server.store.commit(changes).await.unwrap();

    let rounds = server.get(&format!("{JOBS}/a/rounds")).await.json();
    assert_eq!(rounds["rounds"].as_array().unwrap().len(), 3);
    assert_eq!(rounds["rounds"][1]["metrics"], json!({"accuracy": 0.5, "loss": null}), "JSON has no NaN");
    assert_eq!(rounds["current"]["round"], 2);
    assert_eq!((&rounds["current"]["awaited"], &rounds["current"]["deadline"]), (&json!([]), &Value::Null));
    assert_eq!(rounds["current"]["members"][0]["state"], "refused");
    assert_eq!(rounds["current"]["members"][0]["code"], "not-finite");

    let address = Address::new("jobs/default/a", 8);
    let child = ChildSpec::role::<Coordinator>("a", &address, (), Restart::Temporary);
    Supervisor::start(SupervisorSpec::new("jobs").child(child)).await.unwrap();
    server.coordinators.insert(sample::job_key("a"), address);
    let current = server.get(&format!("{JOBS}/a/rounds")).await.json()["current"].clone();
    assert_eq!((&current["awaited"], &current["deadline"]), (&json!(["c3", "c4"]), &json!("1970-01-01T00:01:00.000Z")));
    assert_eq!(current["away"], json!(["c3"]));
    let told = json!({"client": "c3", "done": 0.5, "message": "epoch 1", "metrics": {"loss": 2.0}, "at": "1970-01-01T00:00:01.000Z"});
    assert_eq!(current["progress"], json!([told]));
    let job = server.get(&format!("{JOBS}/a")).await.json();
    let silent = json!({"client": "c4", "done": null, "message": "", "metrics": {}, "at": null});
    assert_eq!(job["awaited"], json!([told, silent]));

    let metrics = server.get(&format!("{JOBS}/a/metrics")).await.json();
    assert_eq!(metrics["rounds"], json!([1]), "complete rounds only");
    assert_eq!(metrics["evaluate"], json!({"accuracy": [0.5], "loss": [null]}));
    assert_eq!(server.get(&format!("{JOBS}/b/metrics")).await.status, 404);
}
