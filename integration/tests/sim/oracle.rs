//! What must hold whatever happens, checked as it happens: at each commit, each frame, each task record, each training.

use crate::learning::{Counted, counted, expected, initial, number};
use crate::net::Way;
use crate::trace::Trace;
use futures_util::FutureExt as _;
use nsfl_messages::wire::{self, EXPORT_REGISTRY, EXPORT_TASKS, RegistryReport, TaskCommand, TaskReport};
use nsfl_store::memory::{MemoryBlobStore, MemoryJobStore, MemoryTaskStore};
use nsfl_store::{
    BlobStore, Change, JobStore, MemberRecord, MemberState, RoundRecord, RoundState, RunRecord, StoreError, TaskRecord,
    TaskStore,
};
use nsfl_transport::proto::Frame;
use nsfl_transport::proto::frame::Body;
use nsfl_types::{Digest, JobKey, JobSpec, Late, TaskKey, TaskKind};
use nsfl_workflow::{Outcome, TaskMachine, TaskPhase};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

#[derive(Clone)]
pub struct Oracle(Arc<Inner>);

struct Inner {
    trace: Trace,
    /// As they are on the disks, without delay or failure.
    pub jobs: Arc<MemoryJobStore>,
    pub blobs: Arc<MemoryBlobStore>,
    pub tasks: BTreeMap<String, Arc<MemoryTaskStore>>,
    max_tasks: usize,
    ledger: Mutex<Ledger>,
}

#[derive(Default)]
struct Ledger {
    generations: BTreeMap<(JobKey, u32), u64>,
    /// The round and attempt opened last.
    opened: BTreeMap<(JobKey, u32), (u32, bool, u32)>,
    /// Completed train rounds with their models.
    models: BTreeMap<(JobKey, u32), Vec<Vec<u8>>>,
    /// Tasks whose updates are in a model.
    counted: BTreeSet<TaskKey>,
    /// Disk errors and killed actors at the server.
    troubles: u32,
    /// How much had gone wrong when a job committed something last.
    got_on: BTreeMap<JobKey, u32>,
    answered: BTreeMap<TaskKey, MemberState>,
    acked: BTreeSet<TaskKey>,
    /// Last words on tasks that reached their clients.
    last_words: BTreeSet<TaskKey>,
    /// Tasks whose client keeps an outcome, and whether it is a result.
    kept: BTreeMap<TaskKey, bool>,
    training: BTreeMap<String, BTreeSet<TaskKey>>,
    pub trained: u64,
    pub fenced: u64,
}

/// A memory backend answers at once.
pub fn now<T>(answer: impl Future<Output = T>) -> T {
    answer.now_or_never().expect("memory answers at once")
}

impl Oracle {
    pub fn new(
        trace: Trace,
        jobs: Arc<MemoryJobStore>,
        blobs: Arc<MemoryBlobStore>,
        tasks: BTreeMap<String, Arc<MemoryTaskStore>>,
        max_tasks: usize,
    ) -> Self {
        Self(Arc::new(Inner { trace, jobs, blobs, tasks, max_tasks, ledger: Mutex::default() }))
    }

    fn check(&self, holds: bool, rule: std::fmt::Arguments<'_>) {
        self.0.trace.check(holds, rule);
    }

    pub fn committed(&self, changes: &[Change], result: &Result<(), StoreError>) {
        if let Err(error) = result {
            self.0.ledger.lock().unwrap().fenced += u64::from(matches!(error, StoreError::Fenced { .. }));
            return self.0.trace.note(format_args!("not committed: {error}"));
        }
        for change in changes {
            match change {
                Change::PutRun(record) => self.run(record),
                Change::PutRound(record) => self.round(record),
                Change::PutMember(record) => {
                    self.0.trace.note(format_args!("member {} {:?}", record.task, record.state));
                    self.an_answer_is_final(&record.task, record.state);
                    let refused = record.state == MemberState::Refused;
                    self.check(!refused, format_args!("{}: a good update is refused: {}", record.task, record.reason));
                }
                Change::UpdateJob(record) | Change::InsertJob(record) => {
                    self.0.trace.note(format_args!("job {} {:?}", record.key, record.state));
                }
                _ => {}
            }
        }
    }

    /// Something was made to go wrong at the server.
    pub fn trouble(&self) {
        self.0.ledger.lock().unwrap().troubles += 1;
    }

    /// How often something went wrong at the server since the job got on last.
    pub fn troubles_of(&self, job: &JobKey) -> u32 {
        let ledger = self.0.ledger.lock().unwrap();
        ledger.troubles - ledger.got_on.get(job).copied().unwrap_or(0)
    }

    fn run(&self, record: &RunRecord) {
        let before = {
            let mut ledger = self.0.ledger.lock().unwrap();
            ledger.generations.insert((record.job.clone(), record.run), record.generation)
        };
        let fenced = before.is_none_or(|before| before <= record.generation);
        self.check(fenced, format_args!("generation {} wrote after {before:?}", record.generation));
        // the first commit of a life only takes the generation
        if before == Some(record.generation) {
            let mut ledger = self.0.ledger.lock().unwrap();
            let troubles = ledger.troubles;
            ledger.got_on.insert(record.job.clone(), troubles);
        }
        match nsfl_coordinator::kept_blobs(record) {
            Ok(kept) => {
                for (owner, blob) in kept {
                    let there = matches!(now(self.0.blobs.stat(blob.digest)), Ok(Some(_)));
                    self.check(there, format_args!("{owner} needs blob {} and it is not stored", short(blob.digest)));
                }
            }
            Err(error) => self.0.trace.violated(format_args!("a snapshot is unreadable: {error}")),
        }
    }

    fn round(&self, record: &RoundRecord) {
        let RoundRecord { job, run, round, attempt, kind, state, model, .. } = record;
        let model_is = model.map(|model| short(model.digest)).unwrap_or_default();
        self.0.trace.note(format_args!("round {job} {run}.{round}.{attempt} {kind:?} {state:?} {model_is}"));
        match state {
            RoundState::Open => {
                let now = (*round, *kind == TaskKind::Evaluate, *attempt);
                let before = self.0.ledger.lock().unwrap().opened.insert((job.clone(), *run), now);
                let forward = before.is_none_or(|before| before <= now);
                self.check(forward, format_args!("round {now:?} was opened after {before:?}"));
            }
            RoundState::Complete if *kind == TaskKind::Train => self.a_model_is_its_members(record),
            _ => {}
        }
    }

    /// Each accepted update is counted once, and the model is that of the undisturbed run with the same members.
    fn a_model_is_its_members(&self, record: &RoundRecord) {
        let RoundRecord { job, run, round, attempt, model, .. } = record;
        let done = self.0.ledger.lock().unwrap().models.get(&(job.clone(), *run)).cloned().unwrap_or_default();
        self.check(done.len() + 1 == *round as usize, format_args!("round {round} completes after {}", done.len()));
        let Some(model) = model else {
            return self.0.trace.violated(format_args!("round {round} of {job} is complete without a model"));
        };
        let document = now(self.0.jobs.job(job)).unwrap().unwrap().document;
        let (_, spec) = JobSpec::parse(document.as_bytes()).unwrap();
        let most = match (spec.hyper.late, spec.aggregator.params.get("max_staleness")) {
            (Late::Stale { max_staleness }, _) => u64::from(max_staleness),
            (_, Some(most)) => most.as_u64().unwrap(),
            _ => 0,
        };
        let version = |n: u32| if n == 0 { initial() } else { done.get(n as usize - 1).cloned().unwrap_or_default() };
        let members = now(self.0.jobs.members(job, *run, *round)).unwrap_or_default();
        let of = |m: &MemberRecord| {
            let own = spec.hyper.late == Late::Drop && (m.task.round, m.task.attempt) == (*round, *attempt);
            m.task.kind == TaskKind::Train && (own || m.counted == Some(*round))
        };
        let accepted = members.iter().filter(|m| of(m) && m.state == MemberState::Accepted);
        let counts: Vec<Counted> = accepted
            .map(|m| Counted { task: m.task.clone(), base: version(m.task.round - 1), staleness: round - m.task.round })
            .collect();
        let names: Vec<String> = counts.iter().map(|member| member.task.to_string()).collect();
        let stale = counts.iter().any(|member| u64::from(member.staleness) > most);
        self.check(!stale, format_args!("round {round} of {job} counts updates staler than {most}: {names:?}"));
        let (base, next) = (version(round - 1), self.bytes(model.digest));
        if spec.hyper.late == Late::Drop {
            let who = counted(&base, &next, counts.len());
            let should: Vec<usize> = counts.iter().map(|member| number(&member.task.client)).collect();
            self.check(
                who.as_ref() == Some(&should),
                format_args!("round {round} of {job}: accepted are {should:?}, its sum counts {who:?}"),
            );
        }
        let right = Digest::of(&expected(&spec, &base, &counts)) == model.digest;
        self.check(right, format_args!("round {round} of {job}: another model than undisturbed with {names:?}"));
        let mut ledger = self.0.ledger.lock().unwrap();
        let lost = ledger.acked.iter().find(|key| {
            (&key.job, key.run, key.round, key.attempt) == (job, *run, *round, *attempt)
                && key.kind == TaskKind::Train
                && !counts.iter().any(|member| member.task == **key)
                && ledger.answered.get(key) == Some(&MemberState::Accepted)
        });
        // of other jobs it may count later
        let lost = lost.cloned().filter(|_| spec.hyper.late == Late::Drop);
        let twice = counts.iter().find(|member| !ledger.counted.insert(member.task.clone()));
        let twice = twice.map(|member| member.task.clone());
        ledger.models.entry((job.clone(), *run)).or_default().push(next);
        drop(ledger);
        self.check(lost.is_none(), format_args!("{lost:?} was acknowledged and is in no sum"));
        self.check(twice.is_none(), format_args!("{twice:?} is in two sums"));
    }

    fn bytes(&self, digest: Digest) -> Vec<u8> {
        match now(self.0.blobs.open(digest)) {
            Ok(bytes) => bytes.to_vec(),
            Err(error) => {
                self.0.trace.violated(format_args!("a model is not stored: {error}"));
                initial()
            }
        }
    }

    fn an_answer_is_final(&self, key: &TaskKey, state: MemberState) {
        let is_answer = |s: &MemberState| !matches!(s, MemberState::Invited | MemberState::Started);
        let before = {
            let mut ledger = self.0.ledger.lock().unwrap();
            let before = ledger.answered.get(key).copied();
            if is_answer(&state) {
                ledger.answered.insert(key.clone(), state);
            }
            before
        };
        self.check(before.is_none_or(|b| b == state), format_args!("{key}: {before:?} became {state:?}"));
    }

    pub fn frame_leaves(&self, _client: &str, way: Way, frame: &Frame) {
        if let (Way::Down, Some(TaskCommand::Ack { key })) = (way, command(frame)) {
            let members = now(self.0.jobs.members(&key.job, key.run, key.round)).unwrap_or_default();
            let state = members.into_iter().find(|m| m.task == key).map(|m| m.state);
            let stored = state.is_some_and(|s| !matches!(s, MemberState::Invited | MemberState::Started));
            // a failure that comes late is answered, and kept nowhere
            let has_result = {
                let mut ledger = self.0.ledger.lock().unwrap();
                ledger.acked.insert(key.clone());
                ledger.kept.get(&key) == Some(&true)
            };
            self.check(stored || !has_result, format_args!("{key} is acknowledged and stored as {state:?}"));
        }
    }

    pub fn frame_arrives(&self, client: &str, way: Way, frame: &Frame) {
        if !matches!(frame.body, None | Some(Body::Ping(_) | Body::Pong(_))) {
            self.0.trace.note(format_args!("{client} {way:?} {}", shown(way, frame)));
        }
        let last = match (way, command(frame)) {
            (Way::Down, Some(command)) if !matches!(command, TaskCommand::Run(_)) => command.key().clone(),
            _ => return,
        };
        self.0.ledger.lock().unwrap().last_words.insert(last);
    }

    pub fn task_recorded(&self, client: &str, record: &TaskRecord) {
        let Ok(machine) = TaskMachine::restore(&record.snapshot) else {
            return self.0.trace.violated(format_args!("a task's snapshot is unreadable"));
        };
        let phase = machine.phase();
        let word = format!("{phase:?}");
        let word = word.split([' ', '{']).next().unwrap_or_default();
        self.0.trace.note(format_args!("{client} records {} {word}", record.key));
        let kept = match phase {
            TaskPhase::Offering { outcome, .. } => Some(matches!(outcome, Outcome::Done { .. })),
            _ => None,
        };
        let again = matches!(phase, TaskPhase::Fetching { .. } | TaskPhase::Running { .. });
        let was_kept = {
            let mut ledger = self.0.ledger.lock().unwrap();
            match kept {
                Some(is_result) => ledger.kept.insert(record.key.clone(), is_result).is_some(),
                None => ledger.kept.contains_key(&record.key),
            }
        };
        self.check(!(was_kept && again), format_args!("{} has its outcome and begins again", record.key));
    }

    pub fn task_forgotten(&self, client: &str, key: &TaskKey) {
        let known = now(self.0.tasks[client].all()).unwrap_or_default().iter().any(|record| record.key == *key);
        if !known {
            return;
        }
        self.0.trace.note(format_args!("{client} forgets {key}"));
        let (told, kept) = {
            let mut ledger = self.0.ledger.lock().unwrap();
            (ledger.last_words.contains(key), ledger.kept.remove(key).is_some())
        };
        self.check(told, format_args!("{client} forgets {key} (outcome kept: {kept}) and was not told to"));
    }

    pub fn training_begins(&self, client: &str, key: &TaskKey) {
        self.0.trace.note(format_args!("{client} trains {key}"));
        let records = now(self.0.tasks[client].all()).unwrap_or_default();
        let machine = records.iter().find(|r| r.key == *key).and_then(|r| TaskMachine::restore(&r.snapshot).ok());
        let runs = machine.is_some_and(|machine| matches!(machine.phase(), TaskPhase::Running { .. }));
        self.check(runs, format_args!("{client} trains {key} without such a task"));
        let (fresh, busy) = {
            let mut ledger = self.0.ledger.lock().unwrap();
            ledger.trained += 1;
            let training = ledger.training.entry(client.to_owned()).or_default();
            (training.insert(key.clone()), training.len())
        };
        self.check(fresh, format_args!("{client} trains {key} twice at once"));
        self.check(busy <= self.0.max_tasks, format_args!("{client} trains {busy} tasks at once"));
    }

    pub fn training_ended(&self, client: &str, key: &TaskKey) {
        if let Some(training) = self.0.ledger.lock().unwrap().training.get_mut(client) {
            training.remove(key);
        }
    }

    /// Between two steps: no trainer without its task, nothing a run needs has gone.
    pub fn between_steps(&self) {
        let training = self.0.ledger.lock().unwrap().training.clone();
        for (client, keys) in training {
            let records = now(self.0.tasks[&client].all()).unwrap_or_default();
            for key in keys {
                let there = records.iter().any(|record| record.key == key);
                self.check(there, format_args!("{client} trains {key}, and the task is gone"));
            }
        }
        for job in now(self.0.jobs.jobs()).unwrap_or_default() {
            let latest = (1..).map_while(|run| now(self.0.jobs.run(&job.key, run)).ok().flatten()).last();
            if let Some(record) = latest {
                for (owner, blob) in nsfl_coordinator::kept_blobs(&record).unwrap_or_default() {
                    let there = matches!(now(self.0.blobs.stat(blob.digest)), Ok(Some(_)));
                    self.check(there, format_args!("{owner} needs blob {} and it has gone", short(blob.digest)));
                }
            }
        }
    }

    /// When all jobs are finished: what was accepted of the last run of one whose late updates count is in a model.
    pub fn all_is_counted(&self) {
        for job in now(self.0.jobs.jobs()).unwrap_or_default() {
            let (_, spec) = JobSpec::parse(job.document.as_bytes()).unwrap();
            let runs = (1..).take_while(|run| matches!(now(self.0.jobs.run(&job.key, *run)), Ok(Some(_)))).count();
            let ledger = self.0.ledger.lock().unwrap();
            let of = |key: &TaskKey| key.job == job.key && key.run as usize == runs && key.kind == TaskKind::Train;
            let accepted = ledger.answered.iter().filter(|(key, s)| of(key) && **s == MemberState::Accepted);
            let lost: Vec<String> =
                accepted.filter(|(key, _)| !ledger.counted.contains(key)).map(|(key, _)| key.to_string()).collect();
            drop(ledger);
            let holds = lost.is_empty() || spec.hyper.late == Late::Drop;
            self.check(holds, format_args!("{lost:?} were accepted and are in no model"));
        }
    }

    /// At rest: nobody trains, no client holds a task.
    pub fn is_at_rest(&self) -> bool {
        let held = self.0.tasks.values().any(|tasks| !now(tasks.all()).unwrap_or_default().is_empty());
        !held && self.0.ledger.lock().unwrap().training.values().all(BTreeSet::is_empty)
    }

    /// Trainings begun, writes fenced off.
    pub fn counts(&self) -> (u64, u64) {
        let ledger = self.0.ledger.lock().unwrap();
        (ledger.trained, ledger.fenced)
    }
}

fn short(digest: Digest) -> String {
    digest.to_string()[..8].to_owned()
}

fn command(frame: &Frame) -> Option<TaskCommand> {
    match &frame.body {
        Some(Body::Tell(tell)) if tell.export == u32::from(EXPORT_TASKS) => wire::decode(&tell.payload).ok(),
        _ => None,
    }
}

/// A frame for people.
pub fn shown(way: Way, frame: &Frame) -> String {
    let body = match &frame.body {
        None => "credit".to_owned(),
        Some(Body::Tell(tell)) if tell.export == u32::from(EXPORT_REGISTRY) => {
            match wire::decode::<RegistryReport>(&tell.payload) {
                Ok(RegistryReport::Register(_)) => "register".to_owned(),
                Ok(RegistryReport::Heartbeat(load)) => format!("heartbeat {}", load.current_tasks),
                Err(_) => "unreadable".to_owned(),
            }
        }
        Some(Body::Tell(tell)) if way == Way::Down => match wire::decode::<TaskCommand>(&tell.payload) {
            Ok(TaskCommand::Run(order)) => format!("run {}", order.key),
            Ok(TaskCommand::Cancel { key }) => format!("cancel {key}"),
            Ok(TaskCommand::Ack { key }) => format!("ack {key}"),
            Ok(TaskCommand::Refuse { key, code, .. }) => format!("refuse {key} {code}"),
            Err(_) => "unreadable".to_owned(),
        },
        Some(Body::Tell(tell)) => match wire::decode::<TaskReport>(&tell.payload) {
            Ok(TaskReport::Inventory { tasks }) => format!("inventory of {}", tasks.len()),
            Ok(TaskReport::Started { key }) => format!("started {key}"),
            Ok(TaskReport::Uploading { key }) => format!("uploading {key}"),
            Ok(TaskReport::Done { key, .. }) => format!("done {key}"),
            Ok(TaskReport::Failed { key, code, .. }) => format!("failed {key} {code}"),
            Ok(TaskReport::Progress { key, .. }) => format!("progress {key}"),
            Err(_) => "unreadable".to_owned(),
        },
        Some(Body::GoAway(go)) => format!("go away: {} {}", go.code, go.reason),
        Some(Body::Hello(hello)) => format!("hello, received {}", hello.received),
        Some(Body::Welcome(welcome)) => format!("welcome, resumed {}", welcome.resumed),
        Some(Body::Ping(_)) => "ping".to_owned(),
        Some(Body::Pong(_)) => "pong".to_owned(),
        Some(_) => "other".to_owned(),
    };
    format!("[{}] {body}", frame.sequence)
}
