//! What a run does with tasks that outlive their train round, and how a step of a buffer is kept at work. Nothing of it
//! happens in a run whose late updates are dropped.

use super::{Member, RunEffect, RunMachine, RunPhase};
use crate::round::{Carried, MemberState, RoundId, RoundInput};
use nsfl_types::{BlobRef, ClientId, Code, TaskKey, TaskKind, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Whether more clients are asked for while a step is open.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Asking {
    /// As soon as there is room.
    #[default]
    Idle,
    /// The selector is asked; so often before nobody was there.
    Asked { failures: u32 },
    /// Nobody was there.
    Again { failures: u32, at: Timestamp },
}

impl Asking {
    pub(super) fn is_idle(&self) -> bool {
        *self == Asking::Idle
    }

    pub(super) fn again_at(&self) -> Option<Timestamp> {
        if let Asking::Again { at, .. } = self { Some(*at) } else { None }
    }
}

impl RunMachine {
    /// A train round of this run; which one does not matter to tasks that have their own.
    pub(super) fn train_id(&self) -> RoundId {
        let (round, attempt) = (self.round, self.attempt);
        RoundId { job: self.plan.job.clone(), run: self.plan.run, round, attempt, kind: TaskKind::Train }
    }

    /// Whether it is a task that goes on between two rounds.
    pub(super) fn carries(&self, key: &TaskKey) -> bool {
        let sent = self.carried.tasks.get(&key.client);
        sent.is_some_and(|sent| sent.begun.key(&self.train_id(), &key.client) == *key)
    }

    /// The accepted update of a task that began in an earlier round or attempt than the one it counts in.
    pub(super) fn late_update(&self, key: &TaskKey) -> Option<Member> {
        let carried = Carried::update_of(&self.carried.updates, key).filter(|m| m.task(&self.train_id()) == *key);
        carried.or_else(|| self.opened.as_ref()?.late_of(key))
    }

    pub(super) fn carried_deadline(&self) -> Option<Timestamp> {
        self.carried.tasks.values().map(|sent| sent.until).min()
    }

    /// The train round in which what comes now will count: the next one as soon as this one has its members.
    fn next_round(&self) -> u32 {
        let collected = self.kind == TaskKind::Evaluate
            || matches!(self.phase, RunPhase::Aggregating { .. } | RunPhase::Saving { .. });
        self.round + u32::from(collected)
    }

    /// Whether an update to the model of this round, behind so many others, would count.
    fn would_count(&self, begun: u32, ahead: usize) -> bool {
        let late = self.plan.rounds.late;
        let steps = match late {
            super::LatePolicy::Buffer { k, .. } => u32::try_from(ahead).unwrap_or(u32::MAX) / k.max(1),
            _ => 0,
        };
        let counted = self.next_round().saturating_add(steps);
        counted <= self.plan.max_round_num && counted - begun <= late.max_staleness()
    }

    pub(super) fn carried_started(&mut self, client: &ClientId, effects: &mut Vec<RunEffect>) {
        let id = self.train_id();
        let Some(sent) = self.carried.tasks.get_mut(client) else { return };
        if sent.state == MemberState::Invited {
            sent.state = MemberState::Started;
            let key = sent.begun.key(&id, client);
            effects.push(RunEffect::MemberChanged { key, state: MemberState::Started });
        }
    }

    /// The last word on a task that goes on between two rounds.
    pub(super) fn carried_answered(&mut self, client: ClientId, input: RoundInput, effects: &mut Vec<RunEffect>) {
        let Some(sent) = self.carried.tasks.remove(&client) else { return };
        let key = sent.begun.key(&self.train_id(), &client);
        let (state, answer) = match input {
            RoundInput::Stored { update, .. } if self.would_count(sent.begun.round, self.carried.updates.len()) => {
                let update = update.with_finite_metrics();
                let member = Member { client, update: update.clone(), begun: Some(sent.begun), staleness: 0 };
                self.carried.updates.push(member);
                (MemberState::Accepted { update }, RunEffect::AckUpdate { key: key.clone() })
            }
            RoundInput::Refused { code, reason, .. } => (
                MemberState::Refused { code, reason: reason.clone() },
                RunEffect::RefuseUpdate { key: key.clone(), code, reason },
            ),
            RoundInput::Failed { code, reason, .. } => {
                (MemberState::Failed { code, reason }, RunEffect::AckUpdate { key: key.clone() })
            }
            _ => {
                let (code, reason) = (Code::Late, "no model is left that it could count in".to_owned());
                let state = MemberState::Silent { code, reason: reason.clone() };
                (state, RunEffect::RefuseUpdate { key: key.clone(), code, reason })
            }
        };
        effects.push(RunEffect::MemberChanged { key, state });
        effects.push(answer);
    }

    /// Takes over what goes on after the round that has just closed, and calls back what can no longer count.
    pub(super) fn carry(&mut self, effects: &mut Vec<RunEffect>) {
        let extra = self.plan.rounds.task_timeout_ms() - self.plan.rounds.round_timeout_ms;
        let Some(round) = &mut self.opened else { return };
        let until = round.rules_deadline().plus_ms(extra);
        let Carried { tasks, updates } = round.carry(until);
        self.carried.tasks.extend(tasks);
        self.carried.updates.splice(0..0, updates);
        self.asking = Asking::Idle;
        let wasted = |begun: u32| !self.would_count(begun, 0);
        let gone = self.carried.tasks.iter().filter(|(_, sent)| wasted(sent.begun.round)).map(|(client, _)| client);
        for client in gone.cloned().collect::<Vec<_>>() {
            self.call_back(&client, Code::Late, "no model is left that it could count in", effects);
        }
    }

    fn call_back(&mut self, client: &ClientId, code: Code, reason: &str, effects: &mut Vec<RunEffect>) {
        let Some(sent) = self.carried.tasks.remove(client) else { return };
        let key = sent.begun.key(&self.train_id(), client);
        effects.push(RunEffect::CancelTask { key: key.clone() });
        let state = MemberState::Silent { code, reason: reason.to_owned() };
        effects.push(RunEffect::MemberChanged { key, state });
    }

    /// Calls back what is under way between rounds and whose time is over.
    pub(super) fn carried_expire(&mut self, now: Timestamp, effects: &mut Vec<RunEffect>) {
        let over = self.carried.tasks.iter().filter(|(_, sent)| sent.until <= now).map(|(client, _)| client);
        for client in over.cloned().collect::<Vec<_>>() {
            self.call_back(&client, Code::Timeout, "the task's time is over", effects);
        }
    }

    /// The run is over: nobody needs any of it.
    pub(super) fn end_carried(&mut self, effects: &mut Vec<RunEffect>) {
        for client in self.carried.tasks.keys().cloned().collect::<Vec<_>>() {
            self.call_back(&client, Code::Cancelled, "the run is over", effects);
        }
        self.carried = Carried::default();
        self.asking = Asking::Idle;
    }

    pub(super) fn resume_carried(&mut self, now: Timestamp, effects: &mut Vec<RunEffect>) {
        let id = self.train_id();
        let until = now.plus_ms(self.plan.rounds.task_timeout_ms());
        effects.extend(self.carried.updates.iter().map(|member| RunEffect::AckUpdate { key: member.task(&id) }));
        for (client, sent) in &mut self.carried.tasks {
            sent.until = until;
            effects.push(RunEffect::SendTask { key: sent.begun.key(&id, client), base: sent.begun.base });
        }
        match self.asking {
            Asking::Asked { .. } => effects.extend(self.ask_for_more()),
            Asking::Again { failures, at } => {
                let longest = now.plus_ms(self.plan.retry.backoff_max_ms);
                self.asking = Asking::Again { failures, at: at.min(longest) };
            }
            Asking::Idle => {}
        }
    }

    /// Models that were followed by another and that no task under way has begun with go.
    pub(super) fn retire_bases(&mut self, previous: Option<BlobRef>, effects: &mut Vec<RunEffect>) {
        let used: BTreeSet<BlobRef> = self.carried.tasks.values().map(|sent| sent.begun.base).collect();
        let model = self.model;
        self.bases.extend(previous);
        let (kept, gone) = std::mem::take(&mut self.bases).into_iter().partition(|base| used.contains(base));
        self.bases = kept;
        let gone: BTreeSet<BlobRef> = gone;
        effects
            .extend(gone.into_iter().filter(|base| Some(*base) != model).map(|m| RunEffect::RetireModel { model: m }));
    }

    /// Whom to leave out when clients are asked for: who has a task, and who has handed in an update to this very model.
    pub(super) fn except(&self) -> BTreeSet<ClientId> {
        if self.kind != TaskKind::Train || self.plan.rounds.late.is_drop() {
            return BTreeSet::new();
        }
        let members = self.current_round().into_iter().flat_map(|round| round.members().keys());
        let late = self.current_round().into_iter().flat_map(|round| round.late());
        let updates = late.chain(&self.carried.updates);
        let to_this = updates.filter(|m| m.begun.as_ref().is_none_or(|begun| begun.round == self.round));
        let to_this = to_this.map(|member| &member.client);
        let members = members.filter(|_| self.phase == RunPhase::Collecting);
        members.chain(to_this).chain(self.carried.tasks.keys()).cloned().collect()
    }

    /// How many clients to ask for when a round begins; none when it has all it needs, or none have room.
    pub(super) fn wanted(&self) -> u32 {
        let policy = &self.plan.rounds;
        if self.kind != TaskKind::Train || policy.late.is_drop() {
            return policy.cohort;
        }
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let updates = &self.carried.updates;
        if policy.is_buffer() && count(updates.len()) >= policy.quorum_of(self.kind) {
            return 0;
        }
        let room = policy.at_once().saturating_sub(count(self.carried.tasks.len()));
        let fresh = updates.iter().filter(|m| m.begun.as_ref().is_some_and(|begun| begun.round == self.round)).count();
        let fresh = if policy.is_buffer() { 0 } else { count(fresh) };
        room.min(policy.cohort.saturating_sub(fresh))
    }

    /// What goes into the round that is opened now.
    pub(super) fn take_carried(&mut self) -> Carried {
        if self.kind != TaskKind::Train {
            return Carried::default();
        }
        let updates = &mut self.carried.updates;
        let count = match self.plan.rounds.late {
            super::LatePolicy::Buffer { k, .. } => updates.len().min(k as usize),
            _ => updates.len(),
        };
        let updates = updates.drain(..count).collect();
        Carried { tasks: std::mem::take(&mut self.carried.tasks), updates }
    }

    /// Tasks and updates that go on and would count for the quorum of the round that begins.
    pub(super) fn counted_already(&self) -> usize {
        if self.kind != TaskKind::Train {
            return 0;
        }
        let counts = |round: u32| self.plan.rounds.is_buffer() || round == self.round;
        let tasks = self.carried.tasks.values().filter(|sent| counts(sent.begun.round)).count();
        let updates = &self.carried.updates;
        tasks + updates.iter().filter(|m| m.begun.as_ref().is_some_and(|begun| counts(begun.round))).count()
    }

    pub(super) fn is_asking(&self, round: u32, attempt: u32, kind: TaskKind) -> bool {
        let asked = (self.round, self.attempt, self.kind) == (round, attempt, kind);
        asked && self.phase == RunPhase::Collecting && matches!(self.asking, Asking::Asked { .. })
    }

    /// Room for clients in an open step.
    fn room(&self) -> u32 {
        let open = self.phase == RunPhase::Collecting && self.kind == TaskKind::Train && self.plan.rounds.is_buffer();
        let Some(round) = self.current_round().filter(|round| open && round.outcome().is_none()) else { return 0 };
        let awaited = round.members().values().filter(|state| state.is_awaited()).count();
        self.plan.rounds.cohort.saturating_sub(u32::try_from(awaited).unwrap_or(u32::MAX))
    }

    fn ask_for_more(&self) -> Option<RunEffect> {
        let (round, attempt, kind, count) = (self.round, self.attempt, self.kind, self.room());
        (count > 0).then(|| RunEffect::SelectCohort { round, attempt, kind, count, except: self.except() })
    }

    /// Keeps as many clients at work as there are to be.
    pub(super) fn top_up(&mut self, effects: &mut Vec<RunEffect>) {
        if self.asking.is_idle()
            && let Some(ask) = self.ask_for_more()
        {
            self.asking = Asking::Asked { failures: 0 };
            effects.push(ask);
        }
    }

    /// Something has changed about who may be there.
    pub(super) fn ask_at_once(&mut self, effects: &mut Vec<RunEffect>) {
        if let Asking::Again { failures, .. } = self.asking
            && let Some(ask) = self.ask_for_more()
        {
            self.asking = Asking::Asked { failures };
            effects.push(ask);
        }
    }

    pub(super) fn ask_when_due(&mut self, now: Timestamp, effects: &mut Vec<RunEffect>) {
        if self.asking.again_at().is_some_and(|at| at <= now) {
            self.ask_at_once(effects);
            if self.asking.again_at().is_some() {
                self.asking = Asking::Idle;
            }
        }
    }

    /// The selector's answer while a step is open.
    pub(super) fn join(&mut self, now: Timestamp, clients: Vec<ClientId>, effects: &mut Vec<RunEffect>) {
        let Asking::Asked { failures } = self.asking else { return };
        let except = self.except();
        let fresh: BTreeSet<ClientId> = clients.into_iter().filter(|client| !except.contains(client)).collect();
        let clients: Vec<ClientId> = fresh.into_iter().take(self.room() as usize).collect();
        if clients.is_empty() {
            let failures = failures.saturating_add(1);
            self.asking = Asking::Again { failures, at: now.plus_ms(self.plan.retry.pause_ms(failures)) };
            return self.in_round(now, RoundInput::NoMore, effects);
        }
        self.asking = Asking::Idle;
        let until = now.plus_ms(self.plan.rounds.task_timeout_ms());
        self.in_round(now, RoundInput::Joined { clients, until }, effects);
    }
}
