//! The job that every section varies: the specification's setup.

use super::ground::CLIENTS;
use serde_json::{Value, json};

/// What a variation says.
pub(super) type Fields = fn() -> Value;

/// Rounds of a job.
pub(super) const ROUNDS: u32 = 60;
/// Clients a round.
pub(super) const COHORT: u32 = 5;

/// A perceptron 64-64-10 with ReLU on one of the data sets: 20 clients, 5 drawn each round, 5 local epochs, batches of 10, η_l 0.1,
/// federated averaging. Each round's model is kept, to be measured.
pub(super) fn job(id: &str, dataset: &str, seed: u64) -> Value {
    let clients: Vec<String> = (1..=CLIENTS).map(|number| format!("c{number}")).collect();
    json!({
        "id": id, "runtime": "builtin", "task_entry": "classifier", "datasets": [dataset], "output": "out",
        "clients": clients, "random_client": true, "resource": {"cpu": 1, "memory": 10},
        "hyper_parameters": {
            "max_round_num": ROUNDS, "client_num": COHORT, "threshold_client_num": COHORT,
            "evaluate_interval": 0, "save_interval": 1, "round_timeout": 600,
        },
        "parameters": {
            "features": 64, "classes": 10, "hidden": 64, "scale": 16, "epochs": 5, "batch_size": 10, "learning_rate": 0.1,
            "seed": seed,
        },
    })
}

/// Sets fields of a job document.
pub(super) fn merge(job: &mut Value, fields: &Value) {
    for (name, value) in fields.as_object().into_iter().flatten() {
        match (name.as_str(), value.as_object()) {
            ("hyper_parameters", Some(inner)) => {
                inner.iter().for_each(|(name, value)| job["hyper_parameters"][name] = value.clone());
            }
            _ => job[name] = value.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_set_and_hyper_parameters_one_by_one() {
        let mut job = job("j", "iid-1", 1);
        merge(&mut job, &json!({"aggregator": {"name": "median"}, "hyper_parameters": {"max_round_num": 3}}));
        assert_eq!(
            (&job["aggregator"]["name"], &job["hyper_parameters"]["max_round_num"]),
            (&json!("median"), &json!(3))
        );
        assert_eq!(job["hyper_parameters"]["client_num"], 5);
    }
}
