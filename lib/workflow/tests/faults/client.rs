//! A client in the simulation: its task machines, each kept as the snapshot it would find after a crash. Each client
//! has a power of two for its weight, so that a sum of weights tells who is in it and how often.

use nsfl_types::{BlobRef, ClientId, Code, Metrics, TaskKey, TaskKind, Timestamp};
use nsfl_workflow::{Outcome, Report, RunInput, TaskEffect, TaskInput, TaskMachine, TaskOrder, UpdateRef};
use std::collections::BTreeMap;

/// What a client does next or sends.
#[derive(Debug, Clone)]
pub(crate) enum Out {
    /// An answer from within the client, lost when it dies.
    Own(TaskKey, TaskInput),
    /// A message to the coordinator.
    ToServer(RunInput),
}

pub(crate) struct Client {
    id: ClientId,
    weight: f64,
    tasks: BTreeMap<TaskKey, Vec<u8>>,
    trainings: u32,
    pub(crate) is_broken: bool,
}

pub(crate) fn client_id(index: u32) -> ClientId {
    format!("c{index}").parse().expect("a letter and digits")
}

pub(crate) fn weight_of(client: &ClientId) -> f64 {
    let index: i32 = client.as_str()[1..].parse().expect("made by client_id");
    2.0_f64.powi(index)
}

impl Client {
    pub(crate) fn new(id: ClientId) -> Self {
        Self { weight: weight_of(&id), id, tasks: BTreeMap::new(), trainings: 0, is_broken: false }
    }

    pub(crate) fn offer(&mut self, now: Timestamp, key: TaskKey, base: BlobRef) -> Vec<Out> {
        if self.tasks.contains_key(&key) {
            return self.handle(now, &key, TaskInput::Offered);
        }
        let order = TaskOrder { key: key.clone(), base, timeout_ms: 300, spec: String::new() };
        let mut effects = Vec::new();
        let task = TaskMachine::accept(order, &mut effects);
        self.tasks.insert(key.clone(), task.snapshot());
        self.carry_out(&key, effects)
    }

    pub(crate) fn handle(&mut self, now: Timestamp, key: &TaskKey, input: TaskInput) -> Vec<Out> {
        self.with(key, |task, effects| task.handle(now, input, effects))
    }

    pub(crate) fn tick(&mut self, now: Timestamp) -> Vec<Out> {
        self.each(|client, key| client.handle(now, key, TaskInput::Tick))
    }

    pub(crate) fn link_up(&mut self, now: Timestamp) -> Vec<Out> {
        let tasks = self.tasks.keys().cloned().collect();
        let mut out = self.each(|client, key| client.handle(now, key, TaskInput::LinkUp));
        out.push(Out::ToServer(RunInput::ClientReported { client: self.id.clone(), tasks }));
        out
    }

    /// What the client does when it is started again after it died.
    pub(crate) fn restart(&mut self, now: Timestamp) -> Vec<Out> {
        let mut out = self.each(|client, key| client.with(key, |task, effects| task.resume(now, effects)));
        out.extend(self.link_up(now));
        out
    }

    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        let tasks = self.tasks.values().map(|bytes| TaskMachine::restore(bytes).expect("our own snapshot"));
        tasks.filter_map(|task| task.deadline()).min()
    }

    fn each(&mut self, mut step: impl FnMut(&mut Self, &TaskKey) -> Vec<Out>) -> Vec<Out> {
        let keys: Vec<TaskKey> = self.tasks.keys().cloned().collect();
        keys.iter().flat_map(|key| step(self, key)).collect()
    }

    fn with(&mut self, key: &TaskKey, step: impl FnOnce(&mut TaskMachine, &mut Vec<TaskEffect>)) -> Vec<Out> {
        let Some(bytes) = self.tasks.get_mut(key) else { return Vec::new() };
        let mut task = TaskMachine::restore(bytes).expect("our own snapshot");
        let mut effects = Vec::new();
        step(&mut task, &mut effects);
        *bytes = task.snapshot();
        self.carry_out(key, effects)
    }

    fn carry_out(&mut self, key: &TaskKey, effects: Vec<TaskEffect>) -> Vec<Out> {
        let mut out = Vec::new();
        for effect in effects {
            let own = |input| Out::Own(key.clone(), input);
            match effect {
                TaskEffect::Fetch { .. } => out.push(own(TaskInput::Fetched)),
                TaskEffect::StartTrainer => out.push(own(TaskInput::TrainerEnded { outcome: self.train(key) })),
                TaskEffect::KillTrainer => {}
                TaskEffect::Upload { .. } => out.push(own(TaskInput::Uploaded)),
                TaskEffect::Report { report } => out.push(Out::ToServer(as_input(key.clone(), report))),
                TaskEffect::Forget => drop(self.tasks.remove(key)),
            }
        }
        out
    }

    /// Every second training of a client gives other bytes than the one before.
    fn train(&mut self, key: &TaskKey) -> Outcome {
        self.trainings += 1;
        if self.is_broken {
            return Outcome::Failed { code: Code::TrainerFailed, reason: "broken".to_owned(), cause: None };
        }
        let bytes = format!("{key} {}", self.trainings / 2);
        let blob = (key.kind == TaskKind::Train).then(|| BlobRef::of(bytes.as_bytes()));
        let metrics = Metrics([("accuracy".to_owned(), 0.5)].into());
        Outcome::Done { update: UpdateRef { blob, extra: None, metrics, weight: self.weight } }
    }
}

fn as_input(key: TaskKey, report: Report) -> RunInput {
    match report {
        Report::Started => RunInput::TaskStarted { key },
        Report::Done { update } => RunInput::UpdateStored { key, update },
        Report::Failed { code, reason, .. } => RunInput::TaskFailed { key, code, reason },
    }
}
