//! The quickstart's promise: federated averaging over four clients with unlike digits learns them all. So it does with each
//! of the clients' optimizers.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

use nsfl_aggregate::{Member, MemberFacts, Round, Rules, Sink, Sources, aggregate_round, with_controls};
use nsfl_tensor::{WeightsView, check_update, write_delta};
use nsfl_trainer::{TrainerTask, Work, digits, run};
use nsfl_types::{Metrics, seed_for};
use serde_json::json;
use std::convert::Infallible;
use std::path::Path;

const DIGITS: &[u8] = include_bytes!("../../../data/digits/digits.csv.gz");
const PARAMETERS: &str = r#"{"features": 64, "classes": 10, "hidden": 64, "scale": 16}"#;
const CLIENTS: usize = 4;
const ROUNDS: usize = 20;

/// A job's `optimizer`, and parameters beside those of all.
#[derive(Clone, Copy, Default)]
struct Job {
    optimizer: Option<&'static str>,
    parameters: &'static str,
    rounds: usize,
}

impl Job {
    fn is(self, name: &str) -> bool {
        self.optimizer.is_some_and(|optimizer| optimizer.contains(name))
    }
}

fn task(job: Job, folder: &Path, work: Work, seed: u64) -> Metrics {
    let parameters = PARAMETERS.replace('}', &format!("{}}}", job.parameters));
    let task = TrainerTask {
        work,
        task_entry: "classifier".into(),
        parameters: serde_json::from_str(&parameters).unwrap(),
        optimizer: job.optimizer.map(|text| serde_json::from_str(text).unwrap()),
        gpu: false,
        seed,
        datasets: [("digits".to_owned(), folder.to_owned())].into(),
        // beside it lies what the client keeps
        result: folder.join("result.json"),
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

struct Next(Vec<u8>);

impl Sink for Next {
    type Error = Infallible;

    fn model(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

fn mean(job: Job, base: &[u8], updates: &[(f64, Vec<u8>)]) -> Vec<u8> {
    let base = WeightsView::parse(base).unwrap();
    let views: Vec<_> = updates.iter().map(|(_, u)| WeightsView::parse(u).unwrap()).collect();
    let member = |(i, (view, (weight, _))): (usize, (_, &(f64, Vec<u8>)))| Member {
        id: i.to_string(),
        facts: MemberFacts { weight: *weight, facts: check_update(base.layout(), view).unwrap() },
        numbers: Metrics::default(),
    };
    let members: Vec<_> = views.iter().zip(updates).enumerate().map(member).collect();
    let (rule, params) =
        if job.is("scaffold") { ("scaffold", json!({})) } else { ("fedavg", json!({"uniform": job.is("feddyn")})) };
    let aggregation = Rules::default().parse(rule, params.as_object().unwrap(), 1.0).unwrap();
    let updates: Vec<_> = views.into_iter().map(Into::into).collect();
    let round = Round { model: base.layout(), members: &members, clients: CLIENTS, seed: 0 };
    let sources = Sources { base: &base, state: None, updates: &updates };
    let mut next = Next(Vec::new());
    aggregate_round(&aggregation, &round, sources, usize::MAX, &mut next).unwrap();
    next.0
}

/// The model with zeros for SCAFFOLD's c, as the server makes it.
fn begun(job: Job, base: &Path) {
    if job.is("scaffold") {
        let model = std::fs::read(base).unwrap();
        let own = WeightsView::parse(&model).unwrap();
        let both = with_controls(own.layout()).unwrap();
        let controls = vec![0; both.data_len() - own.layout().data_len()];
        let bytes = [both.header_bytes(), model[own.start(0)..].to_vec(), controls].concat();
        std::fs::write(base, bytes).unwrap();
    }
}

/// FedDyn's server: the mean of the local weights, moved by −h/α; h is −α times the mean of all that clients have moved.
#[derive(Default)]
struct Dynamic(Vec<f32>);

impl Dynamic {
    fn next(&mut self, before: &[u8], mean: &mut [u8]) {
        let start = WeightsView::parse(before).unwrap().start(0);
        let floats =
            |bytes: &[u8]| bytes[start..].as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect::<Vec<_>>();
        let (x, y) = (floats(before), floats(mean));
        self.0.resize(x.len(), 0.0);
        self.0.iter_mut().zip(x.iter().zip(&y)).for_each(|(moved, (x, y))| *moved += y - x);
        let next = y.iter().zip(&self.0).map(|(y, moved)| y + moved);
        mean[start..].as_chunks_mut().0.iter_mut().zip(next).for_each(|(to, value)| *to = value.to_le_bytes());
    }
}

/// Test accuracy over all clients after each round.
fn federation(job: Job, seed: u64) -> Vec<f64> {
    let dir = tempfile::tempdir().unwrap();
    let folders = digits::split(DIGITS, CLIENTS, seed, dir.path()).unwrap();
    let (base, local) = (dir.path().join("base"), dir.path().join("local"));
    task(Job { optimizer: None, ..job }, dir.path(), Work::Init { out_weights: base.clone() }, seed);
    begun(job, &base);
    let mut dynamic = Dynamic::default();
    let round = |number: usize| {
        let model = std::fs::read(&base).unwrap();
        let updates: Vec<_> = folders
            .iter()
            .enumerate()
            .map(|(client, folder)| {
                let work = Work::Train { base: base.clone(), out_weights: local.clone() };
                let seed = seed_for(seed, &[&client.to_string(), &number.to_string()]);
                let metrics = task(job, folder, work, seed);
                keep(folder);
                (metrics.weight(), delta(&model, &std::fs::read(&local).unwrap()))
            })
            .collect();
        let mut next = mean(job, &model, &updates);
        if job.is("feddyn") {
            dynamic.next(&model, &mut next);
        }
        std::fs::write(&base, next).unwrap();
        let tests: Vec<_> = folders.iter().map(|f| task(job, f, Work::Evaluate { base: base.clone() }, 0)).collect();
        Metrics::weighted_mean(&tests).get("accuracy").unwrap()
    };
    (1..=job.rounds).map(round).collect()
}

/// As a client does when its update was accepted.
fn keep(folder: &Path) {
    let _ = std::fs::remove_dir_all(folder.join("state"));
    let _ = std::fs::rename(folder.join("out/state"), folder.join("state"));
}

#[test]
fn four_clients_with_unlike_digits_reach_95_per_cent_in_20_rounds() {
    let accuracy = federation(Job { rounds: ROUNDS, ..Job::default() }, 1);
    assert!(accuracy[ROUNDS - 1] >= 0.95, "{accuracy:?}");
}

#[test]
fn each_optimizer_learns_the_digits_of_all_clients() {
    for (optimizer, parameters, rounds, least) in [
        (r#"{"name": "fedprox", "mu": 0.1}"#, "", 10, 0.93),
        (r#"{"name": "pgd", "mu": 0.1}"#, r#", "momentum": 0.5"#, 10, 0.93),
        (r#"{"name": "scaffold"}"#, r#", "momentum": 0.5"#, 10, 0.95),
        (r#"{"name": "feddyn", "alpha": 0.05}"#, "", 10, 0.95),
        (r#"{"name": "dp_sgd", "noise_multiplier": 0.5, "batch_size": 90, "learning_rate": 1}"#, "", 5, 0.85),
        (r#"{"name": "dp_adam", "noise_multiplier": 0.5, "batch_size": 90, "learning_rate": 0.01}"#, "", 5, 0.85),
    ] {
        let accuracy = federation(Job { optimizer: Some(optimizer), parameters, rounds }, 1);
        println!("{optimizer}: {accuracy:.3?}");
        assert!(accuracy[rounds - 1] >= least, "{optimizer}: {accuracy:?}");
    }
}
