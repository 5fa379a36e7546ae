//! What the scheduler does with each message: decide in the job machine, commit, then carry out.

use crate::Scheduler;
use crate::entry::Entry;
use nsfl_actor::{Context, Failure, now_ms};
use nsfl_fault_point::Step;
use nsfl_messages::{JobOperation, JobRun, JobView, RunEvent, SchedulerMsg};
use nsfl_store::{Certainty, Change, EventRecord, Owner, StoreError};
use nsfl_telemetry::{Stage, TraceContext};
use nsfl_types::{Code, JobError, JobKey, JobSpec, JobState, ModelSource, Namespace, Refusal, Timestamp};
use nsfl_workflow::{JobEffect, JobInput, Operation};
use serde_json::json;
use std::sync::Arc;

fn now() -> Timestamp {
    Timestamp(now_ms())
}

impl Scheduler {
    pub(crate) async fn on_message(&mut self, msg: SchedulerMsg, ctx: &Context<SchedulerMsg>) -> Result<(), Failure> {
        match msg {
            SchedulerMsg::Create { namespace, document, author, reply } => {
                reply.send(self.create(namespace, &document, author).await?);
                self.look_at_queue(ctx);
            }
            SchedulerMsg::Update { key, document, author, reply } => {
                reply.send(self.update(&key, &document, author, ctx).await?);
                self.look_at_queue(ctx);
            }
            SchedulerMsg::Operate { key, operation, reply } => {
                reply.send(self.operate(&key, operation, ctx).await?);
                self.look_at_queue(ctx);
            }
            SchedulerMsg::Get { key, reply } => reply.send(self.view(&key).await),
            SchedulerMsg::List { namespace, reply } => reply.send(self.list(&namespace).await),
            SchedulerMsg::Run { key, run, event } => {
                self.input(&key, run_input(run, event), ctx).await?;
                self.look_at_queue(ctx);
            }
            SchedulerMsg::StartEnded { key, run, ended } => {
                if let Err(failure) = ended {
                    let failed = JobInput::RunFailed { run, code: Code::Internal, reason: failure.to_string() };
                    self.input(&key, failed, ctx).await?;
                    self.look_at_queue(ctx);
                }
            }
            SchedulerMsg::ClientsChanged => self.look_at_queue(ctx),
            SchedulerMsg::Checked { key, ready } => self.on_checked(&key, ready, ctx).await?,
        }
        Ok(())
    }

    /// After a restart of this actor or of the node: what is still owed.
    pub(crate) async fn resume(&mut self, ctx: &Context<SchedulerMsg>) -> Result<(), Failure> {
        for key in self.book.keys() {
            let mut effects = Vec::new();
            if let Some(entry) = self.book.get(&key) {
                entry.machine.resume(&mut effects);
            }
            self.carry_out(&key, effects, ctx).await?;
        }
        self.look_at_queue(ctx);
        Ok(())
    }

    /// Feeds the job's machine; commits and carries out what follows. A job that is gone is no error.
    pub(crate) async fn input(
        &mut self,
        key: &JobKey,
        input: JobInput,
        ctx: &Context<SchedulerMsg>,
    ) -> Result<(), Failure> {
        let Some(mut entry) = self.book.get(key).cloned() else { return Ok(()) };
        let mut effects = Vec::new();
        if matches!(input, JobInput::Scheduled) {
            entry.started = Some(now());
        }
        let waited = entry.state() == JobState::Starting;
        entry.machine.handle(now(), input, &mut effects);
        if effects.is_empty() {
            return Ok(());
        }
        if waited && entry.state() == JobState::Running {
            let submission = TraceContext::of_submission(key, entry.machine.run());
            Stage::since("schedule", submission, entry.queued.0).done();
        }
        // Nobody waits for an answer here: a failed write is left to the restart, which reloads.
        self.commit(Change::UpdateJob(entry.record()), key, &effects).await?;
        self.book.put(entry);
        self.carry_out(key, effects, ctx).await
    }

    async fn create(
        &mut self,
        namespace: Namespace,
        document: &[u8],
        author: String,
    ) -> Result<Result<(), Refusal>, Failure> {
        if !self.args.namespaces.contains(&namespace) {
            return Ok(Err(no_namespace(&namespace, &self.args.namespaces)));
        }
        let (document, spec) = match self.checked(&namespace, document) {
            Ok(parsed) => parsed,
            Err(error) => return Ok(Err(Refusal::new(error.code, error.to_string()))),
        };
        let key = JobKey::new(namespace, spec.id.clone());
        if self.book.get(&key).is_some() {
            let reason = format!("job {key} exists already; choose another id, or update or delete that one");
            return Ok(Err(Refusal::new(Code::JobExists, reason)));
        }
        let entry = Entry::new(now(), key.clone(), document, spec, author);
        let status = entry.machine.status().clone();
        let effects = [JobEffect::StatusChanged { status, at: now() }];
        self.answered(Change::InsertJob(entry.record()), entry, &key, &effects).await
    }

    async fn update(
        &mut self,
        key: &JobKey,
        document: &[u8],
        author: String,
        ctx: &Context<SchedulerMsg>,
    ) -> Result<Result<(), Refusal>, Failure> {
        let Some(mut entry) = self.book.get(key).cloned() else { return Ok(Err(not_found(key))) };
        let (document, spec) = match self.checked(&key.namespace, document) {
            Ok(parsed) => parsed,
            Err(error) => return Ok(Err(Refusal::new(error.code, error.to_string()))),
        };
        if spec.id != key.id {
            let reason = format!("job document: id: is '{}', the path names '{}'; they must agree", spec.id, key.id);
            return Ok(Err(Refusal::new(Code::BadDocument, reason)));
        }
        let mut effects = Vec::new();
        if let Err(error) = entry.machine.operate(now(), Operation::Update, &mut effects) {
            return Ok(Err(Refusal::new(error.code(), error.to_string())));
        }
        (entry.document, entry.author, entry.spec) = (document, author, spec.into());
        let answer = self.answered(Change::UpdateJob(entry.record()), entry, key, &effects).await?;
        self.carry_out(key, if answer.is_ok() { effects } else { Vec::new() }, ctx).await?;
        Ok(answer)
    }

    async fn operate(
        &mut self,
        key: &JobKey,
        operation: JobOperation,
        ctx: &Context<SchedulerMsg>,
    ) -> Result<Result<(), Refusal>, Failure> {
        let Some(mut entry) = self.book.get(key).cloned() else {
            let gone = matches!(operation, JobOperation::Delete);
            return Ok(if gone { Ok(()) } else { Err(not_found(key)) });
        };
        let operation = match operation {
            JobOperation::Start => {
                entry.queued = now();
                Operation::Start
            }
            JobOperation::Stop => Operation::Stop,
            JobOperation::Delete => Operation::Delete,
        };
        let mut effects = Vec::new();
        if let Err(error) = entry.machine.operate(now(), operation, &mut effects) {
            return Ok(Err(Refusal::new(error.code(), error.to_string())));
        }
        let answer = self.answered(Change::UpdateJob(entry.record()), entry, key, &effects).await?;
        self.carry_out(key, if answer.is_ok() { effects } else { Vec::new() }, ctx).await?;
        Ok(answer)
    }

    /// The document and its aggregation rule, checked, and its model file looked for.
    fn checked(&self, namespace: &Namespace, json: &[u8]) -> Result<(nsfl_types::JobDocument, JobSpec), JobError> {
        let (document, spec) = JobSpec::parse(json)?;
        self.args.rules.of_job(&spec)?;
        if let ModelSource::Path(path) = &spec.model
            && !self.args.storage.join(namespace.as_str()).join(path).is_file()
        {
            let problem = format!("'{path}' is not in the storage of namespace '{namespace}'; upload it first");
            return Err(JobError { field: "model_path".into(), problem, code: Code::BadDocument });
        }
        Ok((document, spec))
    }

    /// One whose checkpoints cannot be read is refused: whoever asks for it can do something about it.
    async fn view(&self, key: &JobKey) -> Result<JobView, Refusal> {
        let entry = self.book.get(key).ok_or_else(|| not_found(key))?;
        match self.args.store.checkpoints(key).await {
            Ok(checkpoints) => Ok(entry.view(checkpoints)),
            Err(error) => Err(Refusal::new(error.code(), Failure::from(error).to_string())),
        }
    }

    /// One whose checkpoints cannot be read is listed without them: it does not hide the others.
    async fn list(&self, namespace: &Namespace) -> Result<Vec<JobView>, Refusal> {
        if !self.args.namespaces.contains(namespace) {
            return Err(no_namespace(namespace, &self.args.namespaces));
        }
        let mut views = Vec::new();
        for entry in self.book.of_namespace(namespace) {
            let key = entry.machine.key();
            let checkpoints = self.args.store.checkpoints(key).await.unwrap_or_else(|error| {
                tracing::error!(job = %key, %error, "checkpoints not readable");
                Vec::new()
            });
            views.push(entry.view(checkpoints));
        }
        Ok(views)
    }

    /// Commits for somebody who waits for an answer. Certainly not done: refused, nothing changed.
    async fn answered(
        &mut self,
        change: Change,
        entry: Entry,
        key: &JobKey,
        effects: &[JobEffect],
    ) -> Result<Result<(), Refusal>, Failure> {
        match self.commit(change, key, effects).await {
            Ok(()) => {
                self.book.put(entry);
                Ok(Ok(()))
            }
            Err(e) if e.certainty() == Certainty::NotDone => {
                Ok(Err(Refusal::new(e.code(), Failure::from(e).to_string())))
            }
            Err(e) => Err(e.into()),
        }
    }

    async fn commit(&self, change: Change, key: &JobKey, effects: &[JobEffect]) -> Result<(), StoreError> {
        let event = |effect: &JobEffect| match effect {
            JobEffect::StatusChanged { status, at } => Some(Change::AppendEvent(EventRecord {
                id: 0,
                at: *at,
                job: Some(key.clone()),
                kind: "job-state".into(),
                fields: json!(status),
            })),
            _ => None,
        };
        let changes = std::iter::once(change).chain(effects.iter().filter_map(event)).collect();
        let step = Step::new("scheduler", &effects.iter().find_map(state).map_or("none", JobState::as_str));
        step.reach("before-commit");
        self.args.store.commit(changes).await?;
        step.reach("after-commit");
        Ok(())
    }

    async fn carry_out(
        &mut self,
        key: &JobKey,
        effects: Vec<JobEffect>,
        ctx: &Context<SchedulerMsg>,
    ) -> Result<(), Failure> {
        for effect in effects {
            match effect {
                JobEffect::StartCoordinator { run } => self.start_coordinator(key, run, ctx),
                JobEffect::StopCoordinator { run } => {
                    if !self.args.starter.stop_run(key, run).await {
                        Box::pin(self.input(key, JobInput::RunStopped { run }, ctx)).await?;
                    }
                }
                JobEffect::RemoveJob => self.remove(key).await?,
                JobEffect::StatusChanged { status, .. } => {
                    tracing::info!(job = %key, state = %status.state, progress = status.progress, reason = status.reason, "job state changed");
                    if status.state.is_at_rest() {
                        self.args.starter.end(key).await;
                    }
                }
            }
        }
        Ok(())
    }

    /// Beside this actor: it takes as long as it takes, and other jobs do not wait for it.
    fn start_coordinator(&self, key: &JobKey, run: u32, ctx: &Context<SchedulerMsg>) {
        let Some(entry) = self.book.get(key) else { return };
        let job = JobRun { key: key.clone(), run, spec: entry.spec.clone(), author: entry.author.clone() };
        let (key, starter) = (key.clone(), Arc::clone(&self.args.starter));
        ctx.spawn(async move { starter.start(job).await }, move |ended| SchedulerMsg::StartEnded {
            key,
            run,
            ended: ended.flatten(),
        });
    }

    async fn remove(&mut self, key: &JobKey) -> Result<(), Failure> {
        self.args.starter.end(key).await;
        let removed =
            EventRecord { id: 0, at: now(), job: Some(key.clone()), kind: "job-removed".into(), fields: json!({}) };
        self.args.store.commit(vec![Change::DeleteJob(key.clone()), Change::AppendEvent(removed)]).await?;
        let owner = Owner::new(format!("{}/{}", key.namespace, key.id))?;
        self.args.blobs.release_all(&owner).await?;
        self.book.remove(key);
        tracing::info!(job = %key, "job removed");
        Ok(())
    }
}

fn state(effect: &JobEffect) -> Option<JobState> {
    if let JobEffect::StatusChanged { status, .. } = effect { Some(status.state) } else { None }
}

fn run_input(run: u32, event: RunEvent) -> JobInput {
    match event {
        RunEvent::Started => JobInput::CoordinatorStarted { run },
        RunEvent::Progress { done, total } => JobInput::Progress { run, done, total },
        RunEvent::Finished => JobInput::RunFinished { run },
        RunEvent::Failed { code, reason } => JobInput::RunFailed { run, code, reason },
        RunEvent::Stopped => JobInput::RunStopped { run },
    }
}

fn not_found(key: &JobKey) -> Refusal {
    Refusal::new(Code::NotFound, format!("there is no job '{}' in namespace '{}'", key.id, key.namespace))
}

fn no_namespace(namespace: &Namespace, known: &[Namespace]) -> Refusal {
    let known: Vec<&str> = known.iter().map(Namespace::as_str).collect();
    Refusal::new(Code::NoNamespace, format!("there is no namespace '{namespace}'; there are: {}", known.join(", ")))
}
