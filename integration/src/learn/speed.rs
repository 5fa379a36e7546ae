//! How soon a job reaches an accuracy when a quarter of the clients is ten times slower: by round policy.

use super::figure::{Figure, Kind, Series};
use super::ground::{CLIENTS, DataSet, Ground, Trained};
use super::job::{Fields, job, merge};
use super::rules::Split;
use super::{Choice, Findings, SEEDS, Section, Spread};
use anyhow::Result;
use serde_json::{Value, json};

/// Training takes a client this much longer.
const FAST_MS: u64 = 100;
/// The same of a slow one.
const SLOW_MS: u64 = 1000;
/// The first of the slow ones; the others follow.
const FIRST_SLOW: usize = CLIENTS - CLIENTS / 4 + 1;
/// What is to be reached, in per cent.
const TARGET: f64 = 95.0;

/// Round policies and their fields.
const POLICIES: [(&str, Fields); 4] = [
    ("synchronous", || hyper(json!({"max_round_num": 30}))),
    ("over-selection", || {
        let mut fields = hyper(json!({"max_round_num": 30, "close_at_threshold": true}));
        fields["redundancy"] = json!(1.6);
        fields
    }),
    ("over-selection, late counts", || {
        let mut fields =
            hyper(json!({"max_round_num": 30, "close_at_threshold": true, "late": "stale", "max_staleness": 10}));
        fields["redundancy"] = json!(1.6);
        fields
    }),
    ("FedBuff", || {
        let mut fields = hyper(json!({"max_round_num": 60, "client_num": 8, "late": "buffer"}));
        fields["aggregator"] = json!({"name": "fedbuff", "params": {"k": 5, "max_staleness": 20}});
        fields
    }),
];

fn hyper(fields: Value) -> Value {
    json!({"hyper_parameters": fields})
}

pub(super) fn section() -> Section {
    Section { name: "speed", data, run }
}

fn data(_: &Choice) -> Vec<DataSet> {
    let delayed = |number| Some(json!({"delay_ms": if number < FIRST_SLOW { FAST_MS } else { SLOW_MS }}));
    (1..=SEEDS).map(|seed| DataSet { name: name(seed), drill: delayed, ..Split::Iid.data(seed) }).collect()
}

fn name(seed: u64) -> String {
    format!("iid-{seed}-slow")
}

fn run(ground: &Ground, _: &Choice) -> Result<Findings> {
    let head = ["policy", "seconds to 95 %", "models made till then", "seconds a model", "accuracy at the end"];
    let (mut rows, mut cells, mut series) = (Vec::new(), Vec::new(), Vec::new());
    for (policy, fields) in POLICIES {
        let mut all = Vec::new();
        for seed in 1..=SEEDS {
            let id = format!("speed-{}-{seed}", policy.to_ascii_lowercase().replace([' ', ','], "-"));
            let mut job = job(&id, &name(seed), seed);
            merge(&mut job, &fields());
            // alone: what is measured is time
            all.extend(ground.run(&[job])?);
        }
        let reached: Vec<(f64, f64)> = all.iter().filter_map(reached).collect();
        let seconds = Spread::of(&reached.iter().map(|(_, seconds)| *seconds).collect::<Vec<_>>());
        let models = Spread::of(&reached.iter().map(|(models, _)| *models).collect::<Vec<_>>());
        let each = Spread::of(&all.iter().map(seconds_each).collect::<Vec<_>>());
        let last = Spread::of(&all.iter().map(Trained::last).collect::<Vec<_>>());
        let of_reached = |spread: Spread| {
            let missed = all.len() - reached.len();
            if missed == 0 { spread.to_string() } else { format!("not reached by {missed} of {}", all.len()) }
        };
        rows.push(vec![
            policy.to_owned(),
            of_reached(seconds),
            of_reached(models),
            format!("{:.2}", each.mean),
            last.to_string(),
        ]);
        cells.push(json!({
            "policy": policy, "target": TARGET, "reached": reached.len(), "of": all.len(), "seconds": seconds, "models": models,
            "seconds_each": each, "accuracy": last,
        }));
        let first = &all[0];
        let points = first.seconds.iter().copied().zip(first.accuracy.iter().copied()).collect();
        series.push(Series { label: policy.to_owned(), points });
    }
    let title = "Test accuracy by time, a quarter of the clients ten times slower (seed 1)".to_owned();
    let figure = Figure { title, x: "seconds", kind: Kind::Lines, floor: 50.0, series };
    Ok(Findings {
        head: head.map(str::to_owned).to_vec(),
        rows,
        json: Value::Array(cells),
        wrong: Vec::new(),
        figures: vec![("speed.svg", figure)],
    })
}

/// Models made until the target was reached, and seconds.
#[allow(clippy::cast_precision_loss, reason = "a number of rounds")]
fn reached(job: &Trained) -> Option<(f64, f64)> {
    let round = job.accuracy.iter().position(|accuracy| *accuracy >= TARGET)?;
    Some((round as f64 + 1.0, job.seconds[round]))
}

#[allow(clippy::cast_precision_loss, reason = "a number of rounds")]
fn seconds_each(job: &Trained) -> f64 {
    job.seconds.last().copied().unwrap_or(f64::NAN) / job.seconds.len() as f64
}
