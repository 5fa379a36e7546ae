//! Jobs, runs, rounds, members, checkpoints, events: the server's records and the trait that keeps them.

use crate::StoreError;
use async_trait::async_trait;
use nsfl_types::{BlobRef, Cause, Code, JobKey, JobState, Metrics, TaskKey, TaskKind, Timestamp};
use serde::{Deserialize, Serialize};

/// A job as the scheduler keeps it. The scheduler is its only writer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobRecord {
    /// The job.
    pub key: JobKey,
    /// The job document as the user wrote it, JSON.
    pub document: String,
    /// Who wrote the document.
    pub author: String,
    /// State, for lists; the machine's snapshot decides.
    pub state: JobState,
    /// Snapshot of the job machine.
    pub snapshot: Vec<u8>,
    /// When the job was created.
    pub created: Timestamp,
    /// When its last run started, if one did.
    pub started: Option<Timestamp>,
}

/// One run of a job as its coordinator keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The job.
    pub job: JobKey,
    /// n-th start of the job, from 1.
    pub run: u32,
    /// Counts the coordinators this run has had: a write by an older one is refused.
    pub generation: u64,
    /// Snapshot of the run machine, with what is still owed.
    pub snapshot: Vec<u8>,
}

impl RunRecord {
    /// Whether this record may replace one of generation `stored`: every backend asks this within the transaction.
    ///
    /// # Errors
    /// `Fenced` when the stored generation is newer.
    pub fn check_generation(&self, stored: Option<u64>) -> Result<(), StoreError> {
        match stored {
            Some(stored) if stored > self.generation => Err(StoreError::Fenced {
                key: format!("{} run {}", self.job, self.run),
                stored,
                tried: self.generation,
            }),
            _ => Ok(()),
        }
    }
}

/// How a round stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RoundState {
    /// Tasks are out.
    Open,
    /// Quorum met, aggregated or evaluated.
    Complete,
    /// No quorum; tried again under the next attempt.
    Failed,
}

/// One attempt of a round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoundRecord {
    /// The job.
    pub job: JobKey,
    /// Run, from 1.
    pub run: u32,
    /// Round, from 1.
    pub round: u32,
    /// Attempt, from 1.
    pub attempt: u32,
    /// Train or evaluate.
    pub kind: TaskKind,
    /// How it stands.
    pub state: RoundState,
    /// When its tasks went out.
    pub opened: Timestamp,
    /// When it closed.
    pub closed: Option<Timestamp>,
    /// Size of the cohort.
    pub cohort: u32,
    /// Updates counted.
    pub accepted: u32,
    /// Weighted mean of the members' metrics.
    pub metrics: Metrics,
    /// The global model after the round.
    pub model: Option<BlobRef>,
    /// Why it failed; empty otherwise.
    pub reason: String,
    /// What more is known of a part of the server that failed, such as the job's extender.
    pub cause: Option<Cause>,
}

/// How a client's part of a round stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemberState {
    /// Its task was sent.
    Invited,
    /// Its executor runs.
    Started,
    /// Its update is counted.
    Accepted,
    /// Its update was wrong.
    Refused,
    /// Its task failed.
    Failed,
    /// Silent at the deadline.
    Straggler,
}

impl MemberState {
    /// Whether it is one of those that `failures` lists.
    #[must_use]
    pub fn is_failure(self) -> bool {
        matches!(self, MemberState::Refused | MemberState::Failed | MemberState::Straggler)
    }
}

/// One client's part of one attempt of a round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemberRecord {
    /// The task.
    pub task: TaskKey,
    /// How it stands.
    pub state: MemberState,
    /// Its metrics, once accepted.
    pub metrics: Metrics,
    /// Why it was refused or failed.
    pub code: Option<Code>,
    /// The same in a sentence.
    pub reason: String,
    /// What more is known of a trainer that failed.
    pub cause: Option<Cause>,
    /// The round of the model that its update has gone into, where that can be another than its task's: in jobs whose late
    /// updates count.
    pub counted: Option<u32>,
    /// Its way so far.
    pub steps: Steps,
    /// When this was written.
    pub at: Timestamp,
}

/// When a client's part of a round came to each step on its way, as far as that is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steps {
    /// Its task was sent.
    pub sent: Option<Timestamp>,
    /// Its executor said that it trains.
    pub started: Option<Timestamp>,
    /// It said that it brings its update.
    pub uploading: Option<Timestamp>,
    /// Bytes of the update that was accepted.
    pub bytes: Option<u64>,
}

impl Steps {
    /// With what was known before.
    #[must_use]
    pub fn or(self, before: Self) -> Self {
        Self {
            sent: before.sent.or(self.sent),
            started: before.started.or(self.started),
            uploading: self.uploading.or(before.uploading),
            bytes: self.bytes.or(before.bytes),
        }
    }
}

/// A saved global model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckpointRecord {
    /// The job.
    pub job: JobKey,
    /// The checkpoint's id, unique within the job.
    pub id: String,
    /// Run and round it was saved in.
    pub run: u32,
    /// The round.
    pub round: u32,
    /// That round's accuracy, if it was evaluated.
    pub accuracy: Option<f64>,
    /// Path in the namespace's storage.
    pub path: String,
    /// Content of the model.
    pub model: BlobRef,
}

/// Something that happened, for people and for `watch`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventRecord {
    /// Counts up, given by the store; 0 in a record to be appended.
    pub id: u64,
    /// When.
    pub at: Timestamp,
    /// The job it belongs to, if one.
    pub job: Option<JobKey>,
    /// Kebab-case name of the event, past tense: `round-closed`.
    pub kind: String,
    /// JSON object with its fields.
    pub fields: serde_json::Value,
}

/// One write within a transaction. Runs, rounds, members and checkpoints of a job that is not there are `NotFound`,
/// so that a zombie cannot bring back a deleted job; an event may speak of a job that is gone.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// A new job; `Exists` when there is one.
    InsertJob(JobRecord),
    /// Replaces a job; `NotFound` when there is none.
    UpdateJob(JobRecord),
    /// Removes a job with its runs, rounds, members, checkpoints and events; nothing when absent.
    DeleteJob(JobKey),
    /// Inserts or replaces a run; `Fenced` when the stored generation is newer.
    PutRun(RunRecord),
    /// Inserts or replaces a round's attempt.
    PutRound(RoundRecord),
    /// Inserts or replaces a member; of its steps, those that were told before stay.
    PutMember(MemberRecord),
    /// Inserts or replaces a checkpoint.
    PutCheckpoint(CheckpointRecord),
    /// Appends an event under the next id.
    AppendEvent(EventRecord),
}

impl Change {
    /// The job it is about; `None` for an event without one.
    #[must_use]
    pub fn job(&self) -> Option<&JobKey> {
        match self {
            Change::InsertJob(record) | Change::UpdateJob(record) => Some(&record.key),
            Change::DeleteJob(key) => Some(key),
            Change::PutRun(record) => Some(&record.job),
            Change::PutRound(record) => Some(&record.job),
            Change::PutMember(record) => Some(&record.task.job),
            Change::PutCheckpoint(record) => Some(&record.job),
            Change::AppendEvent(record) => record.job.as_ref(),
        }
    }
}

/// The server's database.
#[async_trait]
pub trait JobStore: Send + Sync + 'static {
    /// Does all changes, durably, or none. Batches are written in the order they were asked for, also when whoever asked is
    /// gone: an empty one waits for those before it, so that what is read afterwards is not overtaken by them.
    async fn commit(&self, changes: Vec<Change>) -> Result<(), StoreError>;
    /// Every job, by namespace and id.
    async fn jobs(&self) -> Result<Vec<JobRecord>, StoreError>;
    /// One job.
    async fn job(&self, key: &JobKey) -> Result<Option<JobRecord>, StoreError>;
    /// One run.
    async fn run(&self, key: &JobKey, run: u32) -> Result<Option<RunRecord>, StoreError>;
    /// The rounds of a run, by round, kind (train first) and attempt.
    async fn rounds(&self, key: &JobKey, run: u32) -> Result<Vec<RoundRecord>, StoreError>;
    /// The members of a round of a run, all attempts and kinds, and those of other rounds whose updates are counted in it; by
    /// round, attempt, kind and client.
    async fn members(&self, key: &JobKey, run: u32, round: u32) -> Result<Vec<MemberRecord>, StoreError>;
    /// At most `limit` members of a run that were refused, failed or silent, the newest round first, then the newest
    /// attempt, evaluate before train, clients from the end.
    async fn failures(&self, key: &JobKey, run: u32, limit: u32) -> Result<Vec<MemberRecord>, StoreError>;
    /// The checkpoints of a job, by run and round.
    async fn checkpoints(&self, key: &JobKey) -> Result<Vec<CheckpointRecord>, StoreError>;
    /// At most `limit` events with an id above `after`, oldest first; of one job, or of all.
    async fn events(&self, job: Option<&JobKey>, after: u64, limit: u32) -> Result<Vec<EventRecord>, StoreError>;
    /// Carries the id of the newest event; changes after each commit that appended one. For `watch` and the event stream.
    fn newest_event(&self) -> tokio::sync::watch::Receiver<u64>;
}
