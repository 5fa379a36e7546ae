//! The federation that all jobs run on, one after the other or some at once, and what becomes of each.

use super::test_part::TestPart;
use crate::{Event, Federation, Options};
use anyhow::{Context as _, Result, ensure};
use nsfl_trainer::dataset::DRILL;
use nsfl_trainer::digits::{Deal, deal};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use tempfile::TempDir;

/// Clients of the federation, named `c1`, `c2`, …
pub(super) const CLIENTS: usize = 20;
const DIGITS: &[u8] = include_bytes!("../../../data/digits/digits.csv.gz");
/// Rounds at a job's end whose mean accuracy is the job's.
const LAST: usize = 5;

/// A data set that every client has its part of.
#[derive(Debug, Clone)]
pub struct DataSet {
    /// As jobs name it.
    pub name: String,
    /// How it is dealt.
    pub deal: Deal,
    /// Who has what.
    pub seed: u64,
    /// What a client, by number, orders of itself: the content of its `drill.json`.
    pub drill: fn(usize) -> Option<Value>,
}

/// A federation with data.
pub struct Ground {
    federation: Federation,
    test: TestPart,
    _data: TempDir,
}

/// A job at its end.
#[derive(Debug, Clone)]
pub struct Trained {
    /// Of each train round, from the first one's opening until it was closed, in seconds.
    pub seconds: Vec<f64>,
    /// Of each train round's model on the test part, in per cent.
    pub accuracy: Vec<f64>,
    /// `metrics.json`.
    pub metrics: Value,
}

impl Ground {
    /// Deals the data and starts the federation.
    ///
    /// # Errors
    /// The disk's, and processes that do not start.
    pub fn start(program: PathBuf, sets: &[DataSet]) -> Result<Self> {
        let data = tempfile::Builder::new().prefix("nsfl-learn-").tempdir()?;
        let mut folders = BTreeMap::new();
        for set in sets {
            let folder = data.path().join(&set.name);
            for (i, part) in deal(DIGITS, set.deal, CLIENTS, set.seed, &folder)?.iter().enumerate() {
                if let Some(order) = (set.drill)(i + 1) {
                    std::fs::write(part.join(DRILL), order.to_string())?;
                }
            }
            folders.insert(set.name.clone(), folder);
        }
        let test = TestPart::make(DIGITS, data.path())?;
        let lines = "max_tasks = 8\nresource = { cpu = 8 }\nstore = { fsync = false }\n".to_owned();
        let options = Options {
            program: Some(program),
            clients: CLIENTS,
            server_extra: "store = { fsync = false }\n".to_owned(),
            client_extra: (1..=CLIENTS).map(|number| (number, lines.clone())).collect(),
            datasets: folders.into_iter().collect(),
            ..Options::default()
        };
        Ok(Self { federation: Federation::start(&options)?, test, _data: data })
    }

    /// Runs jobs, as many at once as the server does, and gives what became of each in their order.
    ///
    /// # Errors
    /// One was refused or did not finish.
    pub fn run(&self, jobs: &[Value]) -> Result<Vec<Trained>> {
        jobs.iter().try_for_each(|job| self.federation.submit(job))?;
        jobs.iter().map(|job| self.trained(job)).collect()
    }

    fn trained(&self, job: &Value) -> Result<Trained> {
        let id = job["id"].as_str().context("a job has an id")?;
        let events: Vec<Event> = self.federation.rest.events(id)?.collect();
        let end = events.iter().rfind(|event| event.kind == "run-ended").with_context(|| format!("{id} has no end"))?;
        ensure!(end.fields["outcome"] == "finished", "{id}: {}", end.fields);
        let opened = events.iter().find(|event| event.kind == "round-opened").context("a job has rounds")?;
        let is_done = |event: &&Event| {
            event.kind == "round-closed" && event.fields["kind"] == "train" && event.fields["outcome"] == "complete"
        };
        let parameters = job["parameters"].as_object().context("a job has parameters")?;
        let folder = self.federation.stored(&format!("out/fl_{id}_output_V1"));
        let (mut seconds, mut accuracy) = (Vec::new(), Vec::new());
        for closed in events.iter().filter(is_done) {
            let after = closed.at.0.0.saturating_sub(opened.at.0.0);
            seconds.push(std::time::Duration::from_millis(after).as_secs_f64());
            let model = folder.join(format!("checkpoint_{}.safetensors", closed.fields["round"]));
            accuracy.push(self.test.accuracy(&model, parameters)?);
        }
        let metrics = serde_json::from_slice(&std::fs::read(folder.join("metrics.json"))?)?;
        let trained = Trained { seconds, accuracy, metrics };
        eprint_line(id, &trained);
        Ok(trained)
    }
}

impl Trained {
    /// Mean accuracy of the last rounds.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a number of rounds")]
    pub fn last(&self) -> f64 {
        let last = &self.accuracy[self.accuracy.len().saturating_sub(LAST)..];
        last.iter().sum::<f64>() / last.len() as f64
    }

    /// Sum over all rounds of a metric of training.
    #[must_use]
    pub fn total(&self, metric: &str) -> f64 {
        self.metrics[format!("train_{metric}")].as_array().into_iter().flatten().filter_map(Value::as_f64).sum()
    }
}

#[allow(clippy::print_stderr, reason = "progress of a command that takes minutes")]
fn eprint_line(id: &str, trained: &Trained) {
    let seconds = trained.seconds.last().copied().unwrap_or_default();
    eprintln!("{id}: {:.2} % after {} rounds, {seconds:.1} s", trained.last(), trained.accuracy.len());
}
