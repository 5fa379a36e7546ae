//! Every kind of bad job document is refused with the field's path and what is allowed.

use super::*;

fn minimal() -> Value {
    serde_json::json!({"id": "j", "runtime": "builtin", "task_entry": "classifier", "output": "out"})
}

fn parse(v: &Value) -> Result<JobSpec, JobError> {
    JobSpec::parse(v.to_string().as_bytes()).map(|(_, spec)| spec)
}

fn refused(path: &[&str], value: Value) -> JobError {
    let mut doc = minimal();
    let mut at = &mut doc;
    for p in path {
        at = &mut at[*p];
    }
    *at = value;
    parse(&doc).expect_err("should be refused")
}

#[test]
fn the_defaults_are_those_of_the_specification() {
    let spec = parse(&minimal()).unwrap();
    assert_eq!(spec.hyper.max_round_num, 10);
    assert_eq!((spec.hyper.client_num, spec.hyper.quorum.get()), (1, 1));
    assert_eq!((spec.hyper.evaluate_interval, spec.hyper.save_interval), (2, 5));
    assert_eq!(spec.hyper.round_timeout_ms, 3_600_000);
    assert_eq!(spec.resource, Resource { worker_num: 1, cpu: 1.0, gpu: 0.0, memory_mb: 1000.0 });
    assert_eq!(spec.model, ModelSource::Init);
    assert_eq!(spec.aggregator.name, "fedavg");
}

#[test]
fn each_bad_field_is_named_with_its_path() {
    let j = |s: &str| serde_json::from_str::<Value>(s).unwrap();
    for (path, value, field, says) in [
        (&["colour"][..], j("1"), "colour", "unknown field"),
        (&["hyper_parameters"], j(r#"{"rounds":3}"#), "hyper_parameters.rounds", "unknown field"),
        (&["hyper_parameters"], j(r#"{"client_num":"four"}"#), "hyper_parameters.client_num", "invalid type"),
        (&["hyper_parameters"], j(r#"{"client_num":0}"#), "hyper_parameters.client_num", "≥ 1"),
        (&["hyper_parameters"], j(r#"{"client_num":-1}"#), "hyper_parameters.client_num", "invalid value"),
        (
            &["hyper_parameters"],
            j(r#"{"client_num":2,"threshold_client_num":3}"#),
            "hyper_parameters.threshold_client_num",
            "1 to client_num (2)",
        ),
        (&["hyper_parameters"], j(r#"{"round_timeout":0}"#), "hyper_parameters.round_timeout", "seconds"),
        (&["hyper_parameters"], j(r#"{"late":"keep"}"#), "hyper_parameters.late", "drop, stale, buffer"),
        (&["hyper_parameters"], j(r#"{"max_staleness":2}"#), "hyper_parameters.max_staleness", "late 'stale'"),
        (
            &["hyper_parameters"],
            j(r#"{"late":"stale","max_staleness":0}"#),
            "hyper_parameters.max_staleness",
            "1 to 1000",
        ),
        (
            &["hyper_parameters"],
            j(r#"{"late":"buffer","max_staleness":2}"#),
            "hyper_parameters.max_staleness",
            "aggregator.params",
        ),
        (&["redundancy"], j("2.5"), "redundancy", "between 1.0 and 2.0"),
        (&["runtime"], j(r#""caffe""#), "runtime", "allowed: builtin"),
        (&["task_entry"], j(r#""nope""#), "task_entry", "classifier, echo"),
        (&["output"], j(r#""../../etc""#), "output", "storage"),
        (&["id"], j(r#""a/b""#), "id", "not valid"),
        (&["resource"], j(r#"{"cpu":-1}"#), "resource.cpu", "≥ 0"),
        (&["clients"], j(r#"["a","a"]"#), "clients[1]", "twice"),
        (&["aggregator"], j(r#"{"name":" "}"#), "aggregator.name", "must not be empty"),
        (&["aggregator"], j(r#"{"name":"krum","params":[]}"#), "aggregator.params", "map"),
        (&["optimizer"], j(r#"{"name":"lars"}"#), "optimizer.name", "fedprox, pgd, scaffold, feddyn, dp_sgd, dp_adam"),
        (&["optimizer"], j(r#"{"name":"feddyn","alpha":0}"#), "optimizer.alpha", "> 0"),
        (&["optimizer"], j(r#"{"name":"feddyn","mu":1}"#), "optimizer.mu", "allowed: alpha, learning_rate"),
        (&["optimizer"], j(r#"{"name":"dp_sgd","clip":0}"#), "optimizer.clip", "> 0"),
        (
            &["optimizer"],
            j(r#"{"name":"dp_adam","params":{"noise_multiplier":-1}}"#),
            "optimizer.params.noise_multiplier",
            "≥ 0",
        ),
        (&["optimizer"], j(r#"{"name":"dp_sgd","batch_size":0.5}"#), "optimizer.batch_size", "≥ 1"),
        (&["optimizer"], j(r#"{"mu":1}"#), "optimizer.name", "missing"),
        (&["optimizer"], j(r#"{"name":"fedprox","mu":-1}"#), "optimizer.mu", "≥ 0"),
        (&["optimizer"], j(r#"{"name":"fedprox","params":{"nu":1}}"#), "optimizer.params.nu", "mu, learning_rate"),
        (&["optimizer"], j(r#"{"name":"scaffold","batch_size":0}"#), "optimizer.batch_size", "≥ 1"),
        (&["scripts"], j(r#"{"path":"s","config_file":"c"}"#), "scripts", "not both"),
        (&["scripts"], j(r#"{"path":"s","file":"c"}"#), "scripts.file", "unknown field"),
        (&["extender"], j(r#"{"entry":"e.py"}"#), "extender.script_path", "missing"),
        (&["extender"], j(r#"{"script_path":"../e","entry":"e.py"}"#), "extender.script_path", "storage"),
        (&["extender"], j(r#"{"script_path":"e","entry":"../e.py"}"#), "extender.entry", "inside the scripts"),
        (&["extender"], j(r#"{"script_path":"e","entry":"e.py","finish":"a b"}"#), "extender.finish", "function"),
        (&["parameters"], j(r#"{"seed":-1}"#), "parameters.seed", "integer"),
    ] {
        let e = refused(path, value);
        assert_eq!(e.field, field, "{e}");
        assert!(e.problem.contains(says), "{e} should say {says}");
    }
}

#[test]
fn a_missing_field_and_two_model_sources_are_refused() {
    for field in ["id", "runtime", "task_entry", "output"] {
        let mut doc = minimal();
        doc.as_object_mut().unwrap().remove(field);
        let e = parse(&doc).unwrap_err();
        assert_eq!((e.field.as_str(), e.problem.as_str()), (field, "is missing and required"));
    }
    let mut doc = minimal();
    doc["model_path"] = "m".into();
    doc["checkpoint_id"] = "c".into();
    assert!(parse(&doc).unwrap_err().problem.contains("two model sources"));
    assert_eq!(JobSpec::parse(b"nonsense").unwrap_err().field, "document");
}

fn scripted(fields: Value) -> Result<JobSpec, JobError> {
    let mut doc = serde_json::json!({"id": "j", "runtime": "pytorch", "output": "out", "model_path": "m"});
    doc.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    parse(&doc)
}

#[test]
fn a_script_job_has_a_task_of_the_clients_or_scripts_of_its_own() {
    let scripts = serde_json::json!({"scripts": {"path": "/s/mnist/", "config_file": "task.json"}});
    let spec = scripted(scripts.clone()).unwrap();
    let expected = ScriptsSpec { path: "s/mnist".into(), config_file: "task.json".into() };
    assert_eq!((spec.scripts, spec.task_entry.as_str()), (Some(expected), ""));
    let e = scripted(serde_json::json!({})).unwrap_err();
    assert_eq!(e.field, "task_entry");
    assert!(e.problem.contains("scripts"), "{e}");
    let mut doc = minimal();
    doc.as_object_mut().unwrap().remove("task_entry");
    doc["scripts"] = scripts["scripts"].clone();
    assert!(parse(&doc).unwrap_err().problem.contains("runtime builtin"));
    for (path, field) in [("../s", "scripts.path"), ("", "scripts.path")] {
        let e = scripted(serde_json::json!({"scripts": {"path": path, "config_file": "c"}})).unwrap_err();
        assert_eq!(e.field, field);
    }
    let e = scripted(serde_json::json!({"scripts": {"path": "s", "config_file": "/a/../c"}})).unwrap_err();
    assert_eq!(e.field, "scripts.config_file");
}

#[test]
fn an_optimizer_is_sent_with_what_the_job_sets_and_its_default() {
    let sent = |optimizer: Value| {
        let spec = scripted(serde_json::json!({"task_entry": "t", "optimizer": optimizer})).unwrap();
        spec.optimizer.unwrap().to_json().to_string()
    };
    assert_eq!(sent(serde_json::json!({"name": "FedProx"})), r#"{"name":"fedprox","mu":0.6}"#);
    let scaffold = serde_json::json!({"name": "scaffold", "params": {"batch_size": 32}, "learning_rate": 0.1});
    assert_eq!(sent(scaffold), r#"{"name":"scaffold","learning_rate":0.1,"batch_size":32}"#);
    let private = r#"{"name":"dp_sgd","clip":1.0,"noise_multiplier":1.0,"batch_size":8}"#;
    assert_eq!(sent(serde_json::json!({"name": "DP-SGD", "batch_size": 8})), private);
    assert_eq!(sent(serde_json::json!({"name": "pgd"})), r#"{"name":"pgd","mu":0.01}"#);
    assert_eq!(sent(serde_json::json!({"name": "feddyn"})), r#"{"name":"feddyn","alpha":0.01}"#);
    for name in ["fedprox", "pgd", "scaffold", "feddyn", "dp_sgd", "dp_adam"] {
        let spec = OptimizerSpec::from_json(&serde_json::json!({"name": name, "learning_rate": 0.5})).unwrap();
        assert_eq!(spec.learning_rate(), Some(0.5));
        assert_eq!(OptimizerSpec::from_json(&spec.to_json()).unwrap(), spec, "what is sent reads the same");
    }
}

#[test]
fn an_optimizer_that_the_runtime_or_the_task_cannot_use_is_refused() {
    let with = |runtime: &str, entry: &str, name: &str| {
        let mut doc = minimal();
        (doc["runtime"], doc["task_entry"], doc["model_path"]) = (runtime.into(), entry.into(), "m".into());
        doc["optimizer"] = serde_json::json!({"name": name});
        parse(&doc).map(|spec| spec.optimizer.is_some()).map_err(|e| (e.field.clone(), e.problem.clone(), e.code))
    };
    for name in ["fedprox", "pgd", "scaffold", "feddyn", "dp_sgd", "dp_adam"] {
        assert_eq!(with("builtin", "classifier", name), Ok(true));
        assert_eq!(with("pytorch", "t", name), Ok(true));
        let (field, problem, code) = with("builtin", "echo", name).unwrap_err();
        assert_eq!((field.as_str(), code), ("optimizer", Code::Unsupported));
        assert!(problem.contains("echo"), "{problem}");
        assert_eq!(with("keras", "t", name).is_ok(), !name.starts_with("dp_"), "{name}");
        assert_eq!(with("torchscript", "t", name).is_ok(), ["fedprox", "scaffold"].contains(&name), "{name}");
    }
    assert!(with("keras", "t", "dp_sgd").unwrap_err().1.starts_with("'dp_sgd' with runtime tensorflow"));
}

#[test]
fn an_extender_may_stand_under_its_older_name_and_its_file_without_ending() {
    let extenders = serde_json::json!({"script_path": "ext", "entry": "mine", "finish": "done"});
    let spec = scripted(serde_json::json!({"task_entry": "t", "extenders": extenders})).unwrap().extender.unwrap();
    assert_eq!((spec.entry.as_str(), spec.broadcasts(), spec.combines()), ("mine.py", false, true));
}

#[test]
fn the_cohort_is_never_below_the_target() {
    assert_eq!(Redundancy::new(1.5).unwrap().cohort(3), 4);
    assert_eq!(Redundancy::new(1.0).unwrap().cohort(7), 7);
    assert_eq!(Redundancy::new(2.0).unwrap().cohort(u32::MAX), u32::MAX);
}

#[test]
fn late_updates_are_dropped_unless_the_document_says_otherwise_and_an_extender_takes_none() {
    assert_eq!(parse(&minimal()).unwrap().hyper.late, Late::Drop);
    for (late, expected) in [("stale", Late::Stale { max_staleness: 5 }), ("buffer", Late::Buffer)] {
        let mut doc = minimal();
        doc["hyper_parameters"] = serde_json::json!({"late": late});
        assert_eq!(parse(&doc).unwrap().hyper.late, expected);
        doc["compression"] = serde_json::json!({"values": "qsgd8"});
        parse(&doc).unwrap();
        doc["compression"]["model"] = "f16".into();
        assert_eq!(parse(&doc).unwrap_err().field, "compression.model");
        doc["compression"] = Value::Null;
        doc["extender"] = serde_json::json!({"script_path": "e", "entry": "e.py"});
        let e = parse(&doc).unwrap_err();
        assert_eq!(e.field, "extender");
        assert!(e.problem.contains(late), "{e}");
    }
}
