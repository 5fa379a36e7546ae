//! The commands around a node do what they say, and a node whose actors gave up says so by its exit code.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use nsfl_integration::{Federation, Launch, Node, Options, Rest, Signal, binary, digits_job, fsck, node, said, until};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn conf(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../conf").join(name)
}

/// A folder of certificates: an authority, a server, a client.
fn provisioned() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let made = provision(folder.path(), &["--server", "server", "--client", "site-a"]);
    assert!(made.status.success(), "{}", said(&made));
    folder
}

fn provision(folder: &Path, more: &[&str]) -> Output {
    node(&[&["provision", "--dir", folder.to_str().unwrap(), "--federation", "default"], more].concat())
}

/// Variables that put these certificates in the place of a sample's.
fn certificates(folder: &Path, name: &str) -> Vec<(&'static str, String)> {
    let path = |file: String| folder.join(file).to_str().unwrap().to_owned();
    vec![
        ("NSFL_TLS__CA", path("ca.crt".to_owned())),
        ("NSFL_TLS__CERTIFICATE", path(format!("{name}.crt"))),
        ("NSFL_TLS__KEY", path(format!("{name}.key"))),
    ]
}

#[test]
fn a_client_whose_task_records_cannot_be_had_any_more_gives_up_with_code_70_and_says_why() {
    let mut federation = Federation::start(&Options { clients: 1, ..Options::default() }).unwrap();
    // what stands in their place is no folder, however often it is tried
    let tasks = federation.folder().join("c1/tasks");
    fs::rename(&tasks, tasks.with_extension("lost")).unwrap();
    fs::write(&tasks, b"").unwrap();
    federation.submit(&digits_job("digits", 1, 1)).unwrap();
    assert_eq!(federation.clients[0].wait().unwrap().code(), Some(70));
    let log = fs::read_to_string(&federation.clients[0].log).unwrap();
    let last = log.lines().last().unwrap();
    assert!(last.starts_with("nsfl-node: ") && last.contains("tasks"), "{log}");
    // a service manager starts it again, and with the records back the job ends
    fs::remove_file(&tasks).unwrap();
    fs::rename(tasks.with_extension("lost"), &tasks).unwrap();
    federation.clients[0] = federation.client(1).unwrap();
    assert_eq!(federation.rest.wait_until_at_rest("digits").unwrap()["status"]["state"], "FINISHED");
}

#[test]
fn what_quickstart_keeps_is_a_federation_that_runs_until_interrupted_and_a_clean_folder_with_the_model() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("kept");
    let mut command = Command::new(binary("nsfl-node").unwrap());
    command.args(["quickstart", "--keep", "--clients", "2", "--rounds", "2", "--dir"]).arg(&folder);
    // a group of its own, as a shell gives one: Ctrl-C reaches all of it
    let mut quickstart = command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(quickstart.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut field = |name: &str| {
        let line = lines.find(|line| line.trim_start().starts_with(name)).unwrap_or_else(|| panic!("no {name}"));
        line.trim_start()[name.len()..].trim().to_owned()
    };
    let (model, sha256) = (PathBuf::from(field("model")), field("sha256"));
    let rest = Rest::new(&field("export NSFL_CTL_SERVER=http://"));
    assert_eq!(rest.get("/namespaces/default/jobs/digits").unwrap().body["status"]["state"], "FINISHED");
    let clients = rest.get("/clients").unwrap().body.to_string();
    assert!(clients.contains("\"client-1\"") && clients.contains("\"client-2\""), "{clients}");

    let group = rustix::process::Pid::from_raw(i32::try_from(quickstart.id()).unwrap()).unwrap();
    rustix::process::kill_process_group(group, rustix::process::Signal::INT).unwrap();
    assert_eq!(quickstart.wait().unwrap().code(), Some(0), "it ends orderly, after the processes it started");
    assert!(model.starts_with(&folder), "{}", model.display());
    assert_eq!(nsfl_types::Digest::of(&fs::read(&model).unwrap()).to_hex(), sha256);
    for (role, config) in [("server", "server.toml"), ("client", "client-1.toml"), ("client", "client-2.toml")] {
        let checked = node(&["fsck", role, "--config", folder.join(config).to_str().unwrap()]);
        assert_eq!(checked.status.code(), Some(0), "{config}: {checked:?}");
    }
    // and it can be started again by hand
    let (log, config) = (folder.join("again.log"), folder.join("server.toml"));
    let again = Node::start("server", &config, &log).unwrap();
    let again = Rest::new(again.ready["rest"].as_str().unwrap());
    assert_eq!(again.get("/namespaces/default/jobs/digits").unwrap().body["status"]["state"], "FINISHED");
}

#[test]
fn each_sample_passes_check_config_with_certificates_in_place() {
    let folder = provisioned();
    for (role, sample, name) in [("server", "server.toml", "server"), ("client", "client.toml", "site-a")] {
        let check = || {
            let mut command = Command::new(binary("nsfl-node").unwrap());
            command.args(["check-config", role, "--config"]).arg(conf(sample));
            command
        };
        let passed = check().envs(certificates(folder.path(), name)).output().unwrap();
        let shown = String::from_utf8_lossy(&passed.stdout).into_owned();
        assert_eq!(passed.status.code(), Some(0), "{sample}: {}", said(&passed));
        assert!(shown.contains(&format!("/{name}")) && shown.contains("[link]"), "{shown}");
        // as it is, its certificates are missing
        let refused = check().output().unwrap();
        assert_eq!(refused.status.code(), Some(2), "{sample}: {}", said(&refused));
        assert!(said(&refused).contains("cannot read") && said(&refused).contains("conf/"), "{}", said(&refused));
    }
    let mut policy = Command::new(binary("nsfl-node").unwrap());
    policy.args(["check-config", "client", "--config"]).arg(conf("client.toml"));
    policy.envs(certificates(folder.path(), "site-a")).env("NSFL_POLICY", conf("policy.toml"));
    let passed = policy.output().unwrap();
    assert_eq!(passed.status.code(), Some(0), "{}", said(&passed));
}

#[test]
fn a_bad_configuration_ends_check_config_with_code_2_and_names_file_key_and_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.toml");
    // what is written, what in its place, the key that is named, the remedy that is
    for (role, from, to, key, remedy) in [
        ("server", "expiry_ms = 60000", "expiry = 60000", "link.expiry", "allowed here"),
        ("server", "max_running_jobs = 4", "max_running_jobs = 0", "limits.max_running_jobs", "from 1 to"),
        ("server", "listen = \"0.0.0.0:8443\"", "listen = \"everywhere\"", "link.listen", "such as 127.0.0.1"),
        ("client", "runtimes = [\"builtin\"]", "runtimes = [\"fortran\"]", "runtimes", "`pytorch`"),
        ("client", "server = \"localhost:8443\"", "", ": server: is missing", "NSFL_SERVER"),
    ] {
        let text = fs::read_to_string(conf(&format!("{role}.toml"))).unwrap();
        assert!(text.contains(from), "{from}");
        fs::write(&file, text.replacen(from, to, 1)).unwrap();
        let refused = node(&["check-config", role, "--config", file.to_str().unwrap()]);
        let said = said(&refused);
        assert_eq!(refused.status.code(), Some(2), "{to}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        // what stands in no file is no fault of one
        assert!(to.is_empty() || said.contains("bad.toml"), "{to}: the file: {said}");
        assert!(said.contains(key) && said.contains(remedy), "{to}: key and remedy: {said}");
    }
}

#[test]
fn what_provision_makes_lets_a_server_and_a_client_start_and_find_each_other() {
    let folder = provisioned();
    let dir = folder.path();
    let mode = |file: &str| fs::metadata(dir.join(file)).unwrap().permissions().mode() & 0o777;
    assert_eq!(["ca.key", "server.key", "site-a.key"].map(mode), [0o600; 3]);
    let start = |role: &str, name: &str, more: Vec<(&'static str, String)>| {
        let data = dir.join(format!("{name}-data")).to_str().unwrap().to_owned();
        let env = [certificates(dir, name), vec![("NSFL_DATA_DIR", data)], more].concat();
        let (program, config) = (binary("nsfl-node").unwrap(), conf(&format!("{role}.toml")));
        let log = dir.join(format!("{name}.log"));
        Node::launch(&Launch { program: &program, role, config: &config, log: &log, env: &env }).unwrap()
    };
    let free = |key| (key, "127.0.0.1:0".to_owned());
    let no_token = ("NSFL_REST__LOOPBACK_WITHOUT_TOKEN", "true".to_owned());
    let server = start("server", "server", vec![free("NSFL_LINK__LISTEN"), free("NSFL_REST__LISTEN"), no_token]);
    let link = server.ready["link"].as_str().unwrap().to_owned();
    let client = |name: &str| {
        let client = start("client", name, vec![("NSFL_SERVER", link.clone())]);
        assert_eq!(client.ready["client"], name);
        client
    };
    let _first = client("site-a");
    // another one later, of the same authority; what is there is not overwritten
    let before = fs::read(dir.join("ca.crt")).unwrap();
    let again = provision(dir, &["--client", "site-a"]);
    assert!(!again.status.success() && said(&again).contains("site-a.crt exists"), "{}", said(&again));
    assert!(provision(dir, &["--client", "site-b"]).status.success());
    assert_eq!(fs::read(dir.join("ca.crt")).unwrap(), before);
    let _second = client("site-b");
    let rest = server.ready["rest"].as_str().unwrap();
    until("both clients at the server", || {
        let clients = Rest::new(rest).get("/clients").unwrap().body.to_string();
        (clients.contains("\"site-a\"") && clients.contains("\"site-b\"")).then_some(())
    });
}

#[test]
fn a_damaged_record_is_named_by_fsck_and_told_to_who_asks_and_the_server_goes_on() {
    let mut federation = Federation::start(&Options::default()).unwrap();
    federation.submit(&digits_job("digits", 2, 2)).unwrap();
    federation.rest.wait_until_at_rest("digits").unwrap();
    federation.server.signal(Signal::Terminate).unwrap();
    assert_eq!(federation.server.wait().unwrap().code(), Some(0));
    assert_eq!(fsck(&federation).0, Some(0));
    let database = rusqlite::Connection::open(federation.folder().join("server/nsfl.sqlite")).unwrap();
    for change in [
        "rounds SET accepted = 3 WHERE round = 1 AND kind = 0",
        "members SET client = 'c3' WHERE client = 'c2' AND round = 2 AND kind = 0",
        "checkpoints SET accuracy = 1.0 WHERE round = 2",
        "events SET at = at + 1 WHERE kind = 'run-started'",
    ] {
        assert_eq!(database.execute(&format!("UPDATE {change}"), []), Ok(1), "{change}");
    }
    drop(database);
    let (code, report) = fsck(&federation);
    assert_eq!(code, Some(4), "{report}");
    for row in [
        "rounds (job default/digits, run 1, round 1, kind 0, attempt 1)",
        "members (job default/digits, run 1, round 2, kind 0, attempt 1, client c3)",
        "checkpoints (job default/digits, id V1-2)",
        "events (id ",
    ] {
        let named = report["findings"].as_array().unwrap().iter().filter(|finding| finding.to_string().contains(row));
        assert_eq!(named.count(), 1, "{row}: {report}");
    }
    federation.restart_server().unwrap();
    for _ in 0..10 {
        let asked = federation.rest.get("/namespaces/default/jobs/digits").unwrap();
        assert_eq!(asked.body["code"], "store", "{asked:?}");
        assert_eq!(federation.rest.get("/namespaces/default/jobs/digits/rounds").unwrap().body["code"], "store");
    }
    let listed = federation.rest.get("/namespaces/default/jobs").unwrap().body;
    assert_eq!(listed["jobs"][0]["status"]["state"], "FINISHED", "{listed}");
    let told = federation.rest.events("digits").unwrap().filter(|event| event.kind == "event-damaged").count();
    assert_eq!(told, 1, "and those after it are told too");
    federation.submit(&digits_job("other", 2, 1)).unwrap();
    assert_eq!(federation.rest.wait_until_at_rest("other").unwrap()["status"]["state"], "FINISHED");
}
