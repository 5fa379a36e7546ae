//! The digits that no client trains on, and how many of them a model tells right: measured by the builtin trainer, here and not by
//! the clients, so that measuring takes no time of a job.

use super::ground::CLIENTS;
use anyhow::{Context as _, Result};
use nsfl_trainer::digits::{Deal, deal};
use nsfl_trainer::{TrainerTask, Work, run};
use serde_json::{Map, Value};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// A file of all of them.
pub(super) struct TestPart {
    file: PathBuf,
}

impl TestPart {
    /// Puts the parts of all clients together, in this folder.
    pub(super) fn make(digits: &[u8], folder: &Path) -> Result<Self> {
        let mut all = String::new();
        for client in deal(digits, Deal::Alike, CLIENTS, 0, &folder.join("all"))? {
            write!(all, "{}", std::fs::read_to_string(client.join("test.csv"))?)?;
        }
        let file = folder.join("test.csv");
        std::fs::write(&file, all)?;
        Ok(Self { file })
    }

    /// Per cent of them that this model, of a job with these parameters, tells right.
    pub(super) fn accuracy(&self, model: &Path, parameters: &Map<String, Value>) -> Result<f64> {
        let task = TrainerTask {
            work: Work::Evaluate { base: model.to_owned() },
            task_entry: "classifier".to_owned(),
            parameters: parameters.clone(),
            optimizer: None,
            gpu: false,
            seed: 0,
            datasets: [("digits".to_owned(), self.file.clone())].into(),
            result: PathBuf::new(),
        };
        let done = run(&task).with_context(|| format!("{} cannot be measured", model.display()))?;
        Ok(100.0 * done.metrics.get("accuracy").context("the classifier measures its accuracy")?)
    }
}
