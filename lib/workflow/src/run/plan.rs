//! What a run is to do: the part of a job's specification that the run machine decides by. Fixed for the whole run.

use super::{LatePolicy, RoundPolicy};
use nsfl_types::{JobKey, JobSpec, Late};
use serde::{Deserialize, Serialize};

/// How often and how fast something that failed is tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Consecutive attempts before giving up, ≥ 1.
    pub max_attempts: u32,
    /// Pause after the first failure, in milliseconds; it doubles with each further one.
    pub backoff_base_ms: u64,
    /// Longest pause, in milliseconds.
    pub backoff_max_ms: u64,
}

impl RetryPolicy {
    /// The pause after `failures` consecutive failures (from 1), in milliseconds.
    #[must_use]
    pub fn pause_ms(&self, failures: u32) -> u64 {
        let factor = 1_u64.checked_shl(failures.saturating_sub(1)).unwrap_or(u64::MAX);
        self.backoff_base_ms.saturating_mul(factor).min(self.backoff_max_ms)
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { max_attempts: 5, backoff_base_ms: 1_000, backoff_max_ms: 60_000 }
    }
}

/// The plan of one run of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunPlan {
    /// The job.
    pub job: JobKey,
    /// n-th start of the job, from 1.
    pub run: u32,
    /// Rounds to complete, ≥ 1.
    pub max_round_num: u32,
    /// An evaluate round every this many rounds and after the last; 0: never.
    pub evaluate_interval: u32,
    /// A checkpoint every this many rounds and after the last; 0: after the last only.
    pub save_interval: u32,
    /// Whom a round invites, when it is over, and what becomes of those who are not done by then.
    #[serde(flatten)]
    pub rounds: RoundPolicy,
    /// What to do when the first model, a round, an aggregation or a checkpoint fails.
    pub retry: RetryPolicy,
}

impl RunPlan {
    /// The plan that a checked job asks for, with the default retry policy. `buffer` is K and the largest staleness of the
    /// job's rule, which with late `buffer` has them.
    #[must_use]
    pub fn new(job: JobKey, run: u32, spec: &JobSpec, buffer: Option<(u32, Option<u32>)>) -> Self {
        let hyper = &spec.hyper;
        let late = match (hyper.late, buffer) {
            (Late::Stale { max_staleness }, _) => LatePolicy::Stale { max_staleness },
            (Late::Buffer, Some((k, max_staleness))) => LatePolicy::Buffer { k, max_staleness },
            // refused when it was submitted
            (Late::Drop | Late::Buffer, _) => LatePolicy::Drop,
        };
        Self {
            job,
            run,
            max_round_num: hyper.max_round_num,
            evaluate_interval: hyper.evaluate_interval,
            save_interval: hyper.save_interval,
            rounds: RoundPolicy {
                client_num: hyper.client_num,
                cohort: spec.redundancy.cohort(hyper.client_num),
                quorum: hyper.quorum.get(),
                round_timeout_ms: hyper.round_timeout_ms,
                close_at_threshold: hyper.close_at_threshold,
                late,
            },
            retry: RetryPolicy::default(),
        }
    }

    pub(super) fn is_last(&self, round: u32) -> bool {
        round >= self.max_round_num
    }

    pub(super) fn evaluates(&self, round: u32) -> bool {
        self.evaluate_interval > 0 && (round.is_multiple_of(self.evaluate_interval) || self.is_last(round))
    }

    pub(super) fn saves(&self, round: u32) -> bool {
        self.is_last(round) || (self.save_interval > 0 && round.is_multiple_of(self.save_interval))
    }
}
