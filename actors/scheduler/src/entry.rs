//! A job in the scheduler's hands: its record, its checked form, its machine.

use nsfl_actor::Failure;
use nsfl_messages::JobView;
use nsfl_store::{CheckpointRecord, JobRecord};
use nsfl_types::{JobDocument, JobKey, JobSpec, JobState, Timestamp};
use nsfl_workflow::JobMachine;
use std::sync::Arc;

/// One job.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) document: JobDocument,
    pub(crate) author: String,
    pub(crate) spec: Arc<JobSpec>,
    pub(crate) machine: JobMachine,
    pub(crate) created: Timestamp,
    pub(crate) started: Option<Timestamp>,
    /// Since when it waits for its run, or has waited.
    pub(crate) queued: Timestamp,
    /// The selector has been asked and has not answered yet.
    pub(crate) checking: bool,
}

impl Entry {
    pub(crate) fn new(now: Timestamp, key: JobKey, document: JobDocument, spec: JobSpec, author: String) -> Self {
        let machine = JobMachine::new(key);
        Self {
            document,
            author,
            spec: Arc::new(spec),
            machine,
            created: now,
            started: None,
            queued: now,
            checking: false,
        }
    }

    /// # Errors
    /// The stored document or snapshot is not readable by this version; the failure names the job.
    pub(crate) fn from_record(record: &JobRecord) -> Result<Self, Failure> {
        let context = || format!("job {} cannot be read from the store", record.key);
        let (document, spec) =
            JobSpec::parse(record.document.as_bytes()).map_err(|e| Failure::from(e).context(context()))?;
        let machine = JobMachine::restore(&record.snapshot).map_err(|e| Failure::from(e).context(context()))?;
        let (created, started, author) = (record.created, record.started, record.author.clone());
        let queued = created;
        Ok(Self { document, author, spec: Arc::new(spec), machine, created, started, queued, checking: false })
    }

    pub(crate) fn record(&self) -> JobRecord {
        JobRecord {
            key: self.machine.key().clone(),
            document: serde_json::to_string(&self.document).expect("a document that was parsed can be written"),
            author: self.author.clone(),
            state: self.state(),
            snapshot: self.machine.snapshot(),
            created: self.created,
            started: self.started,
        }
    }

    pub(crate) fn state(&self) -> JobState {
        self.machine.status().state
    }

    pub(crate) fn is_waiting(&self) -> bool {
        matches!(self.state(), JobState::Queuing | JobState::Pending)
    }

    /// Whether it takes up a slot.
    pub(crate) fn is_running(&self) -> bool {
        !self.is_waiting() && !self.state().is_at_rest()
    }

    pub(crate) fn view(&self, checkpoints: Vec<CheckpointRecord>) -> JobView {
        JobView {
            key: self.machine.key().clone(),
            document: self.document.clone(),
            author: self.author.clone(),
            status: self.machine.status().clone(),
            run: self.machine.run(),
            created: self.created,
            started: self.started,
            checkpoints: checkpoints.into_iter().map(|c| (c.id, (c.accuracy, c.path))).collect(),
        }
    }
}
