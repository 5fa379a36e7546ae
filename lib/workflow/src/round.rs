//! One attempt of one round: who was invited, who has answered how, and when it is complete or has failed.
//! Train and evaluate rounds are the same to it. It neither picks clients nor sums updates (see `run`).

mod member;
#[cfg(test)]
mod tests;

pub use member::{MemberState, RoundId, UpdateRef};

use crate::run::{Member, RunEffect};
use crate::snapshot::{self, SnapshotError};
use member::listed;
use nsfl_types::{BlobRef, ClientId, Code, Metrics, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// When a round is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundRules {
    /// Least number of accepted updates that completes it.
    pub quorum: u32,
    /// Close as soon as the quorum is met, without waiting for the others.
    pub close_at_threshold: bool,
    /// From here on nothing is accepted any more.
    pub deadline: Timestamp,
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
        let RoundId { round, attempt, kind, .. } = id;
        let clients = cohort.iter().cloned().collect();
        effects.push(RunEffect::RoundOpened { round, attempt, kind, clients, deadline: rules.deadline });
        effects.extend(cohort.iter().map(|client| RunEffect::SendTask { key: id.task(client), base }));
        let members = cohort.into_iter().map(|client| (client, MemberState::Invited)).collect();
        Self { id, base, rules, members, outcome: None }
    }

    /// Takes in what happened. The deadline comes first: what is handled at or after it is late.
    pub fn handle(&mut self, now: Timestamp, input: RoundInput, effects: &mut Vec<RunEffect>) {
        self.close_if_over(now, effects);
        match input {
            RoundInput::Started { client } => {
                if self.is_open() && self.members.get(&client) == Some(&MemberState::Invited) {
                    self.change(client, MemberState::Started, effects);
                }
            }
            RoundInput::Stored { client, update } => self.stored(client, update, effects),
            RoundInput::Refused { client, code, reason } => {
                effects.push(RunEffect::RefuseUpdate { key: self.id.task(&client), code, reason: reason.clone() });
                if self.awaits(&client) {
                    self.change(client, MemberState::Refused { code, reason }, effects);
                }
            }
            RoundInput::Failed { client, code, reason } => {
                effects.push(RunEffect::AckUpdate { key: self.id.task(&client) });
                if self.awaits(&client) {
                    self.change(client, MemberState::Failed { code, reason }, effects);
                }
            }
            RoundInput::Tick => {}
            RoundInput::GiveUp { reason } if self.is_open() => {
                self.close(RoundOutcome::Failed { code: Code::Cancelled, reason }, effects);
            }
            RoundInput::GiveUp { .. } => {}
        }
        self.close_if_over(now, effects);
    }

    /// When it wants a `Tick`; `None` once it is over.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        self.is_open().then_some(self.rules.deadline)
    }

    /// After a restart: tasks for those who have not answered (or their end, when the round is over), and again
    /// the acknowledgement of each accepted update. An open round has this deadline from now on.
    pub fn resume(&mut self, deadline: Timestamp, effects: &mut Vec<RunEffect>) {
        self.rules.deadline = deadline;
        for (client, state) in &self.members {
            let key = self.id.task(client);
            match state {
                state if state.is_awaited() && self.is_open() => {
                    effects.push(RunEffect::SendTask { key, base: self.base });
                }
                state if state.is_awaited() => effects.push(RunEffect::CancelTask { key }),
                MemberState::Accepted { .. } => effects.push(RunEffect::AckUpdate { key }),
                _ => {}
            }
        }
    }

    /// Which round this is.
    #[must_use]
    pub fn id(&self) -> &RoundId {
        &self.id
    }

    /// The model its tasks start from.
    #[must_use]
    pub fn base(&self) -> BlobRef {
        self.base
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

    /// The accepted updates, sorted by client.
    #[must_use]
    pub fn accepted(&self) -> Vec<Member> {
        let members = self.members.iter();
        members
            .filter_map(|(client, state)| match state {
                MemberState::Accepted { update } => Some(Member { client: client.clone(), update: update.clone() }),
                _ => None,
            })
            .collect()
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

    fn stored(&mut self, client: ClientId, update: UpdateRef, effects: &mut Vec<RunEffect>) {
        let key = self.id.task(&client);
        let refuse = |code: Code, reason: String| RunEffect::RefuseUpdate { key: key.clone(), code, reason };
        let answer = match self.members.get(&client) {
            Some(MemberState::Accepted { update: known }) if known.blob == update.blob => RunEffect::AckUpdate { key },
            Some(MemberState::Accepted { .. }) => refuse(Code::Stale, "another update was accepted".into()),
            Some(MemberState::Refused { code, reason }) => refuse(*code, reason.clone()),
            Some(MemberState::Failed { .. }) => refuse(Code::Stale, "the task was reported as failed".into()),
            Some(_) if self.is_open() => {
                let ack = RunEffect::AckUpdate { key };
                self.change(client, MemberState::Accepted { update: update.with_finite_metrics() }, effects);
                ack
            }
            Some(_) => refuse(Code::Late, "the round is closed".into()),
            None => refuse(Code::Stale, "the client is not in this round's cohort".into()),
        };
        effects.push(answer);
    }

    fn change(&mut self, client: ClientId, state: MemberState, effects: &mut Vec<RunEffect>) {
        effects.push(RunEffect::MemberChanged { key: self.id.task(&client), state: state.clone() });
        self.members.insert(client, state);
    }

    fn close_if_over(&mut self, now: Timestamp, effects: &mut Vec<RunEffect>) {
        if !self.is_open() {
            return;
        }
        let quorum = self.rules.quorum as usize;
        let accepted = self.members.values().filter(|s| matches!(s, MemberState::Accepted { .. })).count();
        let awaited = self.members.values().filter(|s| s.is_awaited()).count();
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

    fn close(&mut self, outcome: RoundOutcome, effects: &mut Vec<RunEffect>) {
        self.outcome = Some(outcome);
        let stragglers = self.members.iter().filter(|(_, state)| state.is_awaited());
        effects.extend(stragglers.map(|(client, _)| RunEffect::CancelTask { key: self.id.task(client) }));
    }
}
