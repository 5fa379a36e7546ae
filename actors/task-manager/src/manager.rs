//! The task manager: takes orders, keeps a record of each task, and has an executor started for it when there is
//! room. It neither trains nor talks to the link itself.

use crate::executor::{Executor, ExecutorArgs};
use crate::message::{ExecutorMsg, TaskManagerMsg};
use crate::order;
use crate::roster::{Roster, Stand};
use crate::site::{Site, short_name};
use crate::transfer;
use nsfl_actor::{Address, ChildSpec, Context, Failure, Next, Restart, Role, Timer, now_ms};
use nsfl_fault_point::Step;
use nsfl_messages::wire::{TaskCommand, TaskOrder, TaskReport};
use nsfl_store::{Certainty, TaskRecord};
use nsfl_types::{Code, Refusal, TaskKey, Timestamp};
use nsfl_workflow::{Outcome, TaskInput, TaskMachine, TaskPhase};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Tasks held at most, waiting ones included.
const MAX_HELD: usize = 1024;
/// Before an executor that was given up is tried again.
const LATER: Duration = Duration::from_secs(10);
/// Messages that may wait for an executor.
const EXECUTOR_MAILBOX: usize = 32;

/// The task manager.
pub(crate) struct TaskManager {
    site: Arc<Site>,
    roster: Roster,
    refused: u64,
    given_up: u64,
    sweep: Timer,
}

impl Role for TaskManager {
    type Msg = TaskManagerMsg;
    type Args = Arc<Site>;
    const KIND: &'static str = "task-manager";

    /// Takes up every task there is a record of. Executors that outlived the previous task manager go on.
    async fn start(site: Arc<Site>, ctx: &Context<TaskManagerMsg>) -> Result<Self, Failure> {
        let roster = Roster::new(site.config.info.max_tasks as usize, site.config.info.resource.clone());
        let sweep = ctx.send_after(site.config.sweep, TaskManagerMsg::Sweep);
        let mut manager = Self { site, roster, refused: 0, given_up: 0, sweep };
        for record in manager.site.config.tasks.all().await? {
            manager.take_up(record).await?;
        }
        for key in manager.site.running.keys().iter().filter(|key| manager.roster.stand(key).is_none()) {
            manager.site.running.remove(key);
        }
        manager.start_waiting().await?;
        manager.tell_inventory();
        Ok(manager)
    }

    async fn handle(&mut self, msg: TaskManagerMsg, ctx: &Context<TaskManagerMsg>) -> Result<Next, Failure> {
        match msg {
            TaskManagerMsg::Command(command) => self.command(command).await?,
            TaskManagerMsg::LinkUp => {
                self.tell_inventory();
                self.tell_load();
                for key in self.roster.keys() {
                    self.tell_executor(&key, TaskInput::LinkUp).await;
                }
            }
            TaskManagerMsg::Offering { key } => {
                self.roster.offering(&key);
                self.start_waiting().await?;
            }
            TaskManagerMsg::Forgotten { key } => {
                self.remove(&key);
                self.start_waiting().await?;
            }
            TaskManagerMsg::GaveUp { path, failure } => {
                if let Some(key) = self.roster.keys().into_iter().find(|key| path == executor_path(key)) {
                    self.give_up(&key, &failure, ctx).await?;
                }
            }
            TaskManagerMsg::NoExecutors => {
                let mut keys = self.site.running.keys();
                keys.sort();
                for key in keys {
                    self.site.executors.ensure_child(self.executor(&key)).await?;
                }
                self.tell_inventory();
            }
            TaskManagerMsg::LastWordLost => self.tell_inventory(),
            TaskManagerMsg::TryAgain { key } => self.try_again(key, ctx).await,
            TaskManagerMsg::Sweep => {
                let site = Arc::clone(&self.site);
                ctx.spawn(async move { transfer::sweep(&site).await }, |_| TaskManagerMsg::Swept);
            }
            TaskManagerMsg::Swept => {
                self.sweep = ctx.send_after(self.site.config.sweep, TaskManagerMsg::Sweep);
            }
        }
        Ok(Next::Continue)
    }

    fn observe(&self) -> Value {
        json!({
            "tasks": self.roster.keys().iter().map(ToString::to_string).collect::<Vec<_>>(),
            "queued": self.roster.count(Stand::Queued),
            "busy": self.roster.count(Stand::Busy),
            "offering": self.roster.count(Stand::Offering),
            "refused": self.refused,
            "given_up": self.given_up,
        })
    }
}

impl TaskManager {
    async fn command(&mut self, command: TaskCommand) -> Result<(), Failure> {
        match command {
            TaskCommand::Run(order) if self.roster.stand(&order.key).is_some() => {
                self.tell_executor(&order.key, TaskInput::Offered).await;
                Ok(())
            }
            TaskCommand::Run(order) => self.run(*order).await,
            TaskCommand::Cancel { key } => self.end(key, TaskInput::Cancelled).await,
            TaskCommand::Ack { key } => self.end(key, TaskInput::Acked).await,
            TaskCommand::Refuse { key, code, reason } => {
                tracing::info!(task = %key, %code, reason, "server turned a task down");
                self.end(key, TaskInput::Refused { code }).await
            }
        }
    }

    /// A new task: checked, recorded, and then run when there is a slot.
    async fn run(&mut self, order: TaskOrder) -> Result<(), Failure> {
        let key = order.key.clone();
        let recorded = match self.check(order) {
            Ok(order) => {
                let need = order.resource.clone();
                self.record(order).await?.map(|()| need)
            }
            Err(refusal) => Err(refusal),
        };
        match recorded {
            Ok(need) => {
                tracing::info!(task = %key, "task taken");
                self.roster.add(key, Stand::Queued, &need);
                self.start_waiting().await
            }
            Err(Refusal { code, reason }) => {
                tracing::warn!(task = %key, %code, reason, "task refused");
                self.refused += 1;
                self.site.report(TaskReport::Failed { key, code, reason, cause: None });
                Ok(())
            }
        }
    }

    /// The order as it is taken: its resources may be capped.
    fn check(&self, order: TaskOrder) -> Result<TaskOrder, Refusal> {
        let config = &self.site.config;
        let refuse = |code, reason: String| Err(Refusal::new(code, reason));
        if order.key.client != config.info.client {
            return refuse(
                Code::WrongIdentity,
                format!("this is client {}, not {}", config.info.client, order.key.client),
            );
        }
        let order = config.admission.admit(order, &config.info.resource)?;
        if !config.info.runtimes.contains(&order.runtime) {
            return refuse(Code::Unsupported, format!("runtime {} is not offered here", order.runtime.as_str()));
        }
        if let Some(name) = order.datasets.iter().find(|name| !config.datasets.contains_key(*name)) {
            return refuse(Code::BadDataset, format!("data set '{name}' is not configured here"));
        }
        config.trainer.check(&order)?;
        if self.roster.len() >= MAX_HELD {
            return refuse(Code::Busy, format!("{MAX_HELD} tasks are held already"));
        }
        Ok(order)
    }

    /// The outer error: the record may have been written, so this life ends and the next one looks.
    async fn record(&self, order: TaskOrder) -> Result<Result<(), Refusal>, Failure> {
        let key = order.key.clone();
        // what the machine owes now, it owes again when its executor resumes it
        let machine = TaskMachine::accept(order::to_machine(order), &mut Vec::new());
        let step = Step::new("task-manager", &"order");
        step.reach("before-record");
        let put = self.site.config.tasks.put(TaskRecord { key, snapshot: machine.snapshot() }).await;
        step.reach("after-record");
        match put {
            Err(error) if error.certainty() == Certainty::MaybeDone => Err(error.into()),
            Err(error) => Ok(Err(Refusal::new(error.code(), Failure::from(error).to_string()))),
            Ok(()) => Ok(Ok(())),
        }
    }

    /// The server's last word on a task.
    async fn end(&mut self, key: TaskKey, word: TaskInput) -> Result<(), Failure> {
        match self.roster.stand(&key) {
            None => Ok(()),
            Some(Stand::Queued) => self.forget(&key).await,
            Some(_) if self.site.running.get(&key).is_none() => self.forget(&key).await,
            Some(Stand::Busy | Stand::Offering) => {
                self.tell_executor(&key, word).await;
                Ok(())
            }
        }
    }

    /// A task on record. One whose record cannot be read is forgotten: the server sends it again if it wants it.
    async fn take_up(&mut self, record: TaskRecord) -> Result<(), Failure> {
        let key = record.key;
        let machine = match TaskMachine::restore(&record.snapshot) {
            Ok(machine) => machine,
            Err(error) => {
                tracing::warn!(task = %key, error = %Failure::from(error), "task record not readable, task forgotten");
                self.site.forget(&key).await?;
                return Ok(());
            }
        };
        let offering = matches!(machine.phase(), TaskPhase::Offering { .. } | TaskPhase::Ended);
        let runs = self.site.running.get(&key).is_some();
        let stand = match (offering, runs) {
            (true, _) => Stand::Offering,
            (false, true) => Stand::Busy,
            (false, false) => Stand::Queued,
        };
        self.roster.add(key.clone(), stand, &order::need(machine.order()));
        if runs || offering {
            // one that outlived the previous task manager goes on
            self.site.executors.ensure_child(self.executor(&key)).await?;
        }
        Ok(())
    }

    async fn start_waiting(&mut self) -> Result<(), Failure> {
        while let Some(key) = self.roster.next() {
            self.site.executors.start_child(self.executor(&key)).await?;
        }
        self.tell_load();
        Ok(())
    }

    /// A task's executor, at the address it has or a new one.
    fn executor(&self, key: &TaskKey) -> ChildSpec {
        let address = self.site.running.get(key).unwrap_or_else(|| {
            let address = Address::new(executor_path(key), EXECUTOR_MAILBOX);
            self.site.running.insert(key.clone(), address.clone());
            address
        });
        let args = ExecutorArgs { key: key.clone(), site: Arc::clone(&self.site) };
        ChildSpec::role::<Executor>(short_name(key), &address, args, Restart::Transient)
    }

    /// An executor that failed again and again. The task is reported as failed by a fresh one. One that has its outcome
    /// keeps it, and an executor is tried again later: the server may have been told of it.
    async fn give_up(
        &mut self,
        key: &TaskKey,
        failure: &Failure,
        ctx: &Context<TaskManagerMsg>,
    ) -> Result<(), Failure> {
        tracing::error!(task = %key, %failure, "task executor given up");
        self.given_up += 1;
        self.site.running.remove(key);
        let records = self.site.config.tasks.all().await?;
        let record = records.into_iter().find(|record| record.key == *key);
        let machine = record.and_then(|record| TaskMachine::restore(&record.snapshot).ok());
        let Some(machine) = machine else {
            self.forget(key).await?;
            return self.start_waiting().await;
        };
        let Some(machine) = failed(machine, failure) else {
            self.roster.offering(key);
            self.try_later(key.clone(), ctx);
            return self.start_waiting().await;
        };
        self.site.config.tasks.put(TaskRecord { key: key.clone(), snapshot: machine.snapshot() }).await?;
        self.roster.offering(key);
        self.site.executors.start_child(self.executor(key)).await?;
        self.start_waiting().await
    }

    fn try_later(&self, key: TaskKey, ctx: &Context<TaskManagerMsg>) {
        ctx.spawn(tokio::time::sleep(LATER), |_| TaskManagerMsg::TryAgain { key });
    }

    async fn try_again(&mut self, key: TaskKey, ctx: &Context<TaskManagerMsg>) {
        if self.roster.stand(&key).is_none() || self.site.running.get(&key).is_some() {
            return;
        }
        if let Err(failure) = self.site.executors.ensure_child(self.executor(&key)).await {
            tracing::warn!(task = %key, %failure, "task executor does not start");
            self.site.running.remove(&key);
            self.try_later(key, ctx);
        }
    }

    async fn forget(&mut self, key: &TaskKey) -> Result<(), Failure> {
        self.site.forget(key).await?;
        self.remove(key);
        Ok(())
    }

    fn remove(&mut self, key: &TaskKey) {
        tracing::info!(task = %key, "task forgotten");
        self.site.running.remove(key);
        self.roster.remove(key);
    }

    async fn tell_executor(&self, key: &TaskKey, input: TaskInput) {
        let Some(executor) = self.site.running.get(key) else { return };
        if let Err(error) = executor.tell(ExecutorMsg::Input(input)).await {
            tracing::warn!(task = %key, %error, "task executor not told");
        }
    }

    fn tell_inventory(&self) {
        self.site.report(TaskReport::Inventory { tasks: self.roster.keys() });
    }

    fn tell_load(&self) {
        let load = u32::try_from(self.roster.len()).unwrap_or(u32::MAX);
        if let Err(error) = self.site.uplink.try_tell(crate::message::UplinkMsg::Load(load)) {
            tracing::debug!(%error, "uplink not told of the load");
        }
    }
}

/// The machine after its executor was given up; `None` when it already has its outcome and cannot even hand that in.
fn failed(mut machine: TaskMachine, failure: &Failure) -> Option<TaskMachine> {
    let (code, reason) = (Code::Internal, format!("the task executor failed: {failure}"));
    let now = Timestamp(now_ms());
    // ends a pause between two fetches
    machine.handle(now, TaskInput::LinkUp, &mut Vec::new());
    let input = match machine.phase() {
        TaskPhase::Fetching { .. } => TaskInput::FetchFailed { code, reason },
        TaskPhase::Running { .. } => TaskInput::TrainerEnded { outcome: Outcome::Failed { code, reason, cause: None } },
        TaskPhase::Offering { .. } | TaskPhase::Ended => return None,
    };
    machine.handle(now, input, &mut Vec::new());
    Some(machine)
}

fn executor_path(key: &TaskKey) -> String {
    format!("client/executors/{}", short_name(key))
}
