//! The bodies as they go over the wire, and that each reads back.

use super::*;
use nsfl_types::{
    Cause, Code, Digest, JobDocument, JobState, JobStatus, Resource, Runtime, TaskKind, Timestamp, UserRole,
};
use serde::{Serialize, de::DeserializeOwned};
use std::fmt::Debug;

fn at(seconds: u64) -> Time {
    Time(Timestamp(1_700_000_000_000 + seconds * 1000))
}

fn reads_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(body: &T) {
    let text = serde_json::to_string(body).unwrap();
    assert_eq!(&serde_json::from_str::<T>(&text).unwrap(), body);
}

fn awaited() -> Awaited {
    let metrics = [("loss".to_owned(), Some(0.5))].into();
    Awaited {
        client: "c2".parse().unwrap(),
        done: Some(0.5),
        message: "epoch 1".into(),
        metrics,
        at: Some(at(2)),
        uploading: Some(at(3)),
    }
}

#[test]
fn an_answer_without_a_body_is_its_state_and_why() {
    assert_eq!(serde_json::to_string(&Answer::successful()).unwrap(), r#"{"state":"SUCCESSFUL"}"#);
    let failed = Answer::failed(Code::JobExists, "job 'j' exists");
    assert_eq!(
        serde_json::to_string(&failed).unwrap(),
        r#"{"state":"FAILED","reason":"job 'j' exists","code":"job-exists"}"#
    );
    reads_back(&failed);
}

#[test]
fn a_job_is_its_document_with_what_the_server_set_beside_it() {
    let document = r#"{"id":"digits","runtime":"builtin","clients":["c1","c2"],"task_entry":"classifier",
        "output":"out","hyper_parameters":{"max_round_num":3,"round_timeout":1.5},"parameters":{"epochs":5}}"#;
    let job = Job {
        document: serde_json::from_str::<JobDocument>(document).unwrap(),
        namespace: "default".into(),
        create_time: at(0),
        start_time: Some(at(1)),
        run: 1,
        status: JobStatus { state: JobState::Running, reason: String::new(), progress: 33 },
        checkpoints: [("r1-5".to_owned(), Checkpoint { accuracy: Some(0.5), path: "out/m.safetensors".into() })].into(),
        author: "ada".into(),
        awaited: vec![awaited()],
        failures: vec![Failure {
            round: 2,
            attempt: 1,
            kind: TaskKind::Train,
            client: "c1".parse().unwrap(),
            state: "failed".into(),
            code: Some("script-exception".into()),
            reason: "ValueError: no data".into(),
            exit: Some("exit code 1".into()),
            limit: None,
            last: Some("ValueError: no data".into()),
            at: at(3),
        }],
    };
    insta::assert_json_snapshot!(job);
    reads_back(&job);
    reads_back(&Jobs { jobs: vec![job] });
}

#[test]
fn a_job_of_a_newer_server_is_still_read() {
    let text = r#"{"id":"j","brand_new":1,"namespace":"n","create_time":"2026-01-01T00:00:00Z","start_time":null,
        "run":0,"status":{"state":"QUEUING","reason":"","progress":0},"checkpoints":{}}"#;
    assert_eq!(serde_json::from_str::<Job>(text).unwrap().id(), "j");
}

#[test]
fn rounds_show_the_attempts_and_who_is_awaited() {
    let rounds = Rounds {
        run: 1,
        rounds: vec![Round {
            round: 1,
            attempt: 1,
            kind: TaskKind::Train,
            state: "complete".into(),
            reason: String::new(),
            opened: at(0),
            closed: Some(at(9)),
            cohort: 2,
            accepted: 2,
            metrics: [("loss".to_owned(), Some(0.25)), ("f1".to_owned(), None)].into(),
            model: Some(Model { sha256: Digest::of(b"abc"), bytes: 3 }),
            cause: None,
        }],
        current: Some(CurrentRound {
            round: 2,
            awaited: vec!["c2".parse().unwrap()],
            away: vec!["c2".parse().unwrap()],
            progress: vec![awaited()],
            deadline: Some(at(60)),
            members: vec![Member {
                client: "c1".parse().unwrap(),
                round: 3,
                attempt: 1,
                version: 2,
                counted: Some(4),
                staleness: Some(1),
                kind: TaskKind::Train,
                state: "refused".into(),
                metrics: Measured::new(),
                code: Some("not-finite".into()),
                reason: "NaN in 'w'".into(),
                cause: Some(Cause { traceback: Some("Traceback".into()), ..Cause::default() }),
                sent: Some(at(3)),
                started: Some(at(4)),
                uploading: Some(at(9)),
                bytes: Some(3),
                at: at(12),
            }],
        }),
    };
    insta::assert_json_snapshot!(rounds);
    reads_back(&rounds);
}

#[test]
fn metrics_are_a_list_a_metric() {
    let body = JobMetrics {
        run: 1,
        rounds: vec![1, 2],
        train: [("loss".to_owned(), vec![Some(0.5), Some(0.25)])].into(),
        evaluate: [("accuracy".to_owned(), vec![None, Some(0.9)])].into(),
    };
    insta::assert_json_snapshot!(body);
    reads_back(&body);
}

#[test]
fn an_event_names_its_kind_and_fields() {
    let event = Event {
        id: 7,
        at: at(3),
        job: None,
        kind: "round-closed".into(),
        fields: serde_json::json!({"round": 1, "accepted": 2}),
    };
    insta::assert_json_snapshot!(event);
    reads_back(&Events { events: vec![event], last: 9 });
}

#[test]
fn a_client_shows_what_it_offers_and_does() {
    let client = Client {
        id: "c1".parse().unwrap(),
        address: "10.0.0.1".into(),
        os: "linux".into(),
        version: "0.1.0".into(),
        runtimes: vec![Runtime::Builtin, Runtime::Pytorch],
        label: String::new(),
        state: "online".into(),
        max_tasks: 2,
        current_tasks: 1,
        resource: Resource { worker_num: 1, cpu: 4.0, gpu: 0.0, memory_mb: 2000.0 },
        datasets: [("digits".to_owned(), 120)].into(),
        registered: at(0),
        last_seen: at(5),
        cordoned: true,
        mark: Some(Mark { by: "ada".into(), at: at(4), reason: "new disk".into() }),
        observable: true,
        session: Some(7),
        link: Some(ClientLink {
            connected: true,
            rtt_us: 300,
            bytes_in: 1,
            bytes_out: 2,
            frames_in: 3,
            frames_out: 4,
            reconnects: 5,
            sessions_lost: 6,
            outbox_messages: 7,
            queued_bytes: 8,
        }),
        tasks: vec![ClientTask {
            job: "default/digits".into(),
            run: 1,
            round: 2,
            attempt: 1,
            kind: TaskKind::Train,
            state: "started".into(),
            at: at(3),
            done: Some(0.5),
            message: "epoch 1".into(),
        }],
    };
    insta::assert_json_snapshot!(client);
    reads_back(&Clients { clients: vec![client] });
}

#[test]
fn an_actor_shows_itself_and_those_below() {
    let actor = |path: &str, children| Actor {
        path: path.into(),
        kind: "scheduler".into(),
        state: "running".into(),
        restarts: 1,
        started: Some(at(0)),
        mailbox: Mailbox { depth: 1, capacity: 64, high_water: 9, waiting: 1, oldest_ms: 2 },
        handled: 12,
        rate: 0.5,
        busy_us: 340,
        handler: Handler { last_us: 40, longest_us: 90, slow: 1, current_ms: Some(3) },
        dead_letters: 1,
        rejected: 2,
        unanswered: 3,
        restarted: vec![ActorRestart { at: at(1), cause: Some("store failed".into()) }],
        failure: Some(ActorFailure {
            message: "store failed".into(),
            causes: vec!["disk full".into()],
            at: Some(at(1)),
        }),
        last_error: Some("store failed".into()),
        detail: serde_json::json!({"jobs": 1}),
        children,
    };
    let tree = actor("server", vec![actor("server/scheduler", vec![])]);
    insta::assert_json_snapshot!(tree);
    reads_back(&tree);
}

#[test]
fn version_namespaces_and_a_stored_file() {
    let bodies = (
        Version { version: "0.1.0".into(), api: "v1".into() },
        Namespaces { namespaces: vec!["default".into()] },
        StoredFile { path: "models/j/m.safetensors".into(), bytes: 3, sha256: Digest::of(b"abc") },
    );
    insta::assert_json_snapshot!(bodies);
    reads_back(&bodies);
}

#[test]
fn who_asks_tokens_the_audit_log_and_log_lines() {
    let token = Token {
        id: "0123456789ab".into(),
        name: "ada".into(),
        role: UserRole::Operator,
        created: at(0),
        created_by: "first-admin".into(),
        last_used: Some(at(1)),
        revoked: None,
    };
    let entry = AuditEntry {
        id: 7,
        at: at(2),
        who: "ada".into(),
        role: UserRole::Operator,
        from: "127.0.0.1".into(),
        method: "PUT".into(),
        path: "/api/v1/actors/selector:restart".into(),
        status: Some(200),
    };
    let fields = serde_json::from_str(r#"{"client":"c1"}"#).unwrap();
    let line = LogLine {
        seq: 1,
        at: at(3),
        level: "INFO".into(),
        target: "nsfl_gateway::session".into(),
        message: "link up".into(),
        fields,
    };
    let bodies = (
        Session { name: "ada".into(), role: UserRole::Operator, by: "token".into() },
        Tokens { tokens: vec![token] },
        MadeToken { id: "0123456789ab".into(), name: "ada".into(), role: UserRole::Operator, token: "nsfl_x".into() },
        Audit { entries: vec![entry], last: 7 },
        Logs { logs: vec![line], last: 1 },
    );
    insta::assert_json_snapshot!(bodies);
    reads_back(&bodies);
}
