//! The table of rules in `docs/job.md` is what the library offers.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use nsfl_aggregate::{RULES, Rules};
use serde_json::{Map, Value};

/// Name and parameters of each row.
fn rows() -> Vec<(String, Map<String, Value>)> {
    let page = include_str!("../../../docs/job.md");
    let section = page.split("## Aggregation rules").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let row = |line: &str| {
        let codes: Vec<&str> = line.split('`').skip(1).step_by(2).collect();
        (codes[0].to_owned(), serde_json::from_str(codes[1]).unwrap())
    };
    rows.map(row).collect()
}

#[test]
fn every_rule_is_in_the_table_and_takes_the_parameters_that_are_there() {
    let rows = rows();
    assert_eq!(rows.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), RULES);
    for (name, params) in rows {
        Rules::default().parse(&name, &params, 1.0).unwrap_or_else(|e| panic!("{name}: {e}"));
    }
}

#[test]
fn a_rule_takes_no_parameter_that_is_not_in_the_table() {
    for (name, params) in rows() {
        let mut with = params.clone();
        with.insert("of_nobody".to_owned(), Value::Bool(true));
        let problem = Rules::default().parse(&name, &with, 1.0).unwrap_err().problem;
        let allowed = problem.split("allowed: ").nth(1).unwrap_or_else(|| panic!("{name}: {problem}"));
        for parameter in allowed.split(", ").filter(|parameter| !["pre", "server"].contains(parameter)) {
            assert!(params.contains_key(parameter), "{name} takes {parameter}, which is not in the table");
        }
    }
}

#[test]
fn a_default_in_the_table_is_the_one_that_is_taken() {
    let required = ["f"];
    for (name, params) in rows() {
        let given: Map<String, Value> = params
            .iter()
            .filter(|(key, _)| required.contains(&key.as_str()))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        let by_default = Rules::default().parse(&name, &given, 1.0).unwrap();
        let by_table = Rules::default().parse(&name, &params, 1.0).unwrap();
        assert_eq!(format!("{by_default:?}"), format!("{by_table:?}"), "{name}");
    }
}
