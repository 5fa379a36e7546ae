//! What the coordinator's effects, seen one after the other, must obey. Each rule is a function with its name.

use crate::client::weight_of;
use nsfl_types::{ClientId, TaskKey, TaskKind};
use nsfl_workflow::{Member, MemberState, RoundOutcome, RunEffect, RunMachine};
use std::collections::{BTreeMap, BTreeSet};

/// What was seen.
#[derive(Default)]
pub(crate) struct Ledger {
    quorum: usize,
    /// All effects ever asked for; what a restart asks for again must be among them.
    seen: Vec<RunEffect>,
    states: BTreeMap<TaskKey, MemberState>,
    acked: BTreeSet<TaskKey>,
    aggregates: BTreeMap<(u32, u32), Vec<Member>>,
    complete_rounds: Vec<u32>,
}

impl Ledger {
    pub(crate) fn new(quorum: u32) -> Self {
        Self { quorum: quorum as usize, ..Self::default() }
    }

    /// Checks the effects of one input, as the driver persists them.
    pub(crate) fn observe(&mut self, effects: &[RunEffect]) {
        for effect in effects {
            match effect {
                RunEffect::MemberChanged { key, state } => self.a_state_is_final_once_it_is_an_answer(key, state),
                RunEffect::AckUpdate { key } => {
                    self.acked.insert(key.clone());
                    self.an_acked_update_was_recorded_before(key);
                }
                RunEffect::Aggregate { round, attempt, members, .. } => {
                    self.nobody_is_counted_twice(*round, *attempt, members);
                    self.quorum_is_met_in_every_aggregate(members);
                    self.an_aggregate_never_changes(*round, *attempt, members);
                }
                RunEffect::RoundClosed { round, kind: TaskKind::Train, outcome: RoundOutcome::Complete, .. } => {
                    self.complete_rounds.push(*round);
                    self.a_failed_round_does_not_burn_a_round_number();
                }
                _ => {}
            }
            self.seen.push(effect.clone());
        }
        self.an_acked_update_is_in_the_aggregate();
    }

    pub(crate) fn effects_after_crash_are_a_subset_of_owed(&self, machine: &RunMachine, resumed: &[RunEffect]) {
        for effect in resumed {
            assert!(self.seen.contains(effect), "never asked for before the crash: {effect:?}");
            if let RunEffect::SendTask { key, .. } = effect {
                let state = self.states.get(key);
                assert!(state.is_none_or(MemberState::is_awaited), "{key} has answered: {state:?}");
                assert_eq!((key.round, key.attempt), (machine.view().round, machine.view().attempt));
            }
            if let RunEffect::Aggregate { round, .. } = effect {
                assert!(!self.complete_rounds.contains(round), "round {round} is aggregated already");
            }
        }
    }

    pub(crate) fn complete_rounds(&self) -> &[u32] {
        &self.complete_rounds
    }

    fn a_state_is_final_once_it_is_an_answer(&mut self, key: &TaskKey, state: &MemberState) {
        let before = self.states.insert(key.clone(), state.clone());
        assert!(before.as_ref().is_none_or(MemberState::is_awaited), "{key}: {before:?} became {state:?}");
    }

    fn an_acked_update_was_recorded_before(&self, key: &TaskKey) {
        let state = self.states.get(key);
        let recorded = matches!(state, Some(MemberState::Accepted { .. } | MemberState::Failed { .. }));
        assert!(recorded || state.is_none_or(MemberState::is_awaited), "{key} is {state:?}");
        if matches!(state, Some(MemberState::Failed { .. })) || !recorded {
            // The answer to a failure, perhaps one that came after the round was closed: no update is owed.
            assert!(!self.is_counted(key), "{key}");
        }
    }

    fn nobody_is_counted_twice(&self, round: u32, attempt: u32, members: &[Member]) {
        let is_of = |key: &&TaskKey| (key.round, key.attempt, key.kind) == (round, attempt, TaskKind::Train);
        let accepted: BTreeSet<&ClientId> = self.accepted_keys().filter(is_of).map(|key| &key.client).collect();
        let expected: f64 = accepted.iter().map(|client| weight_of(client)).sum();
        let sum: f64 = members.iter().map(|member| member.update.weight).sum();
        assert_eq!(sum.to_bits(), expected.to_bits(), "round {round}: {sum} of {accepted:?}");
        assert!(members.is_sorted_by(|a, b| a.client < b.client));
    }

    fn quorum_is_met_in_every_aggregate(&self, members: &[Member]) {
        assert!(members.len() >= self.quorum, "{members:?}");
    }

    fn an_aggregate_never_changes(&mut self, round: u32, attempt: u32, members: &[Member]) {
        let first = self.aggregates.entry((round, attempt)).or_insert_with(|| members.to_vec());
        assert_eq!(first, members, "round {round}, attempt {attempt}");
    }

    fn an_acked_update_is_in_the_aggregate(&self) {
        for key in self.acked.iter().filter(|key| self.accepted_keys().any(|accepted| accepted == *key)) {
            let has_aggregate = self.aggregates.contains_key(&(key.round, key.attempt));
            if key.kind == TaskKind::Train && has_aggregate {
                assert!(self.is_counted(key), "{key} was acknowledged and is not counted");
            }
        }
    }

    fn a_failed_round_does_not_burn_a_round_number(&self) {
        let numbers: Vec<u32> = (1..).take(self.complete_rounds.len()).collect();
        assert_eq!(self.complete_rounds, numbers);
    }

    fn accepted_keys(&self) -> impl Iterator<Item = &TaskKey> {
        self.states.iter().filter(|(_, s)| matches!(s, MemberState::Accepted { .. })).map(|(key, _)| key)
    }

    fn is_counted(&self, key: &TaskKey) -> bool {
        let members = self.aggregates.get(&(key.round, key.attempt));
        key.kind == TaskKind::Train
            && members.is_some_and(|members| members.iter().any(|member| member.client == key.client))
    }
}
