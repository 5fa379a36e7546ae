//! How far a task is, as its script says in a file, looked for while it runs.

use super::TaskFolder;
use nsfl_types::Metrics;
use serde::Deserialize;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// How often progress is looked for, and told at most.
const LOOK: Duration = Duration::from_millis(250);
const TELL: Duration = Duration::from_secs(1);

/// Waits for what ends with the script, and meanwhile tells what is new of its progress.
pub async fn watching<T>(folder: &TaskFolder, mut tell: impl FnMut(Progress), ends: impl Future<Output = T>) -> T {
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut seen, mut told): (Option<Progress>, Option<Instant>) = (None, None);
    tokio::pin!(ends);
    loop {
        tokio::select! {
            ended = &mut ends => return ended,
            _ = look.tick() => {
                if told.is_some_and(|at| at.elapsed() < TELL) {
                    continue;
                }
                let Some(progress) = folder.progress() else { continue };
                if seen.as_ref() != Some(&progress) {
                    (seen, told) = (Some(progress.clone()), Some(Instant::now()));
                    tell(progress);
                }
            }
        }
    }
}

/// How far a script is, in its own words.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Progress {
    /// 0 to 1.
    #[serde(default)]
    pub done: Option<f64>,
    /// A sentence.
    #[serde(default, deserialize_with = "or_empty")]
    pub message: String,
    /// Numbers so far.
    #[serde(default)]
    pub metrics: Metrics,
}

impl Progress {
    pub(super) fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().map(Self::bounded)
    }

    fn bounded(mut self) -> Self {
        const MESSAGE: usize = 500;
        const METRICS: usize = 50;
        self.done = self.done.filter(|done| done.is_finite()).map(|done| done.clamp(0.0, 1.0));
        self.message = self.message.chars().take(MESSAGE).collect();
        let metrics = std::mem::take(&mut self.metrics.0).into_iter();
        let short = |name: &String| name.len() <= 100;
        self.metrics.0 = metrics.filter(|(name, value)| short(name) && value.is_finite()).take(METRICS).collect();
        self
    }
}

fn or_empty<'de, D: serde::Deserializer<'de>>(d: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(d)?.unwrap_or_default())
}
