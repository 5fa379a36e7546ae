//! One job's nine states: which operation is allowed when, and what each event leads to. Not its rounds (see `run`).

mod operation;
#[cfg(test)]
mod tests;

pub use operation::{NotAllowed, Operation, allowed};

use crate::snapshot::{self, SnapshotError};
use nsfl_types::{Code, JobKey, JobState, JobStatus, Timestamp};
use serde::{Deserialize, Serialize};

/// What happens to a job beside users' operations. What a coordinator says carries its run: an older one's is stale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobInput {
    /// Enough clients fit the job.
    ClientsReady,
    /// Too few clients fit the job; the reason is shown to users.
    ClientsMissing { reason: String },
    /// The job was given a slot.
    Scheduled,
    /// The coordinator of this run works.
    CoordinatorStarted { run: u32 },
    /// `done` of `total` rounds are over.
    Progress { run: u32, done: u32, total: u32 },
    /// The run ended with a model.
    RunFinished { run: u32 },
    /// The run ended with a reason.
    RunFailed { run: u32, code: Code, reason: String },
    /// The run ended because it was told to, or there is no coordinator that could be stopped.
    RunStopped { run: u32 },
}

/// What the scheduler has to do for a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobEffect {
    /// Start the coordinator of this run, or let it go on.
    StartCoordinator { run: u32 },
    /// Stop the coordinator of this run and answer `RunStopped`, also when there is none.
    StopCoordinator { run: u32 },
    /// Remove the job and all that belongs to it.
    RemoveJob,
    /// The status users see is now this one.
    StatusChanged { status: JobStatus, at: Timestamp },
}

/// The state machine of one job. It waits for nothing by itself, so it has no deadline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobMachine {
    key: JobKey,
    run: u32,
    status: JobStatus,
    /// A coordinator of `run` may exist.
    has_coordinator: bool,
}

impl JobMachine {
    /// A job that was just submitted: QUEUING, run 1.
    #[must_use]
    pub fn new(key: JobKey) -> Self {
        let status = JobStatus { state: JobState::Queuing, reason: String::new(), progress: 0 };
        Self { key, run: 1, status, has_coordinator: false }
    }

    /// Carries out what a user asks for.
    ///
    /// # Errors
    /// The job's state does not allow it; nothing changed.
    pub fn operate(
        &mut self,
        now: Timestamp,
        operation: Operation,
        effects: &mut Vec<JobEffect>,
    ) -> Result<(), NotAllowed> {
        let state = self.status.state;
        if !allowed(state).contains(&operation) {
            return Err(NotAllowed { job: self.key.clone(), state, operation });
        }
        match operation {
            Operation::Start => {
                self.run += 1;
                self.status.progress = 0;
                self.enter(now, JobState::Queuing, "", effects);
            }
            Operation::Stop if self.has_coordinator => {
                self.enter(now, JobState::Stopping, "", effects);
                effects.push(JobEffect::StopCoordinator { run: self.run });
            }
            Operation::Stop => self.enter(now, JobState::Stopped, "", effects),
            Operation::Update if state == JobState::Pending => {
                self.enter(now, JobState::Queuing, "", effects);
            }
            Operation::Update => {}
            Operation::Delete => {
                self.enter(now, JobState::Deleting, "", effects);
                self.go_on_deleting(effects);
            }
        }
        Ok(())
    }

    /// Takes in an event. What does not fit the state or the run is stale and changes nothing.
    pub fn handle(&mut self, now: Timestamp, input: JobInput, effects: &mut Vec<JobEffect>) {
        use JobState::{Deleting, Failed, Finished, Pending, Queuing, Running, Starting, Stopped, Stopping};
        let state = self.status.state;
        match input {
            JobInput::ClientsReady if state == Pending => self.enter(now, Queuing, "", effects),
            JobInput::ClientsMissing { reason } if matches!(state, Queuing | Pending) => {
                self.enter(now, Pending, &reason, effects);
            }
            JobInput::Scheduled if matches!(state, Queuing | Pending) => {
                self.has_coordinator = true;
                self.enter(now, Starting, "", effects);
                effects.push(JobEffect::StartCoordinator { run: self.run });
            }
            JobInput::CoordinatorStarted { run } if run == self.run && state == Starting => {
                self.enter(now, Running, "", effects);
            }
            // asked to stop in its last life
            JobInput::CoordinatorStarted { run }
                if run == self.run && self.has_coordinator && matches!(state, Stopping | Deleting) =>
            {
                effects.push(JobEffect::StopCoordinator { run });
            }
            JobInput::Progress { run, done, total } if run == self.run && matches!(state, Starting | Running) => {
                self.progress(now, done, total, effects);
            }
            JobInput::RunFinished { run } if self.ends(run) => match state {
                Deleting => self.go_on_deleting(effects),
                _ => {
                    self.status.progress = 100;
                    self.enter(now, Finished, "", effects);
                }
            },
            JobInput::RunFailed { run, code, reason } if self.ends(run) => {
                let reason = format!("{code}: {reason}");
                match state {
                    Deleting => self.go_on_deleting(effects),
                    Stopping => self.enter(now, Stopped, &reason, effects),
                    _ => self.enter(now, Failed, &reason, effects),
                }
            }
            JobInput::RunStopped { run } if self.ends(run) => match state {
                Deleting => self.go_on_deleting(effects),
                _ => self.enter(now, Stopped, "", effects),
            },
            _ => {}
        }
    }

    /// After a restart: what is still owed.
    pub fn resume(&self, effects: &mut Vec<JobEffect>) {
        match self.status.state {
            JobState::Starting | JobState::Running => {
                effects.push(JobEffect::StartCoordinator { run: self.run });
            }
            JobState::Stopping => effects.push(JobEffect::StopCoordinator { run: self.run }),
            JobState::Deleting => self.go_on_deleting(effects),
            _ => {}
        }
    }

    /// The job's name.
    #[must_use]
    pub fn key(&self) -> &JobKey {
        &self.key
    }

    /// n-th start of the job, from 1: the one queued, running or ended last.
    #[must_use]
    pub fn run(&self) -> u32 {
        self.run
    }

    /// The status users see.
    #[must_use]
    pub fn status(&self) -> &JobStatus {
        &self.status
    }

    /// The machine as bytes.
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        snapshot::encode(self)
    }

    /// The machine from `snapshot`'s bytes.
    ///
    /// # Errors
    /// The bytes are of another version or no snapshot.
    pub fn restore(bytes: &[u8]) -> Result<Self, SnapshotError> {
        snapshot::decode("job machine", bytes)
    }

    fn enter(&mut self, now: Timestamp, state: JobState, reason: &str, effects: &mut Vec<JobEffect>) {
        let next = JobStatus { state, reason: reason.to_owned(), progress: self.status.progress };
        if state == JobState::Pending && next == self.status {
            return;
        }
        self.status = next;
        effects.push(JobEffect::StatusChanged { status: self.status.clone(), at: now });
    }

    fn progress(&mut self, now: Timestamp, done: u32, total: u32, effects: &mut Vec<JobEffect>) {
        let percent = u64::from(done) * 100 / u64::from(total.max(1));
        let percent = u8::try_from(percent.min(100)).expect("at most 100");
        if percent > self.status.progress {
            self.status.progress = percent;
            effects.push(JobEffect::StatusChanged { status: self.status.clone(), at: now });
        }
    }

    /// Whether this is the end of a coordinator that may exist; if so it is gone now.
    fn ends(&mut self, run: u32) -> bool {
        run == self.run && std::mem::take(&mut self.has_coordinator)
    }

    fn go_on_deleting(&self, effects: &mut Vec<JobEffect>) {
        effects.push(match self.has_coordinator {
            true => JobEffect::StopCoordinator { run: self.run },
            false => JobEffect::RemoveJob,
        });
    }
}
