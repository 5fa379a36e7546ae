//! The quickstart's promise: federated averaging over four clients with unlike digits learns them all.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

use nsfl_aggregate::{FedAvg, MemberFacts, aggregate};
use nsfl_tensor::{WeightsView, check_update, write_delta};
use nsfl_trainer::{TrainerTask, Work, digits, run};
use nsfl_types::{Metrics, seed_for};
use std::convert::Infallible;
use std::path::{Path, PathBuf};

const DIGITS: &[u8] = include_bytes!("../../../data/digits/digits.csv.gz");
const PARAMETERS: &str = r#"{"features": 64, "classes": 10, "hidden": 64, "scale": 16}"#;
const CLIENTS: usize = 4;
const ROUNDS: usize = 20;

fn task(folder: &Path, work: Work, seed: u64) -> Metrics {
    let task = TrainerTask {
        work,
        task_entry: "classifier".into(),
        parameters: serde_json::from_str(PARAMETERS).unwrap(),
        optimizer: None,
        gpu: false,
        seed,
        datasets: [("digits".to_owned(), folder.to_owned())].into(),
        result: PathBuf::new(),
    };
    run(&task).unwrap().metrics
}

fn delta(base: &[u8], local: &[u8]) -> Vec<u8> {
    let mut update = Vec::new();
    let sink = |bytes: &[u8]| {
        update.extend_from_slice(bytes);
        Ok::<_, Infallible>(())
    };
    write_delta(&WeightsView::parse(base).unwrap(), &WeightsView::parse(local).unwrap(), sink).unwrap();
    update
}

fn mean(base: &[u8], updates: &[(f64, Vec<u8>)]) -> Vec<u8> {
    let base = WeightsView::parse(base).unwrap();
    let views: Vec<_> = updates.iter().map(|(_, u)| WeightsView::parse(u).unwrap()).collect();
    let facts = |view| check_update(base.layout(), view).unwrap();
    let members: Vec<_> =
        views.iter().zip(updates).map(|(v, (weight, _))| MemberFacts { weight: *weight, facts: facts(v) }).collect();
    let plan = FedAvg::default().plan(base.layout(), &members).unwrap();
    let mut model = Vec::new();
    let sink = |bytes: &[u8]| {
        model.extend_from_slice(bytes);
        Ok::<_, Infallible>(())
    };
    aggregate(&plan, &base, &views, sink, |_| ()).unwrap();
    model
}

/// Test accuracy over all clients after each round.
fn federation(seed: u64) -> Vec<f64> {
    let dir = tempfile::tempdir().unwrap();
    let folders = digits::split(DIGITS, CLIENTS, seed, dir.path()).unwrap();
    let (base, local) = (dir.path().join("base"), dir.path().join("local"));
    task(dir.path(), Work::Init { out_weights: base.clone() }, seed);
    let round = |number: usize| {
        let model = std::fs::read(&base).unwrap();
        let updates: Vec<_> = folders
            .iter()
            .enumerate()
            .map(|(client, folder)| {
                let work = Work::Train { base: base.clone(), out_weights: local.clone() };
                let seed = seed_for(seed, &[&client.to_string(), &number.to_string()]);
                let metrics = task(folder, work, seed);
                (metrics.weight(), delta(&model, &std::fs::read(&local).unwrap()))
            })
            .collect();
        std::fs::write(&base, mean(&model, &updates)).unwrap();
        let tests: Vec<_> = folders.iter().map(|f| task(f, Work::Evaluate { base: base.clone() }, 0)).collect();
        Metrics::weighted_mean(&tests).get("accuracy").unwrap()
    };
    (1..=ROUNDS).map(round).collect()
}

#[test]
fn four_clients_with_unlike_digits_reach_95_per_cent_in_20_rounds() {
    let accuracy = federation(1);
    assert!(accuracy[ROUNDS - 1] >= 0.95, "{accuracy:?}");
}
