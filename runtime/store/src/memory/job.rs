//! The job database in maps. A batch is checked whole before its first change is made.

use super::lock;
use crate::{
    Change, CheckpointRecord, EventRecord, JobRecord, JobStore, MemberRecord, RoundRecord, RunRecord, StoreError,
};
use async_trait::async_trait;
use nsfl_types::{JobKey, TaskKey, TaskKind};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use tokio::sync::watch;

/// The server's database in memory.
#[derive(Debug, Default)]
pub struct MemoryJobStore {
    state: Mutex<State>,
    newest_event: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    jobs: BTreeMap<JobKey, Job>,
    events: Vec<EventRecord>,
    last_event: u64,
}

#[derive(Debug)]
struct Job {
    record: JobRecord,
    runs: BTreeMap<u32, RunRecord>,
    /// By run, round, kind and attempt.
    rounds: BTreeMap<(u32, u32, TaskKind, u32), RoundRecord>,
    /// By run and round; a task key orders by attempt, kind and client within.
    members: BTreeMap<(u32, u32), BTreeMap<TaskKey, MemberRecord>>,
    checkpoints: BTreeMap<String, CheckpointRecord>,
}

#[async_trait]
impl JobStore for MemoryJobStore {
    async fn commit(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        let mut state = lock(&self.state);
        check(&state, &changes)?;
        changes.into_iter().for_each(|change| apply(&mut state, change));
        // Sent under the lock, so that ids cannot overtake each other.
        self.newest_event.send_if_modified(|id| std::mem::replace(id, state.last_event) != state.last_event);
        Ok(())
    }

    async fn jobs(&self) -> Result<Vec<JobRecord>, StoreError> {
        Ok(lock(&self.state).jobs.values().map(|job| job.record.clone()).collect())
    }

    async fn job(&self, key: &JobKey) -> Result<Option<JobRecord>, StoreError> {
        Ok(lock(&self.state).jobs.get(key).map(|job| job.record.clone()))
    }

    async fn run(&self, key: &JobKey, run: u32) -> Result<Option<RunRecord>, StoreError> {
        Ok(lock(&self.state).jobs.get(key).and_then(|job| job.runs.get(&run).cloned()))
    }

    async fn rounds(&self, key: &JobKey, run: u32) -> Result<Vec<RoundRecord>, StoreError> {
        let state = lock(&self.state);
        let rounds = state.jobs.get(key).into_iter().flat_map(|job| &job.rounds);
        Ok(rounds.filter(|((of, ..), _)| *of == run).map(|(_, record)| record.clone()).collect())
    }

    async fn members(&self, key: &JobKey, run: u32, round: u32) -> Result<Vec<MemberRecord>, StoreError> {
        let state = lock(&self.state);
        let members = state.jobs.get(key).into_iter().flat_map(|job| &job.members).filter(|((of, _), _)| *of == run);
        let members = members.flat_map(|(_, members)| members.values());
        Ok(members.filter(|m| m.task.round == round || m.counted == Some(round)).cloned().collect())
    }

    async fn failures(&self, key: &JobKey, run: u32, limit: u32) -> Result<Vec<MemberRecord>, StoreError> {
        let state = lock(&self.state);
        let rounds = state.jobs.get(key).into_iter().flat_map(|job| job.members.iter().rev());
        let members = rounds.filter(|((of, _), _)| *of == run).flat_map(|(_, members)| members.values().rev());
        Ok(members.filter(|member| member.state.is_failure()).take(limit as usize).cloned().collect())
    }

    async fn checkpoints(&self, key: &JobKey) -> Result<Vec<CheckpointRecord>, StoreError> {
        let state = lock(&self.state);
        let saved = state.jobs.get(key).into_iter().flat_map(|job| job.checkpoints.values());
        let mut saved: Vec<_> = saved.cloned().collect();
        saved.sort_by_key(|checkpoint| (checkpoint.run, checkpoint.round));
        Ok(saved)
    }

    async fn events(&self, job: Option<&JobKey>, after: u64, limit: u32) -> Result<Vec<EventRecord>, StoreError> {
        let state = lock(&self.state);
        let from = state.events.partition_point(|event| event.id <= after);
        let wanted = state.events[from..].iter().filter(|event| job.is_none() || event.job.as_ref() == job);
        Ok(wanted.take(limit as usize).cloned().collect())
    }

    fn newest_event(&self) -> watch::Receiver<u64> {
        self.newest_event.subscribe()
    }
}

/// Goes through the batch as `apply` will, without changing anything.
fn check(state: &State, changes: &[Change]) -> Result<(), StoreError> {
    // What earlier changes of the batch have done to jobs and generations.
    let mut exists: BTreeMap<&JobKey, bool> = BTreeMap::new();
    let mut fresh: BTreeSet<&JobKey> = BTreeSet::new();
    let mut generations: BTreeMap<(&JobKey, u32), u64> = BTreeMap::new();
    for change in changes {
        let Some(key) = change.job() else { continue };
        let known = exists.get(key).copied().unwrap_or_else(|| state.jobs.contains_key(key));
        match change {
            Change::InsertJob(_) if known => return Err(StoreError::Exists(format!("job {key}"))),
            Change::InsertJob(_) => drop(exists.insert(key, true)),
            Change::DeleteJob(_) => {
                exists.insert(key, false);
                fresh.insert(key);
                generations.retain(|(of, _), _| *of != key);
            }
            Change::AppendEvent(_) => {}
            _ if !known => return Err(StoreError::NotFound(format!("job {key}"))),
            Change::PutRun(record) => {
                let in_store = || state.jobs.get(key).filter(|_| !fresh.contains(key))?.runs.get(&record.run);
                let stored = generations.get(&(key, record.run)).copied();
                record.check_generation(stored.or_else(|| in_store().map(|run| run.generation)))?;
                generations.insert((key, record.run), record.generation);
            }
            _ => {}
        }
    }
    Ok(())
}

/// Makes a change that `check` has let through.
fn apply(state: &mut State, change: Change) {
    match change {
        Change::InsertJob(record) => drop(state.jobs.insert(record.key.clone(), Job::new(record))),
        Change::UpdateJob(record) => {
            let job = state.of(&record.key);
            job.record = record;
        }
        Change::DeleteJob(key) => {
            state.jobs.remove(&key);
            state.events.retain(|event| event.job.as_ref() != Some(&key));
        }
        Change::PutRun(record) => drop(state.of(&record.job).runs.insert(record.run, record)),
        Change::PutRound(record) => {
            let key = (record.run, record.round, record.kind, record.attempt);
            state.of(&record.job).rounds.insert(key, record);
        }
        Change::PutMember(record) => {
            let task = record.task.clone();
            let members = state.of(&task.job).members.entry((task.run, task.round)).or_default();
            let before = members.get(&task).map(|member| member.steps).unwrap_or_default();
            members.insert(task, MemberRecord { steps: record.steps.or(before), ..record });
        }
        Change::PutCheckpoint(record) => {
            drop(state.of(&record.job).checkpoints.insert(record.id.clone(), record));
        }
        Change::AppendEvent(record) => {
            state.last_event += 1;
            state.events.push(EventRecord { id: state.last_event, ..record });
        }
    }
}

impl State {
    fn of(&mut self, key: &JobKey) -> &mut Job {
        self.jobs.get_mut(key).expect("check has seen this job")
    }
}

impl Job {
    fn new(record: JobRecord) -> Self {
        Self {
            record,
            runs: BTreeMap::new(),
            rounds: BTreeMap::new(),
            members: BTreeMap::new(),
            checkpoints: BTreeMap::new(),
        }
    }
}
