//! Each rule of a policy, and requests against what there is.

use super::*;
use nsfl_messages::wire::Scripts;
use nsfl_types::{BlobRef, JobKey, Runtime, TaskKey, TaskKind};
use std::path::Path;

fn order() -> TaskOrder {
    let job = JobKey::new("research".parse().unwrap(), "digits".parse().unwrap());
    TaskOrder {
        key: TaskKey { job, run: 1, round: 1, attempt: 1, kind: TaskKind::Train, client: "c1".parse().unwrap() },
        base: BlobRef::of(b"base"),
        runtime: Runtime::Pytorch,
        task_entry: "digits".into(),
        scripts: None,
        inputs: None,
        author: "alice".into(),
        optimizer: None,
        compression: None,
        parameters: "{}".into(),
        datasets: vec!["digits".into()],
        resource: Resource { worker_num: 2, cpu: 2.0, gpu: 0.0, memory_mb: 1000.0 },
        seed: 1,
        timeout_ms: 60_000,
    }
}

fn packaged() -> TaskOrder {
    let package = BlobRef::of(b"zip");
    TaskOrder { scripts: Some(Scripts { package, config_file: "c.json".into() }), task_entry: String::new(), ..order() }
}

const OFFERED: Resource = Resource { worker_num: 2, cpu: 4.0, gpu: 1.0, memory_mb: 4000.0 };

/// The broken rule, or none.
fn judged(policy: &str, order: TaskOrder) -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("policy.toml");
    std::fs::write(&file, policy).unwrap();
    let admission = Admission { policy: Some(file.clone()), ..Admission::default() };
    let Refusal { code, reason } = admission.admit(order, &OFFERED).err()?;
    assert_eq!(code, Code::Policy);
    let rule = reason.split_once(&format!("{}: ", file.display())).expect("names the file").1;
    Some(rule.split_once(": ").expect("names the rule").0.to_owned())
}

#[test]
fn each_rule_lets_pass_what_it_lists_and_nothing_else() {
    let digest = BlobRef::of(b"zip").digest;
    for (policy, broken) in [
        ("", None),
        ("authors = ['alice']", None),
        ("authors = ['bob']", Some("authors")),
        ("authors = []", Some("authors")),
        ("namespaces = ['research']", None),
        ("namespaces = ['default']", Some("namespaces")),
        ("runtimes = ['pytorch']", None),
        ("runtimes = ['builtin']", Some("runtimes")),
        ("tasks = ['digits']", None),
        ("tasks = ['other']", Some("tasks")),
        ("packages = []", None),
        ("datasets = ['digits']", None),
        ("datasets = ['other']", Some("datasets")),
        ("datasets = []\n[author_datasets]\nalice = ['digits']", None),
        ("datasets = ['digits']\n[author_datasets]\nalice = ['other']", Some("author_datasets.alice")),
        ("datasets = ['digits']\n[author_datasets]\nbob = ['other']", None),
        ("[maximum]\ncpu = 2.0", None),
        ("[maximum]\ncpu = 1.9", Some("maximum.cpu")),
        ("[maximum]\nmemory_mb = 999.0", Some("maximum.memory_mb")),
        ("[maximum]\nworker_num = 1", Some("maximum.worker_num")),
        ("[maximum]\ntimeout_s = 59.0", Some("maximum.timeout_s")),
        ("[maximum]\ntimeout_s = 60.0", None),
        ("require_sandbox = true", Some("require_sandbox")),
        ("minimum_secure_aggregation_group = 3", Some("minimum_secure_aggregation_group")),
        ("dp_floor = 0.5", Some("dp_floor")),
    ] {
        assert_eq!(judged(policy, order()).as_deref(), broken, "{policy}");
    }
    assert_eq!(judged(&format!("tasks = []\npackages = ['{digest}']"), packaged()), None);
    assert_eq!(judged("packages = []", packaged()).as_deref(), Some("packages"));
    let gpu = Resource { gpu: 1.0, ..order().resource };
    assert_eq!(judged("[maximum]\ngpu = 0.5", TaskOrder { resource: gpu, ..order() }).as_deref(), Some("maximum.gpu"));
    let with = |runtime| judged("require_sandbox = true", TaskOrder { runtime, ..order() });
    assert_eq!(with(Runtime::Builtin), None);
    for runtime in [Runtime::Pytorch, Runtime::Tensorflow, Runtime::Torchscript] {
        assert_eq!(with(runtime).as_deref(), Some("require_sandbox"), "a {runtime:?} task runs what a job sends");
    }
}

#[test]
fn a_sandbox_that_is_there_satisfies_the_rule() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("policy.toml");
    std::fs::write(&file, "require_sandbox = true").unwrap();
    let admission = Admission { policy: Some(file), sandboxed: true, ..Admission::default() };
    assert!(admission.admit(order(), &OFFERED).is_ok());
}

#[test]
fn a_policy_that_cannot_be_read_lets_nothing_pass_and_a_change_holds_at_once() {
    let missing = Admission { policy: Some("/nowhere/policy.toml".into()), ..Admission::default() };
    let refusal = missing.admit(order(), &OFFERED).unwrap_err();
    assert_eq!(refusal.code, Code::Policy);
    assert!(refusal.reason.contains("/nowhere/policy.toml"), "{}", refusal.reason);

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("policy.toml");
    let admission = Admission { policy: Some(file.clone()), ..Admission::default() };
    let say = |file: &Path, text: &str| std::fs::write(file, text).unwrap();
    say(&file, "authors = ['alice']");
    assert!(admission.admit(order(), &OFFERED).is_ok());
    say(&file, "authors = ['bob']");
    assert_eq!(admission.admit(order(), &OFFERED).unwrap_err().code, Code::Policy);
    say(&file, "authors = 'bob'");
    assert_eq!(admission.admit(order(), &OFFERED).unwrap_err().code, Code::Policy);
}

#[test]
fn more_than_there_is_in_all_is_refused_with_the_numbers_or_capped() {
    let small = Resource { memory_mb: 500.0, ..OFFERED };
    let refusal = Admission::default().admit(order(), &small).unwrap_err();
    assert_eq!(refusal.code, Code::Unsupported);
    assert_eq!(refusal.reason, "the task asks for memory 1000, this client has 500 in all");
    let alone = Resource { worker_num: 1, ..OFFERED };
    let refusal = Admission::default().admit(order(), &alone).unwrap_err();
    assert_eq!(refusal.reason, "the task asks for worker_num 2, this client has 1 in all");
    let capping = Admission { cap_resources: true, ..Admission::default() };
    let taken = capping.admit(order(), &Resource { cpu: 1.0, ..small }).unwrap();
    assert_eq!(taken.resource, Resource { worker_num: 2, cpu: 1.0, gpu: 0.0, memory_mb: 500.0 });
    assert_eq!(capping.admit(order(), &alone).unwrap().resource, Resource { worker_num: 1, ..order().resource });
}
