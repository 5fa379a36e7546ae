//! The program as a script sees it: exit codes, stdout and stderr, against a small HTTP server that answers from a list.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};
use std::thread::JoinHandle;

/// What is to be asked, by method and path, and what is answered; bytes after the head, then the connection is closed.
struct Step(&'static str, String);

fn json(status: u16, body: &str) -> String {
    format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn stream(events: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{events}")
}

/// A request: `METHOD PATH` and its body.
type Asked = (String, Vec<u8>);

/// Serves the steps in order, a connection each; gives back what was asked.
fn serve(steps: Vec<Step>) -> (String, JoinHandle<Vec<Asked>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut steps = VecDeque::from(steps);
    let served = std::thread::spawn(move || {
        let mut seen = Vec::new();
        while let Some(Step(expected, answer)) = steps.pop_front() {
            let (mut socket, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(socket.try_clone().unwrap());
            let (mut head, mut line, mut len) = (String::new(), String::new(), 0);
            while reader.read_line(&mut line).unwrap() > 2 {
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    len = value.trim().parse().unwrap();
                }
                head += &line;
                line.clear();
            }
            let mut body = vec![0; len];
            reader.read_exact(&mut body).unwrap();
            let asked = head.lines().next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
            assert_eq!(asked, expected, "in this order");
            seen.push((asked, body));
            socket.write_all(answer.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n").as_bytes()).unwrap();
        }
        seen
    });
    (url, served)
}

fn ctl(folder: &Path, url: &str, line: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nsfl-ctl"));
    command.env_clear().env("XDG_CONFIG_HOME", folder).current_dir(folder);
    if !url.is_empty() {
        command.env("NSFL_CTL_SERVER", url);
    }
    command.args(line.split_whitespace()).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

const DONE: &str = r#"{"state":"SUCCESSFUL"}"#;
const ABSENT: &str = r#"{"state":"FAILED","reason":"no job 'digits'","code":"not-found"}"#;

fn event(id: u32, kind: &str, fields: &str) -> String {
    format!(
        "id: {id}\nevent: {kind}\ndata: {{\"id\":{id},\"at\":\"2026-01-02T03:04:05Z\",\"kind\":\"{kind}\",\"fields\":{fields}}}\n\n"
    )
}

fn round(id: u32, round: u32) -> String {
    let fields = format!(
        r#"{{"round":{round},"attempt":1,"kind":"train","outcome":"complete","accepted":2,"cohort":2,"metrics":{{"accuracy":0.5}},"seconds":1}}"#
    );
    event(id, "round-closed", &fields)
}

#[test]
fn a_job_with_a_model_is_uploaded_created_and_its_document_names_the_model() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("job.toml"), "id = 'digits'\nruntime = 'builtin'\n").unwrap();
    std::fs::write(folder.path().join("model.safetensors"), b"weights").unwrap();
    let (url, served) = serve(vec![
        Step("GET /api/v1/namespaces/default/jobs/digits", json(404, ABSENT)),
        Step(
            "PUT /api/v1/namespaces/default/files/models/digits/model.safetensors",
            json(201, r#"{"path":"p","bytes":7,"sha256":"00"}"#),
        ),
        Step("POST /api/v1/namespaces/default/jobs", json(201, DONE)),
    ]);
    let output = ctl(folder.path(), &url, "create job default -w .");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "default/digits\n");
    let seen = served.join().unwrap();
    assert_eq!(seen[1].1, b"weights");
    let document: serde_json::Value = serde_json::from_slice(&seen[2].1).unwrap();
    assert_eq!(document["model_path"], "models/digits/model.safetensors");
    assert_eq!(document["runtime"], "builtin");
}

#[test]
fn a_workspace_with_scripts_and_an_extender_goes_up_whole_and_its_document_names_them() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("job.json", r#"{"id": "digits", "extenders": {"finish": "done"}}"#);
    write("scripts/task.json", "{}");
    write("scripts/train.py", "x = 1");
    write("scripts/__pycache__/train.pyc", "x");
    write("extender.py", "def done(result): pass");
    let stored = r#"{"path":"p","bytes":7,"sha256":"00"}"#;
    let (url, served) = serve(vec![
        Step("GET /api/v1/namespaces/default/jobs/digits", json(404, ABSENT)),
        Step("PUT /api/v1/namespaces/default/files/scripts/digits/scripts.zip", json(201, stored)),
        Step("PUT /api/v1/namespaces/default/files/extenders/digits/extender.py", json(201, stored)),
        Step("POST /api/v1/namespaces/default/jobs", json(201, DONE)),
    ]);
    let output = ctl(folder.path(), &url, "create job default -w .");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let seen = served.join().unwrap();
    let listing = nsfl_package::check(&seen[1].1, &nsfl_package::Limits::default()).unwrap();
    assert_eq!(listing.names, ["task.json", "train.py"]);
    assert_eq!(seen[2].1, b"def done(result): pass");
    let document: serde_json::Value = serde_json::from_slice(&seen[3].1).unwrap();
    let expected = serde_json::json!({"id": "digits",
        "scripts": {"path": "scripts/digits/scripts.zip", "config_file": "task.json"},
        "extender": {"finish": "done", "script_path": "extenders/digits", "entry": "extender.py"}});
    assert_eq!(document, expected);
    std::fs::remove_file(folder.path().join("scripts/task.json")).unwrap();
    let output = ctl(folder.path(), "", "update job default -w .");
    assert_eq!(output.status.code(), Some(2), "nothing is sent");
    assert!(text(&output.stderr).contains("scripts.config_file"), "{}", text(&output.stderr));
}

const DETAIL: &str = r#"{"run":1,"attempts":[{"round":1,"attempt":1,"kind":"train","state":"complete","reason":"",
    "opened":"2026-01-02T03:04:05Z","closed":null,"cohort":2,"accepted":1,"metrics":{},"model":null}],
    "members":[{"client":"c1","round":1,"attempt":1,"kind":"train","state":"failed","metrics":{},"code":"script-exit",
    "reason":"exit code 3","at":"2026-01-02T03:04:05Z","cause":{"exit":"exit code 3","log":"no data\nbye"}},
    {"client":"c2","round":1,"attempt":1,"kind":"train","state":"accepted","metrics":{},"reason":"","at":"2026-01-02T03:04:05Z"}]}"#;

#[test]
fn logs_are_those_of_failed_tasks_and_followed_to_the_jobs_end() {
    let folder = tempfile::tempdir().unwrap();
    let rounds = r#"{"run":1,"rounds":[],"current":null}"#;
    let failed = event(5, "task-failed", r#"{"round":1,"attempt":1,"kind":"train","client":"c1"}"#);
    let (url, served) = serve(vec![
        Step("GET /api/v1/namespaces/default/jobs/digits/events?limit=0", json(200, r#"{"events":[],"last":4}"#)),
        Step("GET /api/v1/namespaces/default/jobs/digits/rounds", json(200, rounds)),
        Step(
            "GET /api/v1/namespaces/default/jobs/digits/events?after=4&until_end=true",
            stream(&(failed + "event: end\ndata: {\"state\":\"FAILED\"}\n\n")),
        ),
        Step("GET /api/v1/namespaces/default/jobs/digits/rounds/1", json(200, DETAIL)),
    ]);
    let output = ctl(folder.path(), &url, "logs job default digits --client c1 --follow");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let expected = "==> round 1 train, attempt 1, client c1: exit code 3 (script-exit)\n\
                    ended with exit code 3\nlast lines:\n  no data\n  bye\n";
    assert_eq!(text(&output.stdout), expected);
    served.join().unwrap();
}

/// The first attempt failed in the extender, the second too.
const EXTENDER_DETAIL: &str = r#"{"run":1,"attempts":[
    {"round":1,"attempt":1,"kind":"train","state":"failed","reason":"ValueError: first","opened":"2026-01-02T03:04:05Z",
     "closed":null,"cohort":1,"accepted":1,"metrics":{},"model":null,"cause":{"log":"earlier"}},
    {"round":1,"attempt":2,"kind":"train","state":"failed","reason":"ValueError: too few","opened":"2026-01-02T03:04:05Z",
     "closed":null,"cohort":1,"accepted":1,"metrics":{},"model":null,
     "cause":{"traceback":"  File \"mine.py\"\nValueError: too few","log":"so far"}}],
    "members":[]}"#;

#[test]
fn an_extender_that_fails_is_told_to_who_follows_the_logs() {
    let folder = tempfile::tempdir().unwrap();
    let closed = |id, attempt: u32, outcome: &str| {
        let fields = format!(r#"{{"round":1,"attempt":{attempt},"kind":"train","outcome":"{outcome}"}}"#);
        event(id, "round-closed", &fields)
    };
    let events = closed(5, 2, "failed") + &closed(6, 3, "complete") + "event: end\ndata: {\"state\":\"FINISHED\"}\n\n";
    let (url, served) = serve(vec![
        Step("GET /api/v1/namespaces/default/jobs/digits/events?limit=0", json(200, r#"{"events":[],"last":4}"#)),
        Step("GET /api/v1/namespaces/default/jobs/digits/rounds", json(200, r#"{"run":1,"rounds":[],"current":null}"#)),
        Step("GET /api/v1/namespaces/default/jobs/digits/events?after=4&until_end=true", stream(&events)),
        Step("GET /api/v1/namespaces/default/jobs/digits/rounds/1", json(200, EXTENDER_DETAIL)),
    ]);
    let output = ctl(folder.path(), &url, "logs job default digits --follow");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let expected = "==> round 1 train, attempt 2: ValueError: too few\n  File \"mine.py\"\nValueError: too few\n\
                    last lines:\n  so far\n";
    assert_eq!(text(&output.stdout), expected);
    served.join().unwrap();
}

#[test]
fn every_kind_of_failure_has_its_exit_code_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let refused = r#"{"state":"FAILED","reason":"job 'digits' is RUNNING: start is not allowed","code":"not-allowed"}"#;
    let (url, served) = serve(vec![
        Step("PUT /api/v1/namespaces/default/jobs/digits:start", json(403, refused)),
        Step("GET /api/v1/namespaces/default/jobs/digits", json(404, ABSENT)),
        Step("GET /api/v1/health", json(502, "<html>bad gateway</html>")),
    ]);
    let output = ctl(folder.path(), &url, "start job default digits");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("start is not allowed"));
    assert_eq!(ctl(folder.path(), &url, "get job default digits").status.code(), Some(4));
    let output = ctl(folder.path(), &url, "health");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("bad gateway"));
    served.join().unwrap();
    // The listener is gone: nobody is there any more.
    let output = ctl(folder.path(), &url, "health");
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("NSFL_CTL_SERVER"), "{}", text(&output.stderr));
    let output = ctl(folder.path(), &url, "create job default -f absent.json");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("absent.json"));
    assert_eq!(ctl(folder.path(), &url, "watch job default digits --timeout 0").status.code(), Some(5));
    assert_eq!(ctl(folder.path(), &url, "fly").status.code(), Some(2));
    assert_eq!(ctl(folder.path(), &url, "--help").status.code(), Some(0));
    assert!(output.stdout.is_empty());
}

#[test]
fn watch_goes_on_after_the_last_event_when_the_server_was_away() {
    let folder = tempfile::tempdir().unwrap();
    let path = "GET /api/v1/namespaces/default/jobs/digits/events";
    let finished = event(9, "job-state", r#"{"state":"FINISHED","reason":"","progress":100}"#);
    let (url, served) = serve(vec![
        Step("GET /api/v1/namespaces/default/jobs/digits/events?after=0&until_end=true", stream(&round(7, 1))),
        Step(
            "GET /api/v1/namespaces/default/jobs/digits/events?after=7&until_end=true",
            stream(&(round(8, 2) + &finished + "event: end\ndata: {\"state\":\"FINISHED\"}\n\n")),
        ),
    ]);
    let output = ctl(folder.path(), &url, "watch job default digits");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let lines: Vec<&str> = text(&output.stdout).lines().collect();
    assert!(lines[0].starts_with("round   1 train") && lines[1].starts_with("round   2 train"), "{lines:?}");
    assert_eq!(lines[2..], ["job FINISHED", "default/digits FINISHED"]);
    assert!(!text(&output.stdout).contains('\x1b'), "no terminal, no control characters");
    assert!(served.join().unwrap().iter().all(|(asked, _)| asked.starts_with(path)));
}

#[test]
fn waiting_for_a_job_that_fails_is_a_failure_and_its_reason_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let failed = event(12, "job-state", r#"{"state":"FAILED","reason":"no quorum in round 1","progress":0}"#);
    let (url, served) = serve(vec![
        Step("GET /api/v1/namespaces/default/jobs/digits/events?limit=0", json(200, r#"{"events":[],"last":11}"#)),
        Step("PUT /api/v1/namespaces/default/jobs/digits:start", json(200, DONE)),
        Step(
            "GET /api/v1/namespaces/default/jobs/digits/events?after=11&until_end=true",
            stream(&(failed + "event: end\ndata: {\"state\":\"FAILED\"}\n\n")),
        ),
    ]);
    let output = ctl(folder.path(), &url, "start job default digits --wait");
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    assert!(text(&output.stderr).contains("job default/digits FAILED: no quorum in round 1"));
    assert_eq!(served.join().unwrap()[1].1, b"null");
}

#[test]
fn the_configuration_is_kept_and_its_password_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let set = ctl(folder.path(), "", "set config -s 127.0.0.1:9 -u me -p");
    assert_eq!(set.status.code(), Some(0), "{}", text(&set.stderr));
    let mut command = Command::new(env!("CARGO_BIN_EXE_nsfl-ctl"));
    command.env_clear().env("XDG_CONFIG_HOME", folder.path()).args(["set", "config", "-p"]);
    let mut child = command.stdin(std::process::Stdio::piped()).stderr(std::process::Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"secret\n").unwrap();
    assert!(child.wait().unwrap().success());
    assert!(std::fs::read_to_string(folder.path().join("nsfl/ctl.toml")).unwrap().contains("secret"));
    let shown = ctl(folder.path(), "", "get config -o json");
    let body: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(body["server"], "http://127.0.0.1:9");
    assert_eq!((&body["user"], &body["password"]), (&"me".into(), &"(set)".into()));
    assert_eq!(ctl(folder.path(), "", "set config -s ftp://x").status.code(), Some(2));
}

#[test]
fn a_job_as_yaml_carries_its_last_metrics() {
    let folder = tempfile::tempdir().unwrap();
    let job = r#"{"id":"digits","run":1,"status":{"state":"RUNNING"}}"#;
    let metrics = r#"{"run":1,"rounds":[1,2],"train":{"loss":[0.5,0.25]},"evaluate":{}}"#;
    let (url, served) = serve(vec![
        Step("GET /api/v1/namespaces/default/jobs/digits", json(200, job)),
        Step("GET /api/v1/namespaces/default/jobs/digits/metrics", json(200, metrics)),
    ]);
    let output = ctl(folder.path(), &url, "get jobs default digits -o yaml");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    assert!(shown.starts_with("id: digits\n") && shown.contains("loss: 0.25"), "{shown}");
    served.join().unwrap();
}
