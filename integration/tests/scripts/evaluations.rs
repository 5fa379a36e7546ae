//! Evaluations that fail at one of two clients: told with their cause, and round, job and clients go on with the other.

use super::{Sites, package, text};
use serde_json::{Value, json};

/// Function of `ways.py`, code, reason, limit, last line of the traceback.
const WAYS: [(&str, &str, &str, &str, &str); 3] = [
    ("exception", "script-exception", "ValueError: no such column", "", "ValueError: no such column"),
    ("nothing", "commit-missing", "committed no metrics", "", ""),
    ("endless", "trainer-timeout", "did not end within 9 s", "time 9 s", ""),
];

fn job(way: &str) -> Value {
    json!({
        "id": format!("evaluate-{way}"), "runtime": "pytorch", "output": "out",
        "hyper_parameters": {
            "max_round_num": 2, "client_num": 2, "threshold_client_num": 1,
            "evaluate_interval": 1, "save_interval": 0, "round_timeout": 60,
        },
        "resource": {"cpu": 0.1, "memory": 100},
        "scripts": {"path": "", "config_file": "evaluate.json"},
        "parameters": {"--way": "good", "--evaluate-way": way},
    })
}

/// The evaluation by this client in a round, without its train task.
fn evaluation(round: &Value, client: &str) -> Value {
    let mut members = round["members"].as_array().unwrap().iter();
    let of = |member: &&Value| member["client"] == client && member["kind"] == "evaluate";
    members.find(of).unwrap_or_else(|| panic!("{round}: an evaluation by {client}")).clone()
}

#[test]
fn an_evaluation_that_fails_at_one_client_is_told_with_its_cause_and_round_job_and_clients_go_on() {
    let sites = Sites::start();
    for (way, ..) in WAYS {
        sites.create(&job(way), Some(&package()));
    }
    for (way, code, reason, limit, traceback) in WAYS {
        let name = format!("evaluate-{way}");
        let job = sites.federation.rest.wait_until_at_rest(&name).unwrap();
        assert_eq!(job["status"]["state"], "FINISHED", "{name}: {job}");
        let first = sites.get(&name, "/rounds/1");
        let failed = evaluation(&first, "c1");
        assert_eq!((text(&failed["state"]), text(&failed["code"])), ("failed", code), "{failed}");
        assert!(text(&failed["reason"]).contains(reason), "{failed}");
        let cause = &failed["cause"];
        assert_eq!(text(&cause["limit"]), limit, "{failed}");
        assert!(text(&cause["traceback"]).trim_end().ends_with(traceback), "{failed}");
        assert!(text(&cause["log"]).contains("evaluation of round 1 at c1"), "{failed}");
        assert_eq!(evaluation(&first, "c2")["state"], "accepted", "{first}");
        for client in ["c1", "c2"] {
            let second = evaluation(&sites.get(&name, "/rounds/2"), client);
            assert_eq!(second["state"], "accepted", "{name}: {second}");
        }
        let described = sites.says(&["describe", "job", "default", &name, "--round", "1"]);
        let logged = sites.says(&["logs", "job", "default", &name, "--round", "1"]);
        let head = format!("==> round 1 evaluate, attempt 1, client c1: {} ({code})\n", text(&failed["reason"]));
        assert!(logged.contains(&head), "{logged}");
        for words in [code, reason, "evaluation of round 1 at c1", limit, traceback] {
            assert!(described.contains(words) && logged.contains(words), "{name}: {words}\n{described}{logged}");
        }
    }
    sites.clients_live_and_have_no_children();
}
