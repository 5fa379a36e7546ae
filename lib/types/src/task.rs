//! A task's identity and the seed that belongs to it.

use crate::{ClientId, JobKey};
use serde::{Deserialize, Serialize};
use sha2::Digest as _;
use std::fmt;

/// What a task does with the model it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskKind {
    /// Trains and returns an update.
    Train,
    /// Evaluates and returns metrics only.
    Evaluate,
}

/// One client's part of one round. `run` counts the job's starts, `attempt` the tries of a round, both from 1.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskKey {
    /// The job.
    pub job: JobKey,
    /// n-th start of the job, from 1.
    pub run: u32,
    /// Round number, from 1.
    pub round: u32,
    /// Try of this round, from 1.
    pub attempt: u32,
    /// Train or evaluate part of the round.
    pub kind: TaskKind,
    /// The client that does it.
    pub client: ClientId,
}

impl TaskKey {
    /// A name safe in paths: `<ns>.<job>.r<run>.<round>.<attempt>.<kind>`, without the client.
    #[must_use]
    pub fn folder(&self) -> String {
        let kind = match self.kind {
            TaskKind::Train => "train",
            TaskKind::Evaluate => "evaluate",
        };
        format!("{}+{}+r{}.{}.{}.{kind}", self.job.namespace, self.job.id, self.run, self.round, self.attempt)
    }

    /// The seed of this task. It leaves out `run` and `attempt`, so that a task done again gives the same bits.
    #[must_use]
    pub fn seed(&self, job_seed: u64) -> u64 {
        let kind = if self.kind == TaskKind::Train { "train" } else { "evaluate" };
        seed_for(job_seed, &[self.client.as_str(), kind, &self.round.to_string()])
    }
}

impl fmt::Display for TaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.folder(), self.client)
    }
}

/// A seed derived from `seed` and a path of names: the first 8 bytes (little-endian) of a SHA-256 over them.
#[must_use]
pub fn seed_for(seed: u64, names: &[&str]) -> u64 {
    let mut hash = sha2::Sha256::new();
    hash.update(seed.to_le_bytes());
    for name in names {
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name.as_bytes());
    }
    let bytes: [u8; 32] = hash.finalize().into();
    u64::from_le_bytes(bytes[..8].try_into().expect("a digest has 32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_done_again_has_the_same_seed_and_another_client_has_not() {
        let key = |attempt, client: &str| TaskKey {
            job: JobKey::new("default".parse().unwrap(), "j".parse().unwrap()),
            run: attempt,
            round: 3,
            attempt,
            kind: TaskKind::Train,
            client: client.parse().unwrap(),
        };
        assert_eq!(key(1, "a").seed(7), key(2, "a").seed(7));
        assert_ne!(key(1, "a").seed(7), key(1, "b").seed(7));
        assert_ne!(key(1, "a").seed(7), key(1, "a").seed(8));
    }
}
