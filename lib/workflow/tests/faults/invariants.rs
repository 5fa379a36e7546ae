//! What the coordinator's effects, seen one after the other, must obey. Each rule is a function with its name.

use nsfl_types::{BlobRef, TaskKey, TaskKind};
use nsfl_workflow::{LatePolicy, Member, MemberState, RoundId, RoundOutcome, RunEffect, RunMachine};
use std::collections::{BTreeMap, BTreeSet};

/// What was seen.
pub(crate) struct Ledger {
    quorum: usize,
    clients: usize,
    late: LatePolicy,
    states: BTreeMap<TaskKey, MemberState>,
    bases: BTreeMap<TaskKey, BlobRef>,
    acked: BTreeSet<TaskKey>,
    aggregates: BTreeMap<(u32, u32), Vec<Member>>,
    /// Of complete train rounds: whose updates are in their models.
    counted: BTreeSet<TaskKey>,
    /// What was accepted in rounds that were given up, as today.
    given_up: BTreeSet<TaskKey>,
    complete_rounds: Vec<u32>,
    retired: BTreeSet<BlobRef>,
}

impl Ledger {
    pub(crate) fn new(quorum: u32, clients: u32, late: LatePolicy) -> Self {
        let quorum = if let LatePolicy::Buffer { k, .. } = late { k } else { quorum };
        Self {
            quorum: quorum as usize,
            clients: clients as usize,
            late,
            states: BTreeMap::new(),
            bases: BTreeMap::new(),
            acked: BTreeSet::new(),
            aggregates: BTreeMap::new(),
            counted: BTreeSet::new(),
            given_up: BTreeSet::new(),
            complete_rounds: Vec::new(),
            retired: BTreeSet::new(),
        }
    }

    /// Checks the effects of one input, as the driver persists them.
    pub(crate) fn observe(&mut self, effects: &[RunEffect], machine: &RunMachine) {
        for effect in effects {
            match effect {
                RunEffect::SendTask { key, base } => self.a_task_begins_once_with_one_model(key, *base),
                RunEffect::MemberChanged { key, state } => self.a_state_is_final_once_it_is_an_answer(key, state),
                RunEffect::AckUpdate { key } => {
                    self.acked.insert(key.clone());
                    self.an_acked_update_was_recorded_before(key);
                }
                RunEffect::Aggregate { round, attempt, members, .. } => {
                    self.an_aggregate_never_changes(*round, *attempt, members);
                    self.its_members_are_accepted_updates_within_the_staleness(&id(machine, *round, *attempt), members);
                    self.quorum_is_met_in_every_aggregate(*round, members);
                }
                RunEffect::RoundClosed {
                    round,
                    attempt,
                    kind: TaskKind::Train,
                    outcome,
                    members,
                    late,
                    goes_on,
                    ..
                } => {
                    let id = id(machine, *round, *attempt);
                    let accepted = members.iter().filter(|(_, s)| matches!(s, MemberState::Accepted { .. }));
                    let own: Vec<TaskKey> = accepted.map(|(client, _)| id.task(client)).collect();
                    let all = own.into_iter().chain(late.iter().map(|member| member.task(&id)));
                    if *outcome == RoundOutcome::Complete {
                        all.for_each(|key| self.an_update_counts_once(key));
                        self.complete_rounds.push(*round);
                        self.a_failed_round_does_not_burn_a_round_number();
                    } else if !goes_on || machine.is_over() {
                        self.given_up.extend(all);
                    }
                }
                RunEffect::RetireModel { model } => {
                    self.retired.insert(*model);
                }
                RunEffect::Finished { .. } => self.every_accepted_update_has_counted(),
                _ => {}
            }
        }
        self.no_task_needs_what_is_retired(machine);
        self.memory_is_bounded(machine);
    }

    pub(crate) fn effects_after_crash_are_a_subset_of_owed(&self, machine: &RunMachine, resumed: &[RunEffect]) {
        for effect in resumed {
            match effect {
                RunEffect::SendTask { key, base } => {
                    let state = self.states.get(key);
                    assert!(state.is_none_or(MemberState::is_awaited), "{key} has answered: {state:?}");
                    assert_eq!(self.bases.get(key), Some(base), "{key} was never sent before the crash");
                    assert_eq!(machine.awaited_base(key), Some(*base));
                }
                RunEffect::AckUpdate { key } => assert!(self.acked.contains(key), "{key} was not acknowledged"),
                RunEffect::Aggregate { round, attempt, members, .. } => {
                    assert!(!self.complete_rounds.contains(round), "round {round} is aggregated already");
                    assert_eq!(self.aggregates.get(&(*round, *attempt)), Some(members));
                }
                _ => {}
            }
        }
    }

    pub(crate) fn has_counted(&self, key: &TaskKey) -> bool {
        self.counted.contains(key)
    }

    pub(crate) fn complete_rounds(&self) -> &[u32] {
        &self.complete_rounds
    }

    fn a_task_begins_once_with_one_model(&mut self, key: &TaskKey, base: BlobRef) {
        let before = *self.bases.entry(key.clone()).or_insert(base);
        assert_eq!(before, base, "{key} began with another model");
        assert!(!self.retired.contains(&base), "{key} is sent with a model that has gone");
    }

    fn a_state_is_final_once_it_is_an_answer(&mut self, key: &TaskKey, state: &MemberState) {
        let before = self.states.insert(key.clone(), state.clone());
        assert!(before.as_ref().is_none_or(MemberState::is_awaited), "{key}: {before:?} became {state:?}");
    }

    fn an_acked_update_was_recorded_before(&self, key: &TaskKey) {
        let state = self.states.get(key);
        // else it is the answer to a failure, perhaps one that came after the round was closed: no update is owed
        if !matches!(state, Some(MemberState::Accepted { .. })) {
            assert!(!self.counted.contains(key), "{key}");
        }
    }

    fn an_aggregate_never_changes(&mut self, round: u32, attempt: u32, members: &[Member]) {
        let first = self.aggregates.entry((round, attempt)).or_insert_with(|| members.to_vec());
        assert_eq!(first, members, "round {round}, attempt {attempt}");
    }

    fn its_members_are_accepted_updates_within_the_staleness(&self, id: &RoundId, members: &[Member]) {
        let mut tasks = BTreeSet::new();
        for member in members {
            let key = member.task(id);
            let state = self.states.get(&key);
            let update = MemberState::Accepted { update: member.update.clone() };
            assert_eq!(state, Some(&update), "{key} is in round {}", id.round);
            assert_eq!(member.staleness, id.round - key.round, "{key} in round {}", id.round);
            assert!(member.staleness <= self.late.max_staleness(), "{key} in round {}", id.round);
            assert!(!self.counted.contains(&key), "{key} has counted already");
            assert!(tasks.insert(key.clone()), "{key} is in the sum twice");
            if let Some(begun) = &member.begun {
                assert_eq!(self.bases.get(&key), Some(&begun.base), "{key}");
            }
        }
        assert!(members.is_sorted_by(|a, b| a.client <= b.client));
    }

    fn quorum_is_met_in_every_aggregate(&self, round: u32, members: &[Member]) {
        match self.late {
            LatePolicy::Buffer { .. } => assert_eq!(members.len(), self.quorum, "{members:?}"),
            _ => {
                let own = members.iter().filter(|m| m.begun.as_ref().is_none_or(|begun| begun.round == round));
                assert!(own.count() >= self.quorum, "{members:?}");
            }
        }
    }

    fn an_update_counts_once(&mut self, key: TaskKey) {
        assert!(self.counted.insert(key.clone()), "{key} counts twice");
    }

    fn a_failed_round_does_not_burn_a_round_number(&self) {
        let numbers: Vec<u32> = (1..).take(self.complete_rounds.len()).collect();
        assert_eq!(self.complete_rounds, numbers);
    }

    fn every_accepted_update_has_counted(&self) {
        let train = self.states.iter().filter(|(key, _)| key.kind == TaskKind::Train);
        for (key, _) in train.filter(|(_, state)| matches!(state, MemberState::Accepted { .. })) {
            assert!(self.counted.contains(key) || self.given_up.contains(key), "{key} was accepted and never counted");
        }
    }

    fn no_task_needs_what_is_retired(&self, machine: &RunMachine) {
        if machine.is_over() {
            return;
        }
        let needs = machine.needs();
        for (key, base) in self.bases.iter().filter(|(key, _)| machine.awaited_base(key).is_some()) {
            assert!(needs.model == Some(*base) || needs.bases.contains(base), "{key} works from a model not kept");
            assert!(!self.retired.contains(base), "{key} works from a model that has gone");
        }
    }

    fn memory_is_bounded(&self, machine: &RunMachine) {
        let needs = machine.needs();
        assert!(needs.bases.len() <= self.clients, "{} older models for {} clients", needs.bases.len(), self.clients);
        // of each client one that was accepted for this model, and one that was under way, each with what came along
        assert!(needs.updates.len() <= 4 * self.clients + self.quorum, "{} updates", needs.updates.len());
    }
}

fn id(machine: &RunMachine, round: u32, attempt: u32) -> RoundId {
    let plan = machine.plan();
    RoundId { job: plan.job.clone(), run: plan.run, round, attempt, kind: TaskKind::Train }
}
