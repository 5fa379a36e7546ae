//! Digests of undisturbed runs, each run once.

use super::scripted::start;
use super::story::Story;
use crate::Options;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;

/// What each job ends with when nothing fails.
pub struct Expected {
    program: PathBuf,
    known: Mutex<BTreeMap<String, String>>,
}

impl Expected {
    /// Nothing known yet.
    #[must_use]
    pub fn new(program: PathBuf) -> Self {
        Self { program, known: Mutex::default() }
    }

    /// The final model's digest of `job`, on two clients.
    ///
    /// # Errors
    /// The job did not finish.
    pub fn of(&self, job: &Value) -> anyhow::Result<String> {
        let mut known = self.known.lock().expect("nothing panics while it holds this lock");
        if let Some(digest) = known.get(&job.to_string()) {
            return Ok(digest.clone());
        }
        let options = Options { program: Some(self.program.clone()), ..Options::default() };
        let digest = Story::begin(start(options, job)?, job).undisturbed()?;
        known.insert(job.to_string(), digest.clone());
        Ok(digest)
    }
}
