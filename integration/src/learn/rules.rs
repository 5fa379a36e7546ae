//! The digits table: rules by divisions of the data. Cells that the specification has a figure of must be within two of its
//! deviations.

use super::figure::{Figure, Kind, Series, mean_curve};
use super::ground::{DataSet, Ground, Trained};
use super::job::{Fields, job, merge};
use super::{Choice, Findings, Section, Spread};
use anyhow::{Context as _, Result};
use nsfl_trainer::digits::Deal;
use serde_json::{Value, json};
use std::fmt;
use std::str::FromStr;

/// How the digits are divided over the clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// All alike.
    Iid,
    /// Two shards of the sorted digits to each client.
    Shards,
}

impl Split {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Iid, Self::Shards];

    fn deal(self) -> Deal {
        match self {
            Self::Iid => Deal::Alike,
            Self::Shards => Deal::Shards(2),
        }
    }

    fn head(self) -> &'static str {
        match self {
            Self::Iid => "IID",
            Self::Shards => "two shards per client",
        }
    }

    fn plot(self) -> &'static str {
        match self {
            Self::Iid => "rules-iid.svg",
            Self::Shards => "rules-shards.svg",
        }
    }

    /// A data set of the federation.
    pub(super) fn data(self, seed: u64) -> DataSet {
        DataSet { name: format!("{self}-{seed}"), deal: self.deal(), seed, drill: |_| None }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Iid => "iid",
            Self::Shards => "shards",
        })
    }
}

impl FromStr for Split {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|split| split.to_string() == text);
        found.ok_or_else(|| format!("'{text}' is no split; allowed: iid, shards"))
    }
}

/// Rules, with their parameters here, and the specification's figures.
const RULES: [(&str, Fields, [Option<Spread>; 2]); 8] = [
    ("fedavg", || json!({"aggregator": {"name": "fedavg"}}), page((96.57, 0.32), (91.80, 0.98))),
    ("fedprox", || json!({"optimizer": {"name": "fedprox", "mu": 0.1}}), page((96.44, 0.18), (91.23, 0.95))),
    ("fedadam", || json!({"aggregator": with_rate("fedadam", 0.01)}), page((96.33, 0.32), (94.08, 1.43))),
    (
        "scaffold",
        || json!({"aggregator": {"name": "scaffold"}, "optimizer": {"name": "scaffold"}}),
        page((96.83, 0.28), (96.34, 0.59)),
    ),
    ("fedyogi", || json!({"aggregator": with_rate("fedyogi", 0.01)}), [None; 2]),
    ("feddyn", || json!({"aggregator": {"name": "feddyn"}, "optimizer": {"name": "feddyn"}}), [None; 2]),
    ("fednova", || json!({"aggregator": {"name": "fednova"}}), [None; 2]),
    ("qfedavg", || json!({"aggregator": {"name": "qfedavg"}}), [None; 2]),
];

const fn page(iid: (f64, f64), shards: (f64, f64)) -> [Option<Spread>; 2] {
    [Some(Spread { mean: iid.0, sd: iid.1 }), Some(Spread { mean: shards.0, sd: shards.1 })]
}

fn with_rate(rule: &str, rate: f64) -> Value {
    json!({"name": rule, "params": {"learning_rate": rate}})
}

/// Names of all rules of the table, in its order.
#[must_use]
pub fn known_rules() -> Vec<&'static str> {
    RULES.iter().map(|(name, ..)| *name).collect()
}

pub(super) fn section() -> Section {
    Section { name: "rules", data, run }
}

fn data(choice: &Choice) -> Vec<DataSet> {
    let of = |split: &Split| (1..=choice.seeds).map(|seed| split.data(seed)).collect::<Vec<_>>();
    choice.splits.iter().flat_map(of).collect()
}

fn run(ground: &Ground, choice: &Choice) -> Result<Findings> {
    let mut found = Findings {
        head: vec!["rule".to_owned()],
        rows: Vec::new(),
        json: json!([]),
        wrong: Vec::new(),
        figures: Vec::new(),
    };
    for split in &choice.splits {
        found.head.extend([split.head().to_owned(), "specification".to_owned()]);
    }
    let (mut cells, mut curves) = (Vec::new(), vec![Vec::new(); choice.splits.len()]);
    for rule in &choice.rules {
        let mut row = vec![rule.clone()];
        for (split, curves) in choice.splits.iter().zip(&mut curves) {
            let trained = cell(ground, rule, *split, choice.seeds)?;
            let accuracy = Spread::of(&trained.iter().map(Trained::last).collect::<Vec<_>>());
            let (expected, within) = judge(rule, *split, accuracy)?;
            if within == Some(false) {
                found.wrong.push(format!("{rule}, {}: {accuracy}", split.head()));
            }
            row.extend([accuracy.to_string(), told(expected, within)]);
            cells.push(json!({
                "rule": rule, "split": split.to_string(), "accuracy": accuracy, "specification": expected, "within": within,
            }));
            curves.push(Series { label: rule.clone(), points: mean_curve(&trained) });
        }
        found.rows.push(row);
    }
    found.json = Value::Array(cells);
    for (split, series) in choice.splits.iter().zip(curves) {
        let title = format!("Test accuracy by round, {}", split.head());
        let lowest = if *split == Split::Iid { 85.0 } else { 50.0 };
        found.figures.push((split.plot(), Figure { title, x: "round", kind: Kind::Lines, floor: lowest, series }));
    }
    Ok(found)
}

fn cell(ground: &Ground, rule: &str, split: Split, seeds: u64) -> Result<Vec<Trained>> {
    let (_, fields, _) = entry(rule)?;
    let jobs: Vec<Value> = (1..=seeds)
        .map(|seed| {
            let mut job = job(&format!("{rule}-{split}-{seed}"), &split.data(seed).name, seed);
            merge(&mut job, &fields());
            job
        })
        .collect();
    ground.run(&jobs)
}

fn entry(rule: &str) -> Result<&'static (&'static str, Fields, [Option<Spread>; 2])> {
    let unknown = || format!("'{rule}' is not in the table; allowed: {}", known_rules().join(", "));
    RULES.iter().find(|(name, ..)| *name == rule).with_context(unknown)
}

/// The specification's figure, and whether this one is within two of its deviations.
fn judge(rule: &str, split: Split, found: Spread) -> Result<(Option<Spread>, Option<bool>)> {
    let expected = entry(rule)?.2[usize::from(split == Split::Shards)];
    Ok((expected, expected.map(|expected| (found.mean - expected.mean).abs() <= 2.0 * expected.sd)))
}

fn told(expected: Option<Spread>, within: Option<bool>) -> String {
    match (expected, within) {
        (Some(expected), Some(true)) => format!("{expected}: within 2 sd"),
        (Some(expected), _) => format!("{expected}: **not within 2 sd**"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_within_two_of_the_specifications_deviations_or_not() {
        let of = |mean| judge("fedavg", Split::Iid, Spread { mean, sd: 5.0 }).unwrap().1;
        assert_eq!([of(95.92), of(95.94), of(97.20), of(97.22)], [Some(false), Some(true), Some(true), Some(false)]);
        assert_eq!(judge("fednova", Split::Shards, Spread { mean: 0.0, sd: 0.0 }).unwrap(), (None, None));
        assert!(judge("fedsgd", Split::Iid, Spread { mean: 0.0, sd: 0.0 }).is_err());
    }
}
