//! One run of a job as its coordinator drives it: model, rounds, evaluation, checkpoints, end. It owns the round
//! that was opened last. It neither sends nor sums anything itself.

mod late;
mod message;
mod plan;
mod policy;
mod steps;
#[cfg(test)]
mod tests;
mod view;

pub use message::{Member, Needs, Packages, RunEffect, RunInput};
pub use plan::{RetryPolicy, RunPlan};
pub use policy::{LatePolicy, RoundPolicy};
pub use view::RunView;

use crate::round::{Carried, RoundId, RoundInput, RoundMachine};
use crate::snapshot::{self, SnapshotError};
use late::Asking;
use message::{Broadcast, Extension, RuleState};
use nsfl_types::{BlobRef, ClientId, Code, TaskKey, TaskKind, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What a run is doing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunPhase {
    /// Not begun.
    New,
    /// The first model is being made.
    Initialising,
    /// The round's clients are being chosen.
    Selecting,
    /// The last attempt of a round, or at the first model, failed; the next begins then, or as soon as a client is back
    /// when it failed for want of them.
    Pausing { until: Timestamp, for_clients: bool },
    /// Tasks are out.
    Collecting,
    /// The updates are being summed, or will be again at `retry_at` after so many failures.
    Aggregating { failures: u32, retry_at: Option<Timestamp> },
    /// The checkpoint is being saved, or will be again at `retry_at` after so many failures.
    Saving { failures: u32, retry_at: Option<Timestamp> },
    /// Ended with a model.
    Finished { model: BlobRef },
    /// Ended with a reason.
    Failed { code: Code, reason: String },
    /// Ended because it was told to.
    Stopped,
}

/// An accuracy and the round whose model has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluated {
    /// The round.
    pub round: u32,
    /// 0 to 1.
    pub accuracy: f64,
}

/// The state machine of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunMachine {
    plan: RunPlan,
    phase: RunPhase,
    round: u32,
    kind: TaskKind,
    attempt: u32,
    /// Attempts of this round that failed although there were clients; before the first, attempts at the first model.
    failures: u32,
    model: Option<BlobRef>,
    evaluated: Option<Evaluated>,
    #[serde(default, skip_serializing_if = "Packages::is_empty")]
    packages: Packages,
    /// Of the round at work or the one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    broadcast: Option<Broadcast>,
    /// Of the last round that was summed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    extension: Option<Extension>,
    #[serde(default, skip_serializing_if = "RuleState::is_empty")]
    rule_state: RuleState,
    /// The round opened last. It is kept when it is over, to answer those who ask again.
    opened: Option<RoundMachine>,
    /// What goes on between two train rounds.
    #[serde(default, skip_serializing_if = "Carried::is_empty")]
    carried: Carried,
    /// Models before the newest that tasks under way may have begun with.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    bases: BTreeSet<BlobRef>,
    /// Whether more clients are asked for while a step is open.
    #[serde(default, skip_serializing_if = "Asking::is_idle")]
    asking: Asking,
}

impl RunMachine {
    /// A run that waits for `Begin`.
    #[must_use]
    pub fn new(plan: RunPlan) -> Self {
        Self {
            plan,
            phase: RunPhase::New,
            round: 0,
            kind: TaskKind::Train,
            attempt: 1,
            failures: 0,
            model: None,
            evaluated: None,
            packages: Packages::default(),
            broadcast: None,
            extension: None,
            rule_state: RuleState::default(),
            opened: None,
            carried: Carried::default(),
            bases: BTreeSet::new(),
            asking: Asking::default(),
        }
    }

    /// Takes in what happened. Time comes first: what is due at `now` is done before the input is looked at.
    pub fn handle(&mut self, now: Timestamp, input: RunInput, effects: &mut Vec<RunEffect>) {
        self.pass_time(now, effects);
        match input {
            RunInput::Begin { initial } => self.begin(now, initial, effects),
            RunInput::ModelReady { model } => self.model_ready(now, model, effects),
            RunInput::Packed { packages } if self.phase == RunPhase::Initialising => self.packages = packages,
            RunInput::ModelFailed { code, reason } if self.phase == RunPhase::Initialising => {
                self.not_begun(now, code, format!("no initial model: {reason}"), effects);
            }
            RunInput::PackFailed { code, reason } if self.phase == RunPhase::Initialising => {
                self.not_begun(now, code, reason, effects);
            }
            RunInput::Packed { .. } | RunInput::PackFailed { .. } => {}
            RunInput::ModelFailed { .. } | RunInput::Tick => {}
            RunInput::Broadcast { round, attempt, inputs } => {
                if self.is_selecting(round, attempt, TaskKind::Train) {
                    self.broadcast(round, inputs, effects);
                }
            }
            RunInput::BroadcastFailed { round, attempt, code, reason } => {
                if self.is_selecting(round, attempt, TaskKind::Train) {
                    self.not_broadcast(now, code, &reason, effects);
                }
            }
            RunInput::CohortSelected { round, attempt, kind, clients } => {
                if self.is_selecting(round, attempt, kind) {
                    let why = format!("{} clients were selected", clients.iter().collect::<BTreeSet<_>>().len());
                    self.open_round(now, clients, &why, effects);
                } else if self.is_asking(round, attempt, kind) {
                    self.join(now, clients, effects);
                }
            }
            RunInput::NoCohort { round, attempt, kind, reason } => {
                if self.is_selecting(round, attempt, kind) {
                    self.nobody_selected(now, reason, effects);
                } else if self.is_asking(round, attempt, kind) {
                    self.join(now, Vec::new(), effects);
                }
            }
            RunInput::TaskStarted { key } => {
                if self.carries(&key) {
                    self.carried_started(&key.client, effects);
                } else if self.knows(&key) {
                    self.in_round(now, RoundInput::Started { client: key.client }, effects);
                }
            }
            RunInput::UpdateStored { key, update } => {
                self.answer(now, key, effects, |client| RoundInput::Stored { client, update });
            }
            RunInput::UpdateRefused { key, code, reason } => {
                self.answer(now, key, effects, |client| RoundInput::Refused { client, code, reason });
            }
            RunInput::TaskFailed { key, code, reason } => {
                self.answer(now, key, effects, |client| RoundInput::Failed { client, code, reason });
            }
            RunInput::ClientReported { client, tasks } => {
                self.reconcile(&client, &tasks, effects);
                if matches!(self.phase, RunPhase::Pausing { for_clients: true, .. }) {
                    self.try_again(now, effects);
                }
                self.ask_at_once(effects);
            }
            RunInput::Extended { round, attempt, parameters, metrics } => {
                if self.is_aggregating(round, attempt) {
                    self.extension = Some(Extension { round, parameters, metrics });
                }
            }
            RunInput::StateKept { round, attempt, state } => {
                let begins = self.phase == RunPhase::Initialising && round == self.round;
                if begins || self.is_aggregating(round, attempt) {
                    self.rule_state.next = Some(state);
                }
            }
            RunInput::Aggregated { round, attempt, model } => {
                if self.is_aggregating(round, attempt) {
                    self.aggregated(now, model, effects);
                }
            }
            RunInput::AggregateFailed { round, attempt, code, reason } => {
                if self.is_aggregating(round, attempt) {
                    self.step_failed(now, code, &reason, effects);
                }
            }
            RunInput::CheckpointSaved { round } => {
                if self.is_saving(round) {
                    self.round_done(now, effects);
                }
            }
            RunInput::CheckpointFailed { round, code, reason } => {
                if self.is_saving(round) {
                    self.step_failed(now, code, &reason, effects);
                }
            }
            RunInput::Stop => self.stop(now, effects),
        }
    }

    /// When it wants a `Tick`.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        let own = match &self.phase {
            RunPhase::Pausing { until, .. } => Some(*until),
            RunPhase::Collecting => self.opened.as_ref().and_then(RoundMachine::deadline),
            RunPhase::Aggregating { retry_at, .. } | RunPhase::Saving { retry_at, .. } => *retry_at,
            _ => None,
        };
        [own, self.carried_deadline(), self.asking.again_at()].into_iter().flatten().min()
    }

    /// After a restart: what is still owed, to clients first. The clients of an open round have its whole time again: how
    /// long the server was away is not theirs to pay for, and its clock may have been set meanwhile.
    pub fn resume(&mut self, now: Timestamp, effects: &mut Vec<RunEffect>) {
        let longest_pause = now.plus_ms(self.plan.retry.backoff_max_ms);
        match &mut self.phase {
            RunPhase::Pausing { until: at, .. }
            | RunPhase::Aggregating { retry_at: Some(at), .. }
            | RunPhase::Saving { retry_at: Some(at), .. } => *at = longest_pause.min(*at),
            _ => {}
        }
        if let Some(round) = &mut self.opened {
            let RoundPolicy { round_timeout_ms, .. } = self.plan.rounds;
            let until = now.plus_ms(self.plan.rounds.task_timeout_ms());
            round.resume(now.plus_ms(round_timeout_ms), until, effects);
        }
        self.resume_carried(now, effects);
        effects.extend(self.pending_step());
    }

    /// What it does.
    #[must_use]
    pub fn phase(&self) -> &RunPhase {
        &self.phase
    }

    /// What it is to do.
    #[must_use]
    pub fn plan(&self) -> &RunPlan {
        &self.plan
    }

    /// Whether it has ended; nothing happens any more, late clients are still answered.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.phase, RunPhase::Finished { .. } | RunPhase::Failed { .. } | RunPhase::Stopped)
    }

    /// How it ended, to be told again; `None` while it runs.
    #[must_use]
    pub fn ending(&self) -> Option<RunEffect> {
        if self.is_over() { self.pending_step() } else { None }
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
        snapshot::decode("run machine", bytes)
    }

    /// The blobs it cannot go on without. None once it is over.
    #[must_use]
    pub fn needs(&self) -> Needs {
        if self.is_over() {
            return Needs::default();
        }
        let collects = matches!(self.phase, RunPhase::Collecting | RunPhase::Aggregating { .. });
        let round = self.current_round().filter(|round| collects && round.id().kind == TaskKind::Train);
        let accepted = round.into_iter().flat_map(|round| blobs(round.id(), round.accepted()));
        let carried = blobs(&self.train_id(), self.carried.updates.clone());
        Needs {
            model: self.model,
            bases: self.bases.iter().copied().collect(),
            updates: accepted.chain(carried).collect(),
            packages: [self.packages.scripts, self.packages.extender].into_iter().flatten().collect(),
            inputs: self.broadcast.as_ref().and_then(|broadcast| broadcast.inputs),
            state: self.rule_state.current,
        }
    }

    /// What the job brought along.
    #[must_use]
    pub fn packages(&self) -> &Packages {
        &self.packages
    }

    /// Whether the extender was asked what to send along with the tasks of the round.
    #[must_use]
    pub fn has_broadcast(&self, round: u32) -> bool {
        self.broadcast.as_ref().is_some_and(|broadcast| broadcast.round == round)
    }

    /// What the extender sends along with the tasks of the round.
    #[must_use]
    pub fn inputs(&self, round: u32) -> Option<BlobRef> {
        self.broadcast.as_ref().filter(|broadcast| broadcast.round == round)?.inputs
    }

    /// What the job's rule keeps beside the model.
    #[must_use]
    pub fn rule_state(&self) -> Option<BlobRef> {
        self.rule_state.current
    }

    /// What the extender kept for its next broadcast: a JSON object.
    #[must_use]
    pub fn kept_parameters(&self) -> Option<&str> {
        self.extension.as_ref()?.parameters.as_deref()
    }

    /// The opened round, if it is the attempt at work.
    fn current_round(&self) -> Option<&RoundMachine> {
        self.opened.as_ref().filter(|opened| {
            let id = opened.id();
            (id.round, id.kind, id.attempt) == (self.round, self.kind, self.attempt)
        })
    }

    fn is_selecting(&self, round: u32, attempt: u32, kind: TaskKind) -> bool {
        let asked = (self.round, self.attempt, self.kind);
        self.phase == RunPhase::Selecting && asked == (round, attempt, kind)
    }

    fn is_aggregating(&self, round: u32, attempt: u32) -> bool {
        let asked = matches!(self.phase, RunPhase::Aggregating { retry_at: None, .. });
        asked && (self.round, self.attempt) == (round, attempt)
    }

    fn is_saving(&self, round: u32) -> bool {
        matches!(self.phase, RunPhase::Saving { retry_at: None, .. }) && self.round == round
    }

    fn knows(&self, key: &TaskKey) -> bool {
        self.opened.as_ref().is_some_and(|opened| opened.knows(key))
    }

    /// The model that the task starts from, if its answer is waited for.
    #[must_use]
    pub fn awaited_base(&self, key: &TaskKey) -> Option<BlobRef> {
        if self.carries(key) {
            return self.carried.tasks.get(&key.client).map(|sent| sent.begun.base);
        }
        let round = self.opened.as_ref().filter(|round| round.knows(key) && round.awaits(&key.client))?;
        Some(round.base_of(&key.client))
    }

    /// Hands a client's word to the round it belongs to; refuses it when that round is gone or never was.
    fn answer(
        &mut self,
        now: Timestamp,
        key: TaskKey,
        effects: &mut Vec<RunEffect>,
        input: impl FnOnce(ClientId) -> RoundInput,
    ) {
        if let Some(member) = self.late_update(&key) {
            return answer_again(key, &member, &input(member.client.clone()), effects);
        }
        if self.carries(&key) {
            return self.carried_answered(key.client.clone(), input(key.client), effects);
        }
        if self.knows(&key) {
            return self.in_round(now, input(key.client), effects);
        }
        effects.push(match self.is_past(&key) {
            true => RunEffect::PastTask { key, brings: true },
            false => {
                let reason = "the task is not one of this run".to_owned();
                RunEffect::RefuseUpdate { key, code: Code::Stale, reason }
            }
        });
    }

    /// Of an attempt before the one at work.
    fn is_past(&self, key: &TaskKey) -> bool {
        let ours = key.job == self.plan.job && key.run == self.plan.run;
        ours && (key.round, key.kind, key.attempt) < (self.round, self.kind, self.attempt)
    }

    /// Brings a client that came back up to date: what it owes, what it need not keep. A task it has is sent too: what
    /// the way there granted it may be gone, and it says again how it stands.
    fn reconcile(&self, client: &ClientId, tasks: &[TaskKey], effects: &mut Vec<RunEffect>) {
        let carried = self.carried.tasks.get(client).map(|sent| sent.begun.key(&self.train_id(), client));
        let opened = self.opened.as_ref();
        let owed: Vec<TaskKey> =
            carried.into_iter().chain(opened.filter(|r| r.awaits(client)).map(|r| r.key(client))).collect();
        for key in tasks.iter().filter(|key| key.job == self.plan.job && key.client == *client && !owed.contains(key)) {
            let state = opened.filter(|round| round.knows(key)).and_then(|round| round.members().get(client));
            let is_accepted = matches!(state, Some(crate::MemberState::Accepted { .. }));
            effects.push(match is_accepted || self.late_update(key).is_some() {
                true => RunEffect::AckUpdate { key: key.clone() },
                false if !self.knows(key) && self.is_past(key) => {
                    RunEffect::PastTask { key: key.clone(), brings: false }
                }
                false => RunEffect::CancelTask { key: key.clone() },
            });
        }
        // after the words on earlier ones: what the client keeps of those goes into these
        for key in &owed {
            if let Some(base) = self.awaited_base(key) {
                effects.push(RunEffect::SendTask { key: key.clone(), base });
            }
        }
    }
}

/// What updates consist of, with their tasks.
fn blobs(round: &RoundId, members: Vec<Member>) -> impl Iterator<Item = (TaskKey, BlobRef)> + use<> {
    let round = round.clone();
    members.into_iter().flat_map(move |member| {
        let task = member.task(&round);
        let blobs = [member.update.blob, member.update.extra].into_iter().flatten();
        blobs.map(move |blob| (task.clone(), blob)).collect::<Vec<_>>()
    })
}

/// A word on a task whose update was accepted before.
fn answer_again(key: TaskKey, known: &Member, input: &RoundInput, effects: &mut Vec<RunEffect>) {
    effects.push(match input {
        RoundInput::Stored { update, .. } if update.blob != known.update.blob => {
            let reason = "another update was accepted".to_owned();
            RunEffect::RefuseUpdate { key, code: Code::Stale, reason }
        }
        RoundInput::Refused { code, reason, .. } => {
            RunEffect::RefuseUpdate { key, code: *code, reason: reason.clone() }
        }
        _ => RunEffect::AckUpdate { key },
    });
}
