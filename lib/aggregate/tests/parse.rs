//! Names and parameters of a job document: each is checked, and a refusal names the field and what is allowed.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use nsfl_aggregate::{Aggregation, RULES, Rules, Server};
use serde_json::{Value, json};

fn parse(name: &str, params: &Value) -> Result<Aggregation, nsfl_types::JobError> {
    Rules::default().parse(name, params.as_object().unwrap(), 1.0)
}

#[test]
fn every_rule_is_made_from_its_name_and_goes_by_it() {
    for name in RULES {
        let aggregation = parse(name, &json!({})).or_else(|_| parse(name, &json!({"f": 1}))).unwrap();
        assert_eq!(aggregation.rule().name(), name);
    }
}

#[test]
fn each_bad_parameter_is_named_with_what_is_allowed() {
    for (name, params, field, says) in [
        ("fedsgd", json!({}), "aggregator.name", "allowed: fedavg, fedavgm"),
        ("fedavg", json!({"beta": 1}), "aggregator.params.beta", "unknown to fedavg; allowed: learning_rate, uniform"),
        ("fedavg", json!({"uniform": 1}), "aggregator.params.uniform", "true or false"),
        (
            "fedavg",
            json!({"learning_rate": 0}),
            "aggregator.params.learning_rate",
            "0 is out of range: a finite number above 0",
        ),
        ("fedavg", json!({"learning_rate": "x"}), "aggregator.params.learning_rate", "must be a number"),
        ("fedavgm", json!({"beta": 1.0}), "aggregator.params.beta", "from 0 and below 1"),
        ("fedavgm", json!({"server": {"name": "fedadam"}}), "aggregator.params.server", "unknown to fedavgm"),
        ("fedadagrad", json!({"beta2": 0.9}), "aggregator.params.beta2", "unknown to fedadagrad"),
        ("fedadam", json!({"tau": -1}), "aggregator.params.tau", "above 0"),
        ("fedadam", json!({"beta2": 1.5}), "aggregator.params.beta2", "below 1"),
        ("feddyn", json!({"alpha": 0}), "aggregator.params.alpha", "above 0"),
        ("feddyn", json!({"learning_rate": 1}), "aggregator.params.learning_rate", "unknown to feddyn; allowed: alpha"),
        ("qfedavg", json!({"q": -0.1}), "aggregator.params.q", "≥ 0"),
        ("fedbuff", json!({"k": 0}), "aggregator.params.k", "an integer ≥ 1"),
        ("fedbuff", json!({"k": 1.5}), "aggregator.params.k", "an integer ≥ 1"),
        ("fedbuff", json!({"max_staleness": -1}), "aggregator.params.max_staleness", "an integer ≥ 0"),
        ("krum", json!({}), "aggregator.params.f", "missing and required: an integer ≥ 0"),
        ("krum", json!({"f": 1, "m": 2}), "aggregator.params.m", "unknown to krum"),
        ("multikrum", json!({"f": 1, "m": 0}), "aggregator.params.m", "≥ 1"),
        ("trimmed_mean", json!({"f": -1}), "aggregator.params.f", "≥ 0"),
        ("geometric_median", json!({"nu": 0}), "aggregator.params.nu", "above 0"),
        ("geometric_median", json!({"iterations": 0}), "aggregator.params.iterations", "from 1 to 100000"),
        ("centered_clipping", json!({"iterations": 1e9}), "aggregator.params.iterations", "from 1 to 100000"),
        ("centered_clipping", json!({"tau": 0}), "aggregator.params.tau", "above 0"),
        ("lora", json!({"variant": "qlora"}), "aggregator.params.variant", "allowed: fedit, ffa, flora, fedex"),
        ("lora", json!({"scaling": 0}), "aggregator.params.scaling", "above 0"),
        (
            "lora",
            json!({"variant": "flora", "server": {"name": "fedadam"}}),
            "aggregator.params.server",
            "products of updates as they are",
        ),
        (
            "lora",
            json!({"variant": "fedex", "pre": [{"name": "nnm", "f": 1}]}),
            "aggregator.params.pre",
            "flora and fedex",
        ),
        ("lora", json!({"variant": "flora", "learning_rate": 0.5}), "aggregator.params.learning_rate", "other than 1"),
        ("median", json!({"pre": {}}), "aggregator.params.pre", "must be a list"),
        (
            "median",
            json!({"pre": [{"name": "x"}]}),
            "aggregator.params.pre[0].name",
            "allowed: bucketing, nnm, arc, clipping",
        ),
        ("median", json!({"pre": [{"name": "nnm"}]}), "aggregator.params.pre[0].f", "missing and required"),
        ("median", json!({"pre": [{"name": "bucketing", "s": 0}]}), "aggregator.params.pre[0].s", "≥ 1"),
        (
            "median",
            json!({"pre": [{"name": "arc", "f": 1, "s": 2}]}),
            "aggregator.params.pre[0].s",
            "unknown to arc; allowed: name, f",
        ),
        ("median", json!({"pre": [{"name": "clipping"}]}), "aggregator.params.pre[0].max_norm", "missing and required"),
        ("median", json!({"server": {"name": "sgd"}}), "aggregator.params.server.name", "allowed: fedavgm, fedadagrad"),
        ("median", json!({"server": {"name": "fedadam", "tau": 0}}), "aggregator.params.server.tau", "above 0"),
        ("fednova", json!({"pre": [{"name": "nnm", "f": 1}]}), "aggregator.params.pre", "allowed: arc, clipping"),
        ("scaffold", json!({"pre": [{"name": "bucketing"}]}), "aggregator.params.pre", "allowed: arc, clipping"),
    ] {
        let e = parse(name, &params).unwrap_err();
        assert_eq!(e.field, field, "{e}");
        assert!(e.problem.contains(says), "{e} should say {says}");
    }
}

#[test]
fn the_jobs_learning_rate_is_taken_where_the_parameters_name_none() {
    let of = |name: &str, params: Value, job| Rules::default().parse(name, params.as_object().unwrap(), job).unwrap();
    let rate = |name: &str, params: Value, job: f64| match *of(name, params, job).server() {
        Server::Sgd { learning_rate }
        | Server::Momentum { learning_rate, .. }
        | Server::Adaptive { learning_rate, .. } => learning_rate,
        Server::Dyn { .. } => f64::NAN,
    };
    assert_eq!(rate("median", json!({}), 0.5), 0.5);
    assert_eq!(rate("fedadam", json!({"learning_rate": 0.1}), 0.5), 0.1);
    assert_eq!(rate("median", json!({"server": {"name": "fedadam"}}), 0.5), 0.5);
    for (name, params) in [("feddyn", json!({})), ("lora", json!({"variant": "fedex"}))] {
        let e = Rules::default().parse(name, params.as_object().unwrap(), 0.5).unwrap_err();
        assert_eq!(e.field, "hyper_parameters.learning_rate", "{name}");
    }
}

#[test]
fn the_defaults_are_the_specifications() {
    let says = |name: &str, params: Value| format!("{:?}", parse(name, &params).unwrap());
    assert!(says("fedadam", json!({})).contains("kind: Adam, learning_rate: 1.0, beta1: 0.9, beta2: 0.99, tau: 0.001"));
    assert!(says("fedavgm", json!({})).contains("learning_rate: 1.0, beta: 0.9, nesterov: false"));
    assert!(says("feddyn", json!({})).contains("alpha: 0.01"));
    assert!(says("qfedavg", json!({})).contains("q: 0.1"));
    assert!(says("fedbuff", json!({})).contains("k: 10, max_staleness: None"));
    assert!(says("geometric_median", json!({})).contains("nu: 1e-6"));
    assert!(says("centered_clipping", json!({})).contains("tau: 10.0, iterations: 3"));
    assert!(says("multikrum", json!({"f": 2})).contains("AllButF"));
    assert!(says("median", json!({"pre": [{"name": "bucketing"}]})).contains("Bucketing { s: 2 }"));
    assert!(
        says("fedavg", json!({}))
            .contains(r#"Mean { name: "fedavg", uniform: false }, server: Sgd { learning_rate: 1.0 }"#)
    );
}
