//! The actor around the run machine: message → input → handle → persist → carry out → re-arm one timer.

use crate::extender::ExtenderMsg;
use crate::links::{Links, News};
use crate::live::LiveProgress;
use crate::owners::Owners;
use crate::patience::Patience;
use crate::record::Recorder;
use crate::roll::Roll;
use crate::spans::Spans;
use crate::traffic::Traffic;
use crate::{AggregatorMsg, Surroundings};
use nsfl_actor::{Address, Context, Failure, Next, Role, Timer, now_ms};
use nsfl_fault_point::Step;
use nsfl_messages::wire::TaskReport;
use nsfl_messages::{CoordinatorMsg, CoordinatorView, JobRun, RunEvent, SchedulerMsg, SelectorMsg};
use nsfl_store::{Change, RunRecord, StoreError};
use nsfl_telemetry::span;
use nsfl_types::{Cause, ClientId, Code, TaskKey, TaskKind, Timestamp};
use nsfl_workflow::{RunEffect, RunInput, RunMachine, RunPlan, UpdateRef};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long the selector may take.
const ASK: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(crate) struct CoordinatorArgs {
    pub(crate) run: JobRun,
    pub(crate) surroundings: Surroundings,
    pub(crate) aggregator: Address<AggregatorMsg>,
    /// None for a job without one.
    pub(crate) extender: Option<Address<ExtenderMsg>>,
    pub(crate) patience: Patience,
}

/// Drives one run of a job.
pub(crate) struct Coordinator {
    pub(crate) args: CoordinatorArgs,
    pub(crate) owners: Owners,
    pub(crate) machine: RunMachine,
    /// Tasks whose updates the aggregator is looking at: offered again meanwhile, they are answered by its verdict.
    judging: BTreeSet<TaskKey>,
    /// Tasks whose updates could not be looked at, and how often.
    unjudged: BTreeMap<TaskKey, u32>,
    links: Links,
    progress: LiveProgress,
    pub(crate) recorder: Recorder,
    pub(crate) roll: Roll,
    pub(crate) traffic: Traffic,
    pub(crate) spans: Spans,
    generation: u64,
    timer: Option<Timer>,
}

pub(crate) fn now() -> Timestamp {
    Timestamp(now_ms())
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

impl Role for Coordinator {
    type Msg = CoordinatorMsg;
    type Args = CoordinatorArgs;
    const KIND: &'static str = "coordinator";

    async fn start(args: CoordinatorArgs, ctx: &Context<CoordinatorMsg>) -> Result<Self, Failure> {
        let store = &args.surroundings.store;
        let JobRun { key, run, spec, .. } = &args.run;
        // what an earlier life had under way is written or refused before this one reads
        store.commit(Vec::new()).await?;
        let stored = store.run(key, *run).await?;
        let is_new = stored.is_none();
        let (machine, generation) = match stored {
            Some(record) => (RunMachine::restore(&record.snapshot)?, record.generation + 1),
            None => {
                let buffer = args.surroundings.rules.of_job(spec)?.buffer().map(|(k, max)| (count(k), max.map(count)));
                let mut plan = RunPlan::new(key.clone(), *run, spec, buffer);
                plan.retry = args.surroundings.retry.clone();
                (RunMachine::new(plan), 1)
            }
        };
        let recorder = Recorder::new(key.clone(), *run);
        let owners = Owners::new(&args.run.key, args.run.run)?;
        let roll = Roll::of(&args).await?;
        let traffic = Traffic::of(&args, machine.view().model).await;
        let spans = Spans::of(&args).await?;
        let progress = LiveProgress::new(key.clone(), args.surroundings.live.clone());
        let links = Links::default();
        let (judging, unjudged, timer) = (BTreeSet::new(), BTreeMap::new(), None);
        let mut coordinator = Self {
            args,
            owners,
            machine,
            judging,
            unjudged,
            links,
            progress,
            recorder,
            roll,
            traffic,
            spans,
            generation,
            timer,
        };
        coordinator.announce(RunEvent::Started, ctx);
        let mut effects = Vec::new();
        if is_new {
            coordinator.machine.handle(now(), RunInput::Begin { initial: None }, &mut effects);
        } else {
            coordinator.machine.resume(now(), &mut effects);
        }
        // The first write takes the generation: from here on an older coordinator of this run is fenced off.
        let mut changes = coordinator.changes(&effects);
        if is_new {
            changes.push(coordinator.recorder.event(now(), "run-started", json!({"run": coordinator.args.run.run})));
        }
        let step = Step::new("coordinator", &if is_new { "begin" } else { "resume" });
        step.reach("before-commit");
        coordinator.commit_with_patience(changes).await?;
        step.reach("after-commit");
        coordinator.span().in_scope(|| {
            coordinator.carry_out(effects, ctx);
            coordinator.arm(ctx);
        });
        coordinator.look_for_clients(ctx);
        Ok(coordinator)
    }

    async fn handle(&mut self, msg: CoordinatorMsg, ctx: &Context<CoordinatorMsg>) -> Result<Next, Failure> {
        let input = match msg {
            CoordinatorMsg::View { reply } => {
                reply.send(self.view());
                return Ok(Next::Continue);
            }
            CoordinatorMsg::Link { client, session, up } => {
                self.links.note(client, session, up);
                self.tell_links().await;
                return Ok(Next::Continue);
            }
            CoordinatorMsg::Linked(there) => {
                self.links.there(&there, &self.machine.view().awaited);
                self.tell_links().await;
                return Ok(Next::Continue);
            }
            CoordinatorMsg::Unjudged { task, code, reason } => {
                self.not_judged(task, code, &reason, ctx);
                return Ok(Next::Continue);
            }
            CoordinatorMsg::AskAgain(task) => {
                self.ask_again(task, ctx);
                return Ok(Next::Continue);
            }
            CoordinatorMsg::Tell => {
                self.announce(RunEvent::Started, ctx);
                self.carry_out(self.machine.ending().into_iter().collect(), ctx);
                return Ok(Next::Continue);
            }
            CoordinatorMsg::StopRun { run } if run == self.args.run.run => RunInput::Stop,
            CoordinatorMsg::StopRun { .. } => return Ok(Next::Continue),
            CoordinatorMsg::Input(input) => {
                if let RunInput::UpdateStored { key, .. } | RunInput::UpdateRefused { key, .. } = &input {
                    self.judging.remove(key);
                    self.unjudged.remove(key);
                }
                input
            }
            CoordinatorMsg::Inputs { inputs, cause } => {
                return self.steps(inputs, cause.map(|cause| *cause), ctx).await;
            }
            CoordinatorMsg::Report { client, report } => match self.on_report(client, report, ctx) {
                Some(input) => input,
                None => return Ok(Next::Continue),
            },
        };
        self.step(input, ctx).await
    }

    fn observe(&self) -> Value {
        let mut view = json!(self.view());
        view["run"] = json!(self.args.run.run);
        view["generation"] = json!(self.generation);
        view
    }
}

impl Coordinator {
    fn view(&self) -> CoordinatorView {
        let run = self.machine.view();
        let progress = self.progress.of(|key| self.machine.awaited_base(key).is_some());
        let away = self.links.away(&run.awaited);
        CoordinatorView { run, away, progress }
    }

    /// Several inputs in a row; each is persisted before the next is looked at.
    async fn steps(
        &mut self,
        inputs: Vec<RunInput>,
        cause: Option<Cause>,
        ctx: &Context<CoordinatorMsg>,
    ) -> Result<Next, Failure> {
        if let Some(cause) = cause {
            self.recorder.round_failed(cause);
        }
        for input in inputs {
            if let Next::Stop = self.step(input, ctx).await? {
                return Ok(Next::Stop);
            }
        }
        Ok(Next::Continue)
    }

    async fn step(&mut self, input: RunInput, ctx: &Context<CoordinatorMsg>) -> Result<Next, Failure> {
        let mut effects = Vec::new();
        let saved = matches!(input, RunInput::CheckpointSaved { .. });
        let step = Step::new("coordinator", &input);
        let before = self.machine.clone();
        // a round that is closed by this input is still the attempt at work, and so is one that is opened
        let span = self.span();
        self.machine.handle(now(), input, &mut effects);
        let whole = self.machine.view().model.map_or(0, |model| model.len);
        effects.iter_mut().for_each(|effect| self.traffic.measure(effect, whole));
        if self.machine != before {
            let mut changes = self.changes(&effects);
            if saved {
                changes.extend(self.recorder.checkpoint_saved(now()));
            }
            step.reach("before-commit");
            match self.args.surroundings.store.commit(changes).await {
                Ok(()) => {
                    self.args.patience.got_on();
                    step.reach("after-commit");
                }
                Err(error @ StoreError::Fenced { .. }) => {
                    tracing::warn!(job = %self.args.run.key, %error, "replaced coordinator ends");
                    return Ok(Next::Stop);
                }
                // Whether nothing or perhaps something was written: the successor reloads and finds out.
                Err(error) => {
                    if matches!(error, StoreError::DiskFull { .. }) {
                        // no failure of the job's: its successor waits for room
                        self.args.patience.got_on();
                    }
                    return Err(Failure::from(error).context("the round's state could not be stored"));
                }
            }
        }
        self.recorder.taken();
        span.in_scope(|| {
            self.carry_out(effects, ctx);
            self.arm(ctx);
        });
        step.reach("after-effects");
        self.tell_links().await;
        Ok(Next::Continue)
    }

    /// For room on a full disk it waits as long as it takes.
    async fn commit_with_patience(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        let Surroundings { store, retry, .. } = &self.args.surroundings;
        let mut failures = 0;
        loop {
            match store.commit(changes.clone()).await {
                Err(error @ StoreError::DiskFull { .. }) => {
                    failures += 1;
                    let pause = retry.pause_ms(failures);
                    tracing::warn!(job = %self.args.run.key, %error, pause_ms = pause, "coordinator waits for room");
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
                ended => return ended,
            }
        }
    }

    /// The server is to blame, not the update: its client is asked for it again after a pause.
    fn not_judged(&mut self, task: TaskKey, code: Code, reason: &str, ctx: &Context<CoordinatorMsg>) {
        self.judging.remove(&task);
        self.unjudged.retain(|known, _| self.machine.awaited_base(known).is_some());
        if self.machine.awaited_base(&task).is_none() {
            return;
        }
        // what a client has not brought is no failure of the server's, and a full disk is waited out
        if !matches!(code, Code::NotFound | Code::DiskFull) {
            self.args.patience.failed(&format!("the update of {task} cannot be looked at: {reason}"));
        }
        let failures = self.unjudged.entry(task.clone()).or_default();
        *failures = failures.saturating_add(1);
        let pause = Duration::from_millis(self.args.surroundings.retry.pause_ms(*failures));
        ctx.spawn(tokio::time::sleep(pause), move |_| CoordinatorMsg::AskAgain(task));
    }

    fn ask_again(&self, task: TaskKey, ctx: &Context<CoordinatorMsg>) {
        let judged = self.judging.contains(&task);
        if let Some(base) = self.machine.awaited_base(&task).filter(|_| !judged) {
            self.send_task(task, base, ctx);
        }
    }

    /// Writes down whose link has ended while they are awaited, and who is back. For people: nothing depends on it.
    async fn tell_links(&mut self) {
        let view = self.machine.view();
        let event = |(client, what)| {
            let kind = if what == News::Lost { "client-lost" } else { "client-back" };
            tracing::info!(job = %self.args.run.key, %client, round = view.round, "{kind}");
            let fields = json!({"round": view.round, "attempt": view.attempt, "kind": view.kind, "client": client});
            self.recorder.event(now(), kind, fields)
        };
        let events: Vec<Change> = self.links.news(&view.awaited).into_iter().map(event).collect();
        if !events.is_empty()
            && let Err(error) = self.args.surroundings.store.commit(events).await
        {
            tracing::warn!(job = %self.args.run.key, %error, "clients' links not noted");
        }
    }

    /// A client that never comes back after a restart sends no news: once all have had time, the selector knows.
    fn look_for_clients(&self, ctx: &Context<CoordinatorMsg>) {
        let Surroundings { selector, link_grace, .. } = self.args.surroundings.clone();
        let question = async move {
            tokio::time::sleep(link_grace).await;
            let clients = selector.ask(ASK, |reply| SelectorMsg::List { reply }).await.ok()?;
            Some(clients.into_iter().filter(|client| client.state == "online").map(|c| c.info.client).collect())
        };
        let coordinator = ctx.address().clone();
        ctx.run(async move {
            if let Some(there) = question.await {
                // one that is down looks again when it starts
                let _ = coordinator.tell(CoordinatorMsg::Linked(there)).await;
            }
        });
    }

    fn changes(&mut self, effects: &[RunEffect]) -> Vec<Change> {
        let JobRun { key, run, .. } = &self.args.run;
        let (generation, snapshot) = (self.generation, self.machine.snapshot());
        let mut changes = vec![Change::PutRun(RunRecord { job: key.clone(), run: *run, generation, snapshot })];
        let at = now();
        changes.extend(effects.iter().flat_map(|effect| self.recorder.record(at, effect)));
        changes
    }

    /// A client's report as an input; a train result is looked at by the aggregator first and comes back as one.
    fn on_report(&mut self, client: ClientId, report: TaskReport, ctx: &Context<CoordinatorMsg>) -> Option<RunInput> {
        match report {
            TaskReport::Inventory { tasks } => Some(RunInput::ClientReported { client, tasks }),
            TaskReport::Started { key } => Some(RunInput::TaskStarted { key }),
            TaskReport::Failed { key, code, reason, cause } => {
                if let Some(cause) = cause {
                    self.recorder.task_failed(key.clone(), *cause);
                }
                Some(RunInput::TaskFailed { key, code, reason })
            }
            TaskReport::Progress { key, done, message, metrics } => {
                if self.machine.awaited_base(&key).is_some() {
                    self.progress.told(&key, done, &message, metrics);
                }
                None
            }
            TaskReport::Uploading { key } => {
                if self.machine.awaited_base(&key).is_some() {
                    let at = self.progress.uploads(&key);
                    self.recorder.uploads(key, at);
                }
                None
            }
            TaskReport::Done { key, update, extra, metrics } => {
                let weight = metrics.weight();
                // nobody would look at it
                let extra = extra.filter(|_| self.args.extender.is_some() && update.is_some());
                let update = UpdateRef { blob: update, extra, metrics, weight };
                match (key.kind, update.blob, self.machine.awaited_base(&key)) {
                    (TaskKind::Train, Some(blob), Some(base)) => {
                        if self.judging.insert(key.clone()) {
                            self.check_update(key, base, blob, update, ctx);
                        }
                        None
                    }
                    (TaskKind::Train, None, _) => {
                        let reason = "a train task must hand in an update".to_owned();
                        Some(RunInput::UpdateRefused { key, code: Code::BadUpdate, reason })
                    }
                    // Not of the round at work, answered already, or without weights: the machine knows what to answer.
                    _ => Some(RunInput::UpdateStored { key, update }),
                }
            }
        }
    }

    /// Of the attempt at work.
    fn span(&self) -> tracing::Span {
        let (JobRun { key, run, .. }, view) = (&self.args.run, self.machine.view());
        span::round(key, *run, view.round, view.attempt)
    }

    fn arm(&mut self, ctx: &Context<CoordinatorMsg>) {
        self.timer = self.machine.deadline().map(|at| {
            let wait = Duration::from_millis(at.since_ms(now()).max(1));
            ctx.send_after(wait, CoordinatorMsg::Input(RunInput::Tick))
        });
    }

    /// Tells the scheduler, until it has heard.
    pub(crate) fn announce(&self, event: RunEvent, ctx: &Context<CoordinatorMsg>) {
        let scheduler = self.args.surroundings.scheduler.clone();
        let (key, run) = (self.args.run.key.clone(), self.args.run.run);
        ctx.run(async move {
            loop {
                let msg = SchedulerMsg::Run { key: key.clone(), run, event: event.clone() };
                if scheduler.tell(msg).await.is_ok() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
    }
}
