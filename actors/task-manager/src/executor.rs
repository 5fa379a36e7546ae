//! One task's executor: drives its machine from record to record, and carries out what the machine asks for. What
//! takes time runs beside it and comes back as a message. It dies and is restarted freely: the record is the task.

use crate::message::{ExecutorMsg, TaskManagerMsg};
use crate::model;
use crate::order::{self, Work};
use crate::site::Site;
use crate::trainer::{Assignment, Progress};
use crate::transfer;
use nsfl_actor::{Context, Failure, Next, Role, SendError, Timer, now_ms};
use nsfl_fault_point::Step;
use nsfl_messages::wire::TaskReport;
use nsfl_store::TaskRecord;
use nsfl_telemetry::{Stage, TraceContext, span};
use nsfl_types::{Code, Refusal, TaskKey, Timestamp};
use nsfl_workflow::{Outcome, TaskEffect, TaskInput, TaskMachine, TaskOrder, TaskPhase};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::AbortHandle;
use tracing::Instrument as _;

/// What an executor is started with.
#[derive(Clone)]
pub(crate) struct ExecutorArgs {
    pub(crate) key: TaskKey,
    pub(crate) site: Arc<Site>,
}

/// A task's executor. What runs beside it ends with it: a life that fails takes its trainer along.
pub(crate) struct Executor {
    key: TaskKey,
    site: Arc<Site>,
    /// `None` when there is no record: the task was forgotten and only its end is left to tell.
    machine: Option<TaskMachine>,
    recorded: Vec<u8>,
    timer: Option<Timer>,
    fetching: bool,
    uploading: bool,
    /// What it does now was begun by its timer.
    timed: bool,
    trainer: Option<AbortHandle>,
    began: Timestamp,
    /// Why its work came to nothing, if it did.
    in_vain: Option<String>,
}

impl Role for Executor {
    type Msg = ExecutorMsg;
    type Args = ExecutorArgs;
    const KIND: &'static str = "task-executor";

    async fn start(args: ExecutorArgs, ctx: &Context<ExecutorMsg>) -> Result<Self, Failure> {
        let ExecutorArgs { key, site } = args;
        let record = site.config.tasks.all().await?.into_iter().find(|record| record.key == key);
        let mut executor = Self {
            key,
            site,
            machine: None,
            recorded: Vec::new(),
            timer: None,
            fetching: false,
            uploading: false,
            timed: false,
            trainer: None,
            began: Timestamp(now_ms()),
            in_vain: None,
        };
        if let Some(record) = record {
            executor.machine = Some(TaskMachine::restore(&record.snapshot)?);
            executor.recorded = record.snapshot;
            let span = span::task(&executor.key);
            executor.step(ctx, TaskMachine::resume).instrument(span).await?;
        }
        if executor.is_over() {
            ctx.spawn(async {}, |_| ExecutorMsg::Gone);
        }
        Ok(executor)
    }

    async fn handle(&mut self, msg: ExecutorMsg, ctx: &Context<ExecutorMsg>) -> Result<Next, Failure> {
        let span = span::task(&self.key);
        if let ExecutorMsg::Tick | ExecutorMsg::Input(_) = &msg {
            self.timed = matches!(msg, ExecutorMsg::Tick);
        }
        let input = match msg {
            ExecutorMsg::Gone => return self.gone().await,
            ExecutorMsg::Input(input) => input,
            ExecutorMsg::Tick => TaskInput::Tick,
            ExecutorMsg::Fetched(ended) => {
                self.fetching = false;
                let ended = ended?;
                if let Err(refusal) = &ended {
                    self.not_granted(refusal.code).await?;
                }
                match ended {
                    Ok(()) => TaskInput::Fetched,
                    Err(refusal) => TaskInput::FetchFailed { code: refusal.code, reason: refusal.reason },
                }
            }
            ExecutorMsg::Trained(ended) => {
                self.trainer = None;
                TaskInput::TrainerEnded { outcome: ended? }
            }
            ExecutorMsg::Uploaded(ended) => {
                self.uploading = false;
                if let Err(refusal) = ended? {
                    tracing::warn!(task = %self.key, code = %refusal.code, reason = refusal.reason, "result not uploaded");
                    self.not_granted(refusal.code).await?;
                    return Ok(Next::Continue);
                }
                TaskInput::Uploaded
            }
        };
        self.look_at(&input);
        self.step(ctx, |machine, now, effects| machine.handle(now, input, effects)).instrument(span).await?;
        if self.is_over() { self.gone().await } else { Ok(Next::Continue) }
    }

    fn observe(&self) -> Value {
        let phase = self.machine.as_ref().map(|machine| json!(machine.phase()));
        json!({
            "task": self.key.to_string(),
            "phase": phase,
            "fetching": self.fetching,
            "training": self.trainer.is_some(),
            "uploading": self.uploading,
        })
    }
}

impl Executor {
    /// One step of the machine: decide, record, and only then act.
    async fn step(
        &mut self,
        ctx: &Context<ExecutorMsg>,
        decide: impl FnOnce(&mut TaskMachine, Timestamp, &mut Vec<TaskEffect>),
    ) -> Result<(), Failure> {
        let Some(machine) = &mut self.machine else { return Ok(()) };
        let mut effects = Vec::new();
        let now = Timestamp(now_ms());
        decide(machine, now, &mut effects);
        let (offering, deadline) = (matches!(machine.phase(), TaskPhase::Offering { .. }), machine.deadline());
        let snapshot = machine.snapshot();
        let step = Step::new("executor", machine.phase());
        step.reach("before-record");
        if snapshot != self.recorded {
            self.recorded.clone_from(&snapshot);
            self.site.config.tasks.put(TaskRecord { key: self.key.clone(), snapshot }).await?;
        }
        step.reach("after-record");
        for effect in effects {
            self.carry_out(effect, ctx).await?;
        }
        step.reach("after-effects");
        self.timer = deadline.map(|at| {
            let wait = Duration::from_millis(at.since_ms(now) + 1);
            ctx.send_after(wait, ExecutorMsg::Tick)
        });
        if offering {
            self.tell_manager(TaskManagerMsg::Offering { key: self.key.clone() }).await?;
        }
        Ok(())
    }

    async fn carry_out(&mut self, effect: TaskEffect, ctx: &Context<ExecutorMsg>) -> Result<(), Failure> {
        let (site, key) = (Arc::clone(&self.site), self.key.clone());
        match effect {
            TaskEffect::Fetch { base } => {
                if !std::mem::replace(&mut self.fetching, true) {
                    let work = self.machine.as_ref().map(|machine| Work::of(machine.order()));
                    let fetch = async move {
                        let needs = work.transpose()?.map(|work| site.config.trainer.needs(&work)).unwrap_or_default();
                        let download = Stage::begin("download", TraceContext::of_work(&key));
                        download.over(transfer::fetch(&site, &key, std::iter::once(base).chain(needs))).await
                    };
                    ctx.spawn(fetch, ExecutorMsg::Fetched);
                }
            }
            TaskEffect::StartTrainer => {
                tracing::info!("trainer starts");
                let order = self.machine.as_ref().map(|machine| machine.order().clone());
                if let (Some(order), None) = (order, &self.trainer) {
                    let work = async move {
                        match assignment(&site, &order).await {
                            Ok(task) => {
                                let train = Stage::begin("trainer", TraceContext::of_work(&task.key));
                                let outcome = site.config.trainer.run(&task).await;
                                match &outcome {
                                    Outcome::Failed { code, reason, .. } => train.failed(format!("{code}: {reason}")),
                                    Outcome::Done { .. } => train.done(),
                                }
                                outcome
                            }
                            Err(Refusal { code, reason }) => Outcome::Failed { code, reason, cause: None },
                        }
                    };
                    self.trainer = Some(ctx.spawn(work, ExecutorMsg::Trained));
                }
            }
            TaskEffect::KillTrainer => {
                if let Some(trainer) = self.trainer.take() {
                    trainer.abort();
                }
            }
            TaskEffect::Upload { blobs } => {
                if !std::mem::replace(&mut self.uploading, true) {
                    site.report(TaskReport::Uploading { key: key.clone() });
                    let bytes = blobs.iter().map(|blob| blob.len).sum::<u64>();
                    let upload = Stage::begin("upload", TraceContext::of_work(&key));
                    let upload = upload.with("bytes", i64::try_from(bytes).unwrap_or(i64::MAX));
                    ctx.spawn(async move { upload.over(transfer::upload(&site, &blobs)).await }, ExecutorMsg::Uploaded);
                }
            }
            TaskEffect::Report { report } => self.site.report(order::to_wire(key, report)),
            TaskEffect::KeepState => site.config.trainer.keep(&key, &site.folder(&key)).await,
            TaskEffect::Forget => self.site.forget(&key).await?,
        }
        Ok(())
    }

    /// Whether its work will have been in vain, for those who look at it afterwards.
    fn look_at(&mut self, input: &TaskInput) {
        match input {
            TaskInput::Cancelled => self.in_vain = Some("not wanted any more".to_owned()),
            TaskInput::Refused { code } => self.in_vain = Some(format!("refused: {code}")),
            TaskInput::TrainerEnded { outcome: Outcome::Failed { code, reason, .. } } => {
                self.in_vain = Some(format!("{code}: {reason}"));
            }
            _ => {}
        }
    }

    async fn gone(&mut self) -> Result<Next, Failure> {
        if self.machine.take().is_some() {
            let (place, task) = (TraceContext::of_work(&self.key), TraceContext::of_task(&self.key));
            let work = Stage::at("work", place, Some(task), self.began.0);
            match self.in_vain.take() {
                None => work.done(),
                Some(why) => work.failed(why),
            }
        }
        self.tell_manager(TaskManagerMsg::Forgotten { key: self.key.clone() }).await?;
        Ok(Next::Stop)
    }

    /// What the task needs or has made does not pass: perhaps the server's last word on it was lost. It is asked for at the
    /// pace of the tries, and not when it has just said that it wants the task.
    async fn not_granted(&self, code: Code) -> Result<(), Failure> {
        if self.timed && matches!(code, Code::BlobRefused | Code::Busy) {
            self.tell_manager(TaskManagerMsg::LastWordLost).await?;
        }
        Ok(())
    }

    /// A task manager that is down reads the same from the records when it starts.
    async fn tell_manager(&self, msg: TaskManagerMsg) -> Result<(), Failure> {
        match self.site.manager.tell(msg).await {
            Ok(()) | Err(SendError::Down) => Ok(()),
            Err(full @ SendError::Full) => Err(Failure::from(full).context("the task manager was not told")),
        }
    }

    fn is_over(&self) -> bool {
        self.machine.as_ref().is_none_or(|machine| *machine.phase() == TaskPhase::Ended)
    }
}

/// The task as its trainer takes it.
async fn assignment(site: &Arc<Site>, order: &TaskOrder) -> Result<Assignment, Refusal> {
    let (config, key) = (&site.config, order.key.clone());
    let work = Work::of(order)?;
    let (base, model) = model::whole(site, &key, order.base).await?;
    let configured = config.datasets.iter().filter(|(name, _)| work.datasets.contains(name));
    let (of, to) = (key.clone(), Arc::clone(site));
    Ok(Assignment {
        base,
        model,
        residuals: config.residuals.clone(),
        timeout: Duration::from_millis(order.timeout_ms),
        datasets: configured.map(|(name, path)| (name.clone(), path.clone())).collect(),
        folder: site.folder(&key),
        blobs: Arc::clone(&config.blobs),
        progress: Arc::new(move |Progress { done, message, metrics }| {
            to.report(TaskReport::Progress { key: of.clone(), done, message, metrics });
        }),
        key,
        work,
    })
}
