//! Rules against hostile clients: two of eleven that all take part send what they did not learn, by a drill of their own.

use super::figure::{Figure, Kind, Series};
use super::ground::{DataSet, Ground, Trained};
use super::job::{Fields, job, merge};
use super::rules::Split;
use super::{Choice, Findings, SEEDS, Section, Spread};
use anyhow::Result;
use serde_json::{Value, json};

/// Clients of these jobs, each in each round: what Bulyan needs against two.
const CLIENTS: usize = 11;
/// The hostile ones come last.
const HOSTILE: usize = 2;
const ROUNDS: u32 = 20;

/// What they send: name, head, and what each client orders of itself.
const ATTACKS: [(&str, &str, Drill); 4] = [
    ("none", "nothing wrong", |_| None),
    ("sign-flip", "−10Δ", |number| ordered(number, json!({"attack": "sign_flip", "factor": 10}))),
    ("scale", "100Δ", |number| ordered(number, json!({"attack": "scale", "factor": 100}))),
    ("noise", "noise, 100 times Δ", |number| ordered(number, json!({"attack": "noise", "factor": 100}))),
];

type Drill = fn(usize) -> Option<Value>;

fn ordered(number: usize, order: Value) -> Option<Value> {
    (CLIENTS - HOSTILE + 1..=CLIENTS).contains(&number).then_some(order)
}

/// Rules with their parameters.
const RULES: [(&str, Fields); 8] = [
    ("fedavg", || json!({})),
    ("median", || json!({})),
    ("trimmed_mean", || json!({"f": HOSTILE})),
    ("krum", || json!({"f": HOSTILE})),
    ("multikrum", || json!({"f": HOSTILE})),
    ("bulyan", || json!({"f": HOSTILE})),
    ("geometric_median", || json!({})),
    ("centered_clipping", || json!({"tau": 1.0})),
];

pub(super) fn section() -> Section {
    Section { name: "byzantine", data, run }
}

fn data(_: &Choice) -> Vec<DataSet> {
    let of = |seed| {
        let named = move |attack: (&str, &str, Drill)| DataSet {
            name: name(attack.0, seed),
            drill: attack.2,
            ..Split::Iid.data(seed)
        };
        ATTACKS.into_iter().map(named)
    };
    (1..=SEEDS).flat_map(of).collect()
}

fn name(attack: &str, seed: u64) -> String {
    format!("iid-{seed}-hostile-{attack}")
}

fn run(ground: &Ground, _: &Choice) -> Result<Findings> {
    let mut head = vec!["rule".to_owned()];
    head.extend(ATTACKS.map(|(_, head, _)| head.to_owned()));
    let (mut rows, mut cells) = (Vec::new(), Vec::new());
    let mut series = ATTACKS.map(|(_, head, _)| Series { label: head.to_owned(), points: Vec::new() });
    for (index, (rule, params)) in RULES.into_iter().enumerate() {
        let mut row = vec![rule.to_owned()];
        let jobs =
            ATTACKS.iter().flat_map(|(attack, ..)| (1..=SEEDS).map(|seed| document(rule, params(), attack, seed)));
        let trained = ground.run(&jobs.collect::<Vec<_>>())?;
        let by_attack = trained.chunks(usize::try_from(SEEDS)?);
        for (((attack, ..), trained), series) in ATTACKS.iter().zip(by_attack).zip(&mut series) {
            let accuracy = Spread::of(&trained.iter().map(Trained::last).collect::<Vec<_>>());
            row.push(accuracy.to_string());
            cells.push(json!({"rule": rule, "attack": attack, "accuracy": accuracy}));
            #[allow(clippy::cast_precision_loss, reason = "an index")]
            series.points.push((index as f64, accuracy.mean));
        }
        rows.push(row);
    }
    let title = format!("Test accuracy, {HOSTILE} of {CLIENTS} clients hostile");
    let names = RULES.map(|(rule, _)| rule.to_owned()).to_vec();
    let figure = Figure { title, x: "rule", kind: Kind::Named(names), floor: 0.0, series: series.to_vec() };
    Ok(Findings { head, rows, json: Value::Array(cells), wrong: Vec::new(), figures: vec![("byzantine.svg", figure)] })
}

fn document(rule: &str, params: Value, attack: &str, seed: u64) -> Value {
    let mut job = job(&format!("hostile-{rule}-{attack}-{seed}"), &name(attack, seed), seed);
    let clients: Vec<String> = (1..=CLIENTS).map(|number| format!("c{number}")).collect();
    let hyper = json!({"max_round_num": ROUNDS, "client_num": CLIENTS, "threshold_client_num": CLIENTS});
    let aggregator = json!({"name": rule, "params": params});
    merge(&mut job, &json!({"clients": clients, "aggregator": aggregator, "hyper_parameters": hyper}));
    job
}
