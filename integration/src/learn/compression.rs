//! Accuracy beside bytes, by how updates are compressed.

use super::figure::{Figure, Kind, Series};
use super::ground::{Ground, Trained};
use super::job::{Fields, ROUNDS, job};
use super::rules::Split;
use super::{Choice, Findings, SEEDS, Section, Spread};
use anyhow::Result;
use serde_json::{Value, json};

/// What jobs say, by name; the first says nothing.
const WAYS: [(&str, Fields); 8] = [
    ("none", || Value::Null),
    ("f16", || json!({"values": "f16"})),
    ("bf16", || json!({"values": "bf16"})),
    ("qsgd8", || json!({"values": "qsgd8"})),
    ("qsgd4", || json!({"values": "qsgd4"})),
    ("top 10 %", || json!({"top_k": 0.1})),
    ("top 1 %", || json!({"top_k": 0.01})),
    ("top 10 %, qsgd8", || json!({"top_k": 0.1, "values": "qsgd8"})),
];

pub(super) fn section() -> Section {
    Section { name: "compression", data: |_| (1..=SEEDS).map(|seed| Split::Iid.data(seed)).collect(), run }
}

fn run(ground: &Ground, _: &Choice) -> Result<Findings> {
    let head = ["updates", "accuracy", "bytes of a round's updates", "of whole ones"];
    let mut all = Vec::new();
    for (way, fields) in WAYS {
        let jobs: Vec<Value> = (1..=SEEDS).map(|seed| document(way, fields(), seed)).collect();
        all.push((way, ground.run(&jobs)?));
    }
    let sum = |trained: &[Trained], metric: &str| trained.iter().map(|job| job.total(metric)).sum::<f64>();
    // a job without compression does not count them; another one tells what whole ones would have had
    let whole = all.last().map_or(f64::NAN, |(_, t)| sum(t, "update_bytes") + sum(t, "update_bytes_saved"));
    let (mut rows, mut cells, mut series) = (Vec::new(), Vec::new(), Vec::new());
    for (way, trained) in &all {
        let bytes = if *way == WAYS[0].0 { whole } else { sum(trained, "update_bytes") };
        #[allow(clippy::cast_precision_loss, reason = "a number of seeds")]
        let a_round = bytes / (f64::from(ROUNDS) * SEEDS as f64);
        let accuracy = Spread::of(&trained.iter().map(Trained::last).collect::<Vec<_>>());
        let share = 100.0 * bytes / whole;
        rows.push(vec![(*way).to_owned(), accuracy.to_string(), format!("{a_round:.0}"), format!("{share:.1} %")]);
        cells.push(json!({"updates": way, "accuracy": accuracy, "bytes_per_round": a_round, "share": share / 100.0}));
        series.push(Series { label: (*way).to_owned(), points: vec![(a_round, accuracy.mean)] });
    }
    let title = "Test accuracy by what a round's updates take".to_owned();
    let figure = Figure { title, x: "bytes of a round's updates", kind: Kind::LogPoints, floor: 90.0, series };
    Ok(Findings {
        head: head.map(str::to_owned).to_vec(),
        rows,
        json: Value::Array(cells),
        wrong: Vec::new(),
        figures: vec![("compression.svg", figure)],
    })
}

fn document(way: &str, fields: Value, seed: u64) -> Value {
    let id = format!("bytes-{}-{seed}", way.replace([' ', ',', '%'], ""));
    let mut job = job(&id, &Split::Iid.data(seed).name, seed);
    if !fields.is_null() {
        job["compression"] = fields;
    }
    job
}
