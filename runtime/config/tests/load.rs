//! Which layer wins, where paths point, and what is said about a value that cannot be accepted.

#![allow(clippy::unwrap_used, reason = "a test")]

use nsfl_config::{ClientConfig, ConfigError, NO_FLAGS, ServerConfig};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const SERVER: &str = "data_dir = 'data'\ntls = {ca = 'ca.pem', certificate = 'c.pem', key = '/abs/k.pem'}\n";
const CLIENT: &str = "server = 'localhost:8443'\n";

struct Case {
    dir: tempfile::TempDir,
    env: Vec<(String, String)>,
    flags: Value,
}

impl Case {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), env: Vec::new(), flags: Value::Null }
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    fn flags(mut self, flags: Value) -> Self {
        self.flags = flags;
        self
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn server(&self, text: &str) -> Result<ServerConfig, ConfigError> {
        let file = self.write("server.toml", &format!("{SERVER}{text}"));
        ServerConfig::load_with(Some(&file), self.env.clone(), &self.flags)
    }

    fn client(&self, text: &str) -> Result<ClientConfig, ConfigError> {
        let file = self.write("client.toml", &format!("{CLIENT}{SERVER}{text}"));
        ClientConfig::load_with(Some(&file), self.env.clone(), &self.flags)
    }
}

fn server(text: &str) -> Result<ServerConfig, ConfigError> {
    Case::new().server(text)
}

fn refusal<T: std::fmt::Debug>(result: Result<T, ConfigError>) -> String {
    result.expect_err("should be refused").to_string()
}

#[test]
fn flags_win_over_the_environment_the_environment_over_the_file_the_file_over_the_defaults() {
    let file = "[limits]\nmax_uploads = 2\nmax_running_jobs = 2\n[link]\nheartbeat_ms = 2000";
    let config = Case::new()
        .env("NSFL_LIMITS__MAX_RUNNING_JOBS", "3")
        .env("NSFL_LINK__HEARTBEAT_MS", "3000")
        .env("OTHER_LIMITS__MAX_UPLOADS", "9")
        .flags(json!({"link": {"heartbeat_ms": 4000, "listen": null}, "federation": null}))
        .server(file)
        .unwrap();
    assert_eq!(config.limits.max_upload_wait_ms.get(), 30_000);
    assert_eq!(config.limits.max_uploads.get(), 2);
    assert_eq!(config.limits.max_running_jobs.get(), 3);
    assert_eq!(config.link.heartbeat_ms.get(), 4_000);
    assert_eq!((config.link.listen.port(), config.federation.as_str()), (8443, "default"));
}

#[test]
fn a_configuration_needs_no_file() {
    let env = [("NSFL_DATA_DIR", "d"), ("NSFL_TLS__CA", "a"), ("NSFL_TLS__CERTIFICATE", "b"), ("NSFL_TLS__KEY", "c")]
        .map(|(k, v)| (k.to_owned(), v.to_owned()));
    let config = ServerConfig::load_with(None, env, NO_FLAGS).unwrap();
    assert_eq!((config.data_dir.as_path(), config.tls.key.as_path()), (Path::new("d"), Path::new("c")));
}

#[test]
fn lists_and_addresses_can_come_from_the_environment() {
    let config = Case::new()
        .env("NSFL_NAMESPACES", r#"["a", "b"]"#)
        .env("NSFL_REST__LISTEN", "127.0.0.1:0")
        .env("NSFL_LOG__LEVEL", "info,nsfl_transport=debug")
        .server("")
        .unwrap();
    assert_eq!(config.namespaces.len(), 2);
    assert_eq!(config.rest.listen.to_string(), "127.0.0.1:0");
    assert_eq!(config.log.level, "info,nsfl_transport=debug");
}

#[test]
fn variables_of_the_command_line_tool_are_not_taken_for_keys() {
    let case = Case::new().env("NSFL_CTL_SERVER", "x").env("NSFL_CONFIG", "y");
    assert!(case.server("").is_ok());
}

#[test]
fn a_relative_path_is_relative_to_the_file_it_stands_in_and_to_the_working_folder_elsewhere() {
    let case = Case::new().env("NSFL_TLS__CERTIFICATE", "env.pem");
    let config = case.server("").unwrap();
    assert_eq!(config.tls.ca, case.dir.path().join("ca.pem"));
    assert_eq!(config.tls.certificate, Path::new("env.pem"));
    assert_eq!(config.tls.key, Path::new("/abs/k.pem"));
}

#[test]
fn data_sets_are_a_table_or_a_json_file_and_paths_are_anchored_where_they_stand() {
    let case = Case::new();
    let config = case.client("[datasets]\ndigits = 'd.csv'").unwrap();
    assert_eq!(config.datasets["digits"], case.dir.path().join("d.csv"));

    std::fs::create_dir(case.dir.path().join("sub")).unwrap();
    case.write("sub/sets.json", r#"{"digits": "d.csv", "wine": "/abs/w.csv"}"#);
    let config = case.client("datasets = 'sub/sets.json'").unwrap();
    assert_eq!(config.datasets["digits"], case.dir.path().join("sub/d.csv"));
    assert_eq!(config.datasets["wine"], Path::new("/abs/w.csv"));

    case.write("sub/sets.json", r#"["digits"]"#);
    assert!(refusal(case.client("datasets = 'sub/sets.json'")).contains("sets.json: is not a JSON map"));
    assert!(refusal(case.client("datasets = 'none.json'")).contains("none.json: cannot be read"));
    assert!(refusal(case.client("datasets = 5")).contains("datasets"));
}

#[test]
fn a_bad_value_is_named_with_its_file_its_key_and_what_is_allowed() {
    for (text, key, says) in [
        ("colour = 1", "colour", "/server.toml: colour: is unknown; allowed here: federation, data_dir"),
        (
            "[limits]\nmax_upload = 1",
            "limits.max_upload",
            ": limits.max_upload: is unknown; allowed here: max_blob_bytes, max_uploads",
        ),
        ("[limits]\nmax_uploads = 0", "limits.max_uploads", "a number from 1 to 1000000"),
        ("[limits]\nmax_uploads = 'many'", "limits.max_uploads", "expected a number from 1 to 1000000"),
        ("[limits]\nmax_blob_bytes = -1", "limits.max_blob_bytes", "bytes from 1 to"),
        ("shutdown_ms = 0", "shutdown_ms", "milliseconds from 1 to"),
        ("[link]\nlisten = 'everywhere'", "link.listen", "ip:port is expected"),
        ("[link]\nheartbeat_ms = 20000", "link", "heartbeat_ms (20000) must not be above unreachable_ms (15000)"),
        ("[link]\nunreachable_ms = 70000", "link", "must not be above expiry_ms (60000)"),
        ("[rounds]\nretry_base_ms = 70000", "rounds", "must not be above retry_max_ms (60000)"),
        ("namespaces = []", "namespaces", "at least one item"),
        ("namespaces = ['a', 'a']", "namespaces", "item 2 is listed twice"),
        ("namespaces = ['a/b']", "namespaces", "not valid: use 1 to"),
        ("federation = 'a b'", "federation", "a-z A-Z 0-9"),
        ("[log]\nlevel = 'loud'", "log.level", "allowed: error, warn"),
        ("[log]\nformat = 'xml'", "log.format", "`pretty` or `json`"),
        ("[rest.tls]\ncertificate = ''\nkey='k'", "rest.tls.certificate", "a path is expected"),
        ("[store]\nfsync = 'yes'", "store.fsync", "bool"),
        ("[telemetry.otlp]\nendpoint = 'localhost:4318'", "telemetry.otlp.endpoint", "such as http://127.0.0.1:4318"),
        ("[telemetry.otlp]\nendpoint = 'https://c:4318'", "telemetry.otlp", "an https endpoint needs ca"),
        ("[telemetry.otlp]\nendpoint = 'http://c:4318'\nca = 'x'", "telemetry.otlp", "ca is for an https endpoint"),
    ] {
        let case = Case::new();
        let e = refusal(case.server(text));
        let start = format!("configuration: file {}/server.toml: {key}", case.dir.path().display());
        assert!(e.starts_with(&start) && e.contains(says), "{e}\nshould start with: {start}\nand say: {says}");
    }
    for (text, key, says) in [
        ("runtimes = ['caffe']", "runtimes", "builtin"),
        ("[resource]\ncpu = -1.0", "resource.cpu", "0 or more"),
        ("id = 'c-1'", "id", "is unknown"),
    ] {
        let e = refusal(Case::new().client(text));
        assert!(e.contains(&format!("client.toml: {key}")) && e.contains(says), "{e}");
    }
}

#[test]
fn a_bad_value_from_elsewhere_is_named_with_its_variable_or_the_command_line() {
    let e = refusal(Case::new().env("NSFL_LIMITS__MAX_UPLOADS", "lots").server(""));
    assert!(e.starts_with("configuration: environment variable NSFL_LIMITS__MAX_UPLOADS: limits.max_uploads:"), "{e}");
    let e = refusal(Case::new().env("NSFL_LIMITS__MAX_UPLOAD", "1").server(""));
    assert!(
        e.starts_with("configuration: environment variable NSFL_LIMITS__MAX_UPLOAD: limits.max_upload: is unk"),
        "{e}"
    );
    let e = refusal(Case::new().flags(json!({"link": {"listen": "x"}})).server(""));
    assert!(e.starts_with("configuration: the command line: link.listen: 'x' is no address"), "{e}");
    let e = refusal(Case::new().flags(json!({"server": "https://x:1"})).client(""));
    assert!(e.starts_with("configuration: the command line: server: 'https://x:1'"), "{e}");
    assert!(refusal(Case::new().flags(json!([1])).server("")).contains("no table"));
}

#[test]
fn a_missing_value_is_named_with_the_variable_that_would_set_it() {
    let case = Case::new();
    let file = case.write("s.toml", "data_dir = 'd'\n[tls]\nca = 'a'\ncertificate = 'c'");
    let e = refusal(ServerConfig::load_with(Some(&file), [], NO_FLAGS));
    assert_eq!(e, "configuration: tls.key: is missing and required: set it in the file, by NSFL_TLS__KEY or by a flag");
    assert!(refusal(ServerConfig::load_with(None, [], NO_FLAGS)).contains("data_dir: is missing"));
}

#[test]
fn an_unreadable_file_and_one_that_is_not_toml_are_told_apart() {
    let case = Case::new();
    let gone = case.dir.path().join("gone.toml");
    assert!(refusal(ServerConfig::load_with(Some(&gone), [], NO_FLAGS)).contains("gone.toml: cannot be read: No such"));
    assert!(refusal(ServerConfig::load_with(Some(case.dir.path()), [], NO_FLAGS)).contains("cannot be read"));
    let e = refusal(server("listen = = 1"));
    assert!(e.contains("server.toml: is not TOML") && e.contains("line 3"), "{e}");
}

#[test]
fn what_is_described_is_a_configuration_with_the_same_meaning() {
    let config = Case::new().client("label = 'north'\n[datasets]\nd = '/x'").unwrap();
    let again = Case::new();
    let file = again.write("c.toml", &config.describe());
    assert_eq!(ClientConfig::load_with(Some(&file), [], NO_FLAGS).unwrap(), config);

    let config = server("[rest.tls]\ncertificate = 'r.pem'\nkey = 'r.key'").unwrap();
    let file = again.write("s.toml", &config.describe());
    assert_eq!(ServerConfig::load_with(Some(&file), [], NO_FLAGS).unwrap(), config);
}
