//! One attempt of one round: who was invited, who has answered how, and when it is complete or has failed.
//! Train and evaluate rounds are the same to it, but for what becomes of those who are not done. It neither picks clients
//! nor sums updates (see `run`).

mod carried;
mod member;
#[cfg(test)]
mod tests;

pub use carried::Begun;
pub(crate) use carried::{Carried, Sent};
pub use member::{MemberState, RoundId, UpdateRef};

use crate::run::{LatePolicy, Member, RunEffect};
use crate::snapshot::{self, SnapshotError};
use member::listed;
use nsfl_types::{BlobRef, ClientId, Code, Metrics, TaskKey, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// When a round is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundRules {
    /// Least number of accepted updates that completes it.
    pub quorum: u32,
    /// Close as soon as the quorum is met, without waiting for the others.
    pub close_at_threshold: bool,
    /// From here on nothing is accepted any more. With `Buffer`: of tasks sent when it was opened.
    pub deadline: Timestamp,
    /// What becomes of tasks that are under way when it closes.
    #[serde(default, skip_serializing_if = "LatePolicy::is_drop")]
    pub late: LatePolicy,
}

/// How a round ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RoundOutcome {
    /// The quorum was met.
    Complete,
    /// It was not, or the round was given up.
    Failed { code: Code, reason: String },
}

/// What happens in a round. All but `Tick` and `GiveUp` are about one client's task, whose key was checked before.
#[derive(Debug, Clone, PartialEq)]
pub enum RoundInput {
    /// The client works on it.
    Started { client: ClientId },
    /// The client's update is stored durably and passed validation.
    Stored { client: ClientId, update: UpdateRef },
    /// The client's update did not pass validation.
    Refused { client: ClientId, code: Code, reason: String },
    /// The client could not do the task.
    Failed { client: ClientId, code: Code, reason: String },
    /// These clients take part from now on, until their own deadline.
    Joined { clients: Vec<ClientId>, until: Timestamp },
    /// Nobody else can take part.
    NoMore,
    /// Time has passed.
    Tick,
    /// The round is not wanted any more.
    GiveUp { reason: String },
}

/// The state machine of one attempt of one round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoundMachine {
    id: RoundId,
    base: BlobRef,
    rules: RoundRules,
    members: BTreeMap<ClientId, MemberState>,
    outcome: Option<RoundOutcome>,
    /// Of members whose task was not sent when this was opened.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    begun: BTreeMap<ClientId, (Begun, Timestamp)>,
    /// Updates of tasks that began in an earlier round or attempt, in the order they came.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    late: Vec<Member>,
}

impl RoundMachine {
    /// Invites the cohort to work on the model `base`.
    #[must_use]
    pub fn open(
        id: RoundId,
        base: BlobRef,
        rules: RoundRules,
        cohort: BTreeSet<ClientId>,
        effects: &mut Vec<RunEffect>,
    ) -> Self {
        Self::open_with(id, base, rules, cohort, Carried::default(), effects)
    }

    /// The same, with what went on from rounds before. Nobody of the cohort has a task already.
    pub(crate) fn open_with(
        id: RoundId,
        base: BlobRef,
        rules: RoundRules,
        cohort: BTreeSet<ClientId>,
        carried: Carried,
        effects: &mut Vec<RunEffect>,
    ) -> Self {
        let RoundId { round, attempt, kind, .. } = id;
        let clients = cohort.iter().cloned().collect();
        effects.push(RunEffect::RoundOpened { round, attempt, kind, clients, deadline: rules.deadline });
        effects.extend(cohort.iter().map(|client| RunEffect::SendTask { key: id.task(client), base }));
        let mut members: BTreeMap<_, _> = cohort.into_iter().map(|client| (client, MemberState::Invited)).collect();
        let mut begun = BTreeMap::new();
        for (client, Sent { begun: with, until, state }) in carried.tasks {
            members.insert(client.clone(), state);
            begun.insert(client, (with, until));
        }
        Self { id, base, rules, members, outcome: None, begun, late: carried.updates }
    }

    /// Takes in what happened. The deadline comes first: what is handled at or after it is late.
    pub fn handle(&mut self, now: Timestamp, input: RoundInput, effects: &mut Vec<RunEffect>) {
        self.pass_time(now, effects);
        match input {
            RoundInput::Started { client } => {
                if self.is_open() && self.members.get(&client) == Some(&MemberState::Invited) {
                    self.change(client, MemberState::Started, effects);
                }
            }
            RoundInput::Stored { client, update } => self.stored(client, update, effects),
            RoundInput::Refused { client, code, reason } => {
                effects.push(RunEffect::RefuseUpdate { key: self.key(&client), code, reason: reason.clone() });
                if self.awaits(&client) {
                    self.answered(client, MemberState::Refused { code, reason }, effects);
                }
            }
            RoundInput::Failed { client, code, reason } => {
                effects.push(RunEffect::AckUpdate { key: self.key(&client) });
                if self.awaits(&client) {
                    self.answered(client, MemberState::Failed { code, reason }, effects);
                }
            }
            RoundInput::Joined { clients, until } => self.join(clients, until, effects),
            RoundInput::NoMore => self.starve(effects),
            RoundInput::Tick => {}
            RoundInput::GiveUp { reason } if self.is_open() => {
                self.outcome = Some(RoundOutcome::Failed { code: Code::Cancelled, reason });
                self.call_back(effects);
            }
            RoundInput::GiveUp { .. } => {}
        }
        self.pass_time(now, effects);
    }

    /// When it wants a `Tick`; `None` once it is over.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        if !self.is_open() {
            return None;
        }
        let awaited = self.members.iter().filter(|(_, state)| state.is_awaited());
        let own = awaited.filter_map(|(client, _)| self.own_deadline(client)).min();
        if self.is_step() { own } else { own.into_iter().chain([self.rules.deadline]).min() }
    }

    /// After a restart: tasks for those who have not answered (or their end, when the round is over), and again
    /// the acknowledgement of each accepted update. An open round has this deadline from now on, and tasks that have their own
    /// have `until`.
    pub fn resume(&mut self, deadline: Timestamp, until: Timestamp, effects: &mut Vec<RunEffect>) {
        self.rules.deadline = deadline;
        self.begun.values_mut().for_each(|(_, own)| *own = until);
        effects.extend(self.late.iter().map(|member| RunEffect::AckUpdate { key: member.task(&self.id) }));
        for (client, state) in &self.members {
            let key = self.key(client);
            match state {
                state if state.is_awaited() && self.is_open() => {
                    effects.push(RunEffect::SendTask { key, base: self.base_of(client) });
                }
                state if state.is_awaited() => effects.push(RunEffect::CancelTask { key }),
                MemberState::Accepted { .. } => effects.push(RunEffect::AckUpdate { key }),
                _ => {}
            }
        }
    }

    pub(crate) fn rules_deadline(&self) -> Timestamp {
        self.rules.deadline
    }

    /// Which round this is.
    #[must_use]
    pub fn id(&self) -> &RoundId {
        &self.id
    }

    /// The newest model when it was opened.
    #[must_use]
    pub fn base(&self) -> BlobRef {
        self.base
    }

    /// The model that this member's task starts from.
    #[must_use]
    pub fn base_of(&self, client: &ClientId) -> BlobRef {
        self.begun.get(client).map_or(self.base, |(begun, _)| begun.base)
    }

    /// This client's task here.
    #[must_use]
    pub fn key(&self, client: &ClientId) -> TaskKey {
        self.begun.get(client).map_or_else(|| self.id.task(client), |(begun, _)| begun.key(&self.id, client))
    }

    /// Whether this round is to answer about the task: it is a member's, or would be.
    pub(crate) fn knows(&self, key: &TaskKey) -> bool {
        let (job, run, kind) = (&self.id.job, self.id.run, self.id.kind);
        (job, run, kind) == (&key.job, key.run, key.kind) && self.key(&key.client) == *key
    }

    /// The accepted update of a task that began in an earlier round or attempt.
    pub(crate) fn late_of(&self, key: &TaskKey) -> Option<Member> {
        Carried::update_of(&self.late, key).filter(|member| member.task(&self.id) == *key)
    }

    /// Updates of tasks that began in an earlier round or attempt.
    pub(crate) fn late(&self) -> &[Member] {
        &self.late
    }

    /// The cohort and each member's state.
    #[must_use]
    pub fn members(&self) -> &BTreeMap<ClientId, MemberState> {
        &self.members
    }

    /// How it ended; `None` while it is open.
    #[must_use]
    pub fn outcome(&self) -> Option<&RoundOutcome> {
        self.outcome.as_ref()
    }

    /// Whether an answer of this client is still waited for.
    #[must_use]
    pub fn awaits(&self, client: &ClientId) -> bool {
        self.is_open() && self.members.get(client).is_some_and(MemberState::is_awaited)
    }

    /// The accepted updates, sorted by client, and those of one client by the round in which they began.
    #[must_use]
    pub fn accepted(&self) -> Vec<Member> {
        let own = self.members.iter().filter_map(|(client, state)| match state {
            MemberState::Accepted { update } => {
                Some(Member { client: client.clone(), update: update.clone(), begun: None, staleness: 0 })
            }
            _ => None,
        });
        let late = self.late.iter().map(|member| {
            let staleness = member.begun.as_ref().map_or(0, |begun| self.id.round.saturating_sub(begun.round));
            Member { staleness, ..member.clone() }
        });
        let mut all: Vec<Member> = late.chain(own).collect();
        let place = |member: &Member| member.begun.as_ref().map_or((u32::MAX, 0), |b| (b.round, b.attempt));
        all.sort_by(|a, b| a.client.cmp(&b.client).then_with(|| place(a).cmp(&place(b))));
        all
    }

    /// Takes out what goes on: the tasks that are under way, which have until then, and, when the round came to nothing, its
    /// updates.
    pub(crate) fn carry(&mut self, until: Timestamp) -> Carried {
        let mut carried = Carried::default();
        let awaited: Vec<ClientId> =
            self.members.iter().filter(|(_, state)| state.is_awaited()).map(|(client, _)| client.clone()).collect();
        for client in awaited {
            let Some(state) = self.members.remove(&client) else { continue };
            let own = Begun { round: self.id.round, attempt: self.id.attempt, base: self.base };
            let (begun, until) = self.begun.remove(&client).unwrap_or((own, until));
            carried.tasks.insert(client, Sent { begun, until, state });
        }
        if matches!(self.outcome, Some(RoundOutcome::Failed { .. })) {
            carried.updates = std::mem::take(&mut self.late);
            let is_accepted = |state: &MemberState| matches!(state, MemberState::Accepted { .. });
            let (accepted, others) = std::mem::take(&mut self.members).into_iter().partition(|(_, s)| is_accepted(s));
            self.members = others;
            let own = Begun { round: self.id.round, attempt: self.id.attempt, base: self.base };
            let accepted: BTreeMap<ClientId, MemberState> = accepted;
            carried.updates.extend(accepted.into_iter().filter_map(|(client, state)| match state {
                MemberState::Accepted { update } => {
                    Some(Member { client, update, begun: Some(own.clone()), staleness: 0 })
                }
                _ => None,
            }));
        }
        carried
    }

    /// Weighted mean of the accepted updates' metrics.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        Metrics::weighted_mean(self.accepted().iter().map(|member| &member.update.metrics))
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
        snapshot::decode("round machine", bytes)
    }

    fn is_open(&self) -> bool {
        self.outcome.is_none()
    }

    /// Whether it is a step of a buffer: over with the quorum, and not before, whoever is silent.
    fn is_step(&self) -> bool {
        matches!(self.rules.late, LatePolicy::Buffer { .. })
    }

    /// When this member's own time is over, if it is not the round's.
    fn own_deadline(&self, client: &ClientId) -> Option<Timestamp> {
        let own = self.begun.get(client).map(|(_, until)| *until);
        if self.is_step() { own.or(Some(self.rules.deadline)) } else { own }
    }

    fn stored(&mut self, client: ClientId, update: UpdateRef, effects: &mut Vec<RunEffect>) {
        let key = self.key(&client);
        let refuse = |code: Code, reason: String| RunEffect::RefuseUpdate { key: key.clone(), code, reason };
        let answer = match self.members.get(&client) {
            Some(MemberState::Accepted { update: known }) if known.blob == update.blob => RunEffect::AckUpdate { key },
            Some(MemberState::Accepted { .. }) => refuse(Code::Stale, "another update was accepted".into()),
            Some(MemberState::Refused { code, reason }) => refuse(*code, reason.clone()),
            Some(MemberState::Failed { .. }) => refuse(Code::Stale, "the task was reported as failed".into()),
            Some(MemberState::Silent { .. }) => refuse(Code::Late, "the task's time is over".into()),
            Some(_) if self.is_open() => {
                let ack = RunEffect::AckUpdate { key };
                self.answered(client, MemberState::Accepted { update: update.with_finite_metrics() }, effects);
                ack
            }
            Some(_) => refuse(Code::Late, "the round is closed".into()),
            None => refuse(Code::Stale, "the client is not in this round's cohort".into()),
        };
        effects.push(answer);
    }

    fn join(&mut self, clients: Vec<ClientId>, until: Timestamp, effects: &mut Vec<RunEffect>) {
        if !self.is_open() {
            return;
        }
        for client in clients.into_iter().collect::<BTreeSet<_>>() {
            if self.members.contains_key(&client) {
                continue;
            }
            let begun = Begun { round: self.id.round, attempt: self.id.attempt, base: self.base };
            self.begun.insert(client.clone(), (begun, until));
            effects.push(RunEffect::SendTask { key: self.key(&client), base: self.base });
            self.change(client, MemberState::Invited, effects);
        }
    }

    /// A member's last word. One whose task began before this round is free for another.
    fn answered(&mut self, client: ClientId, state: MemberState, effects: &mut Vec<RunEffect>) {
        let of = (self.id.round, self.id.attempt);
        let began_before = self.begun.get(&client).is_some_and(|(begun, _)| (begun.round, begun.attempt) != of);
        if !began_before {
            return self.change(client, state, effects);
        }
        effects.push(RunEffect::MemberChanged { key: self.key(&client), state: state.clone() });
        self.members.remove(&client);
        let begun = self.begun.remove(&client).map(|(begun, _)| begun);
        if let MemberState::Accepted { update } = state {
            self.late.push(Member { client, update, begun, staleness: 0 });
        }
    }

    fn change(&mut self, client: ClientId, state: MemberState, effects: &mut Vec<RunEffect>) {
        effects.push(RunEffect::MemberChanged { key: self.key(&client), state: state.clone() });
        self.members.insert(client, state);
    }

    /// Accepted and awaited, of those that count for the quorum: of a step all, else those to the model of the round. Late
    /// ones come on top: no round is made of them alone, none waits for them.
    fn counts(&self) -> (usize, usize) {
        let is_own = |round: u32| self.is_step() || round == self.id.round;
        let own_task = |client: &ClientId| self.begun.get(client).is_none_or(|(begun, _)| is_own(begun.round));
        let late = self.late.iter().filter(|member| member.begun.as_ref().is_some_and(|begun| is_own(begun.round)));
        let members = || self.members.iter().filter(|(client, _)| own_task(client)).map(|(_, state)| state);
        let accepted = members().filter(|state| matches!(state, MemberState::Accepted { .. })).count();
        (accepted + late.count(), members().filter(|state| state.is_awaited()).count())
    }

    fn pass_time(&mut self, now: Timestamp, effects: &mut Vec<RunEffect>) {
        if !self.is_open() {
            return;
        }
        let is_over = |client: &ClientId| self.own_deadline(client).is_some_and(|until| until <= now);
        let members = self.members.iter().filter(|(_, state)| state.is_awaited()).map(|(client, _)| client);
        for client in members.filter(|client| is_over(client)).cloned().collect::<Vec<_>>() {
            effects.push(RunEffect::CancelTask { key: self.key(&client) });
            let (code, reason) = (Code::Timeout, "the task's time is over".to_owned());
            self.answered(client, MemberState::Silent { code, reason }, effects);
        }
        self.close_if_over(now, effects);
    }

    fn close_if_over(&mut self, now: Timestamp, effects: &mut Vec<RunEffect>) {
        let quorum = self.rules.quorum as usize;
        let (accepted, awaited) = self.counts();
        if self.is_step() {
            if accepted >= quorum {
                self.close(RoundOutcome::Complete, effects);
            }
            return;
        }
        let expired = now >= self.rules.deadline;
        if accepted >= quorum && (awaited == 0 || expired || self.rules.close_at_threshold) {
            self.close(RoundOutcome::Complete, effects);
        } else if expired || accepted + awaited < quorum {
            let when = if expired { "at the deadline" } else { "and no more can come" };
            let who = listed(&self.members);
            let reason = format!("{accepted} updates, quorum {quorum}, {when}: {who}");
            self.close(RoundOutcome::Failed { code: Code::NoQuorum, reason }, effects);
        }
    }

    /// Clients that are away are no fault of the job; those that were here and failed are.
    fn starve(&mut self, effects: &mut Vec<RunEffect>) {
        let (quorum, (accepted, awaited)) = (self.rules.quorum as usize, self.counts());
        if !self.is_open() || accepted + awaited >= quorum {
            return;
        }
        let is_wrong = |state: &MemberState| !state.is_awaited() && !matches!(state, MemberState::Accepted { .. });
        let code = if self.members.values().any(is_wrong) { Code::NoQuorum } else { Code::NoClients };
        let who = listed(&self.members);
        let reason = format!("{accepted} updates, {quorum} make a model, and nobody else can be asked: {who}");
        self.close(RoundOutcome::Failed { code, reason }, effects);
    }

    fn close(&mut self, outcome: RoundOutcome, effects: &mut Vec<RunEffect>) {
        self.outcome = Some(outcome);
        if self.rules.late.is_drop() {
            self.call_back(effects);
        }
    }

    fn call_back(&self, effects: &mut Vec<RunEffect>) {
        let stragglers = self.members.iter().filter(|(_, state)| state.is_awaited());
        effects.extend(stragglers.map(|(client, _)| RunEffect::CancelTask { key: self.key(client) }));
    }
}
