//! The samples in `conf/` are what the documentation shows: they parse, they are the defaults, and they name every key.

#![allow(clippy::unwrap_used, reason = "a test")]

use nsfl_config::{ClientConfig, Maximum, NO_FLAGS, Policy, ServerConfig};
use nsfl_types::JobSpec;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const NO_ENV: [(String, String); 0] = [];

fn conf(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conf").join(name)
}

fn table(text: &str) -> toml::Table {
    toml::from_str(text).unwrap()
}

/// `a.b` for every key of the table and of the tables in it.
fn keys(table: &toml::Table, prefix: &str, found: &mut BTreeSet<String>) {
    for (key, value) in table {
        let path = format!("{prefix}{key}");
        match value {
            toml::Value::Table(inner) => keys(inner, &format!("{path}."), found),
            _ => _ = found.insert(path),
        }
    }
}

/// A file in a folder of its own that holds only what the sample marks as required.
fn required_only(sample: &toml::Table, required: &[&str]) -> (tempfile::TempDir, PathBuf) {
    let kept: toml::Table =
        sample.iter().filter(|(k, _)| required.contains(&k.as_str())).map(|(k, v)| (k.clone(), v.clone())).collect();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("node.toml");
    std::fs::write(&file, kept.to_string()).unwrap();
    (dir, file)
}

/// Same text, whatever folder the paths were anchored in.
fn in_folder(described: &str, folder: &Path) -> String {
    described.replace(&format!("{}/", folder.display()), "")
}

fn assert_defaults_and_complete(name: &str, required: &[&str], describe: impl Fn(&Path) -> String) {
    let text = std::fs::read_to_string(conf(name)).unwrap();
    let sample = table(&text);
    let shown = in_folder(&describe(&conf(name)), conf(name).parent().unwrap());
    let (dir, bare) = required_only(&sample, required);
    assert_eq!(shown, in_folder(&describe(&bare), dir.path()), "{name} is not the defaults");

    let (mut written, mut effective) = (BTreeSet::new(), BTreeSet::new());
    keys(&sample, "", &mut written);
    keys(&table(&shown), "", &mut effective);
    assert_eq!(written, effective, "{name} does not show every key");
}

#[test]
fn the_server_sample_is_the_defaults_and_shows_every_key() {
    assert_defaults_and_complete("server.toml", &["data_dir", "tls"], |file| {
        ServerConfig::load_with(Some(file), NO_ENV, NO_FLAGS).unwrap().describe()
    });
}

#[test]
fn the_client_sample_is_the_defaults_and_shows_every_key() {
    assert_defaults_and_complete("client.toml", &["server", "data_dir", "tls"], |file| {
        ClientConfig::load_with(Some(file), NO_ENV, NO_FLAGS).unwrap().describe()
    });
}

#[test]
fn what_the_samples_show_commented_out_is_accepted_too() {
    for (name, lines) in [
        (
            "server.toml",
            &[
                "# [rest.tls]",
                "# certificate = \"rest.crt\"",
                "# key = \"rest.key\"",
                "# [telemetry.otlp]",
                "# endpoint = \"http://127.0.0.1:4318\"",
                "# interval_ms = 5000",
            ][..],
        ),
        (
            "client.toml",
            &["# digits = \"data/digits.csv\"", "# digits = \"tasks/digits.json\"", "# policy = \"policy.toml\""],
        ),
    ] {
        let mut text = std::fs::read_to_string(conf(name)).unwrap();
        for line in lines {
            assert!(text.contains(line), "{name} has no '{line}'");
            text = text.replace(line, line.trim_start_matches("# "));
        }
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(name);
        std::fs::write(&file, text).unwrap();
        if name == "server.toml" {
            let config = ServerConfig::load_with(Some(&file), NO_ENV, NO_FLAGS).unwrap();
            assert_eq!(config.rest.tls.unwrap().key, dir.path().join("rest.key"));
            assert_eq!(config.telemetry.otlp.unwrap().interval_ms.get(), 5000);
        } else {
            let config = ClientConfig::load_with(Some(&file), NO_ENV, NO_FLAGS).unwrap();
            assert_eq!(config.datasets["digits"], dir.path().join("data/digits.csv"));
            assert_eq!(config.tasks["digits"], dir.path().join("tasks/digits.json"));
            assert_eq!(config.policy, Some(dir.path().join("policy.toml")));
        }
    }
}

#[test]
fn the_policy_sample_is_a_policy_that_shows_every_rule() {
    let text = std::fs::read_to_string(conf("policy.toml")).unwrap();
    assert_eq!(Policy::read(&conf("policy.toml")).unwrap(), Policy::default(), "as it stands it allows all");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("policy.toml");
    let uncommented =
        text.lines().map(|line| line.strip_prefix("# ").filter(|line| line.contains('=')).unwrap_or(line));
    std::fs::write(&file, uncommented.collect::<Vec<_>>().join("\n")).unwrap();
    let policy = Policy::read(&file).unwrap_or_else(|e| panic!("{e}"));
    let (mut shown, mut known) = (BTreeSet::new(), BTreeSet::new());
    keys(&table(&std::fs::read_to_string(&file).unwrap()), "", &mut shown);
    keys(&table(&toml::to_string(&policy).unwrap()), "", &mut known);
    assert_eq!(shown, known, "what the sample does not show is not written");
    let maximum = Maximum { cpu: None, gpu: None, memory_mb: None, worker_num: None, timeout_s: None };
    assert!(
        policy.maximum != maximum && policy.dp_floor.is_some() && policy.packages.is_some() && policy.tasks.is_some()
    );
    assert!(!policy.author_datasets.is_empty() && policy.minimum_secure_aggregation_group.is_some());
    assert!(policy.authors.is_some() && policy.namespaces.is_some() && policy.datasets.is_some());
    assert!(policy.runtimes.is_some());
}

#[test]
fn the_sample_jobs_are_accepted_and_the_yaml_says_the_same_as_the_json() {
    let parse =
        |name: &str| JobSpec::parse(&std::fs::read(conf(name)).unwrap()).unwrap_or_else(|e| panic!("{name}: {e}"));
    let (_, digits) = parse("jobs/digits.json");
    assert_eq!((digits.hyper.client_num, digits.hyper.quorum.get(), digits.seed), (4, 3, 7));
    assert_eq!(parse("jobs/echo.json").1.task_entry, "echo");
    assert_eq!(parse("jobs/buffer.json").1.hyper.late, nsfl_types::Late::Buffer);
    assert!(parse("jobs/script.json").1.scripts.is_some());
    assert!(parse("jobs/compressed.json").1.compression.is_some());

    let yaml = std::fs::read_to_string(conf("jobs/digits.yaml")).unwrap();
    let json: serde_json::Value = serde_yaml_ng::from_str(&yaml).unwrap();
    assert_eq!(JobSpec::parse(json.to_string().as_bytes()).unwrap().1, digits);
}

#[test]
fn no_sample_is_left_without_a_test() {
    let mut names: Vec<String> = ["", "jobs"]
        .iter()
        .flat_map(|folder| std::fs::read_dir(conf(folder)).unwrap())
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "buffer.json",
            "client.toml",
            "compressed.json",
            "digits.json",
            "digits.yaml",
            "echo.json",
            "jobs",
            "policy.toml",
            "script.json",
            "server.toml"
        ]
    );
}
