//! Who has had a task of a run, and whose update of which round is in the model, across the lives of a coordinator: so that a client
//! whose acknowledgement was lost hears of it when the round is long closed, and knows what of its own the model holds.

use crate::driver::CoordinatorArgs;
use nsfl_actor::Failure;
use nsfl_messages::JobRun;
use nsfl_store::{MemberState as Stored, RoundState};
use nsfl_types::{ClientId, Late, TaskKey, TaskKind};
use nsfl_workflow::{MemberState, RoundOutcome, RunEffect};
use std::collections::{BTreeMap, BTreeSet};

/// Of one run.
#[derive(Debug, Default)]
pub(crate) struct Roll {
    /// Clients that were asked at least once, for `untrained_first`.
    pub(crate) used: BTreeSet<ClientId>,
    /// Of each client, round and attempt of its last update that is in the model.
    last: BTreeMap<ClientId, (u32, u32)>,
    /// Whether what is accepted will be in a model, though perhaps a later one: then it counts at once.
    goes_on: bool,
}

impl Roll {
    /// From the records of this run's rounds.
    pub(crate) async fn of(args: &CoordinatorArgs) -> Result<Self, Failure> {
        let (store, JobRun { key, run, .. }) = (&args.surroundings.store, &args.run);
        let mut roll = Self { goes_on: args.run.spec.hyper.late != Late::Drop, ..Self::default() };
        let mut attempts: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
        for round in store.rounds(key, *run).await?.into_iter().filter(|round| round.kind == TaskKind::Train) {
            let counting = attempts.entry(round.round).or_default();
            if roll.goes_on || round.state == RoundState::Complete {
                counting.insert(round.attempt);
            }
        }
        for (round, counting) in attempts {
            for member in store.members(key, *run, round).await? {
                let task = member.task;
                let counts = task.kind == TaskKind::Train && task.round == round && counting.contains(&task.attempt);
                if counts && member.state == Stored::Accepted {
                    roll.last.insert(task.client.clone(), (round, task.attempt));
                }
                roll.used.insert(task.client);
            }
        }
        Ok(roll)
    }

    /// Of a round that is closed and summed, the updates are in the model. Or an update is accepted for a later one.
    pub(crate) fn see(&mut self, effect: &RunEffect) {
        match effect {
            RunEffect::RoundOpened { clients, .. } => self.used.extend(clients.iter().cloned()),
            RunEffect::MemberChanged { key, state: MemberState::Invited } => _ = self.used.insert(key.client.clone()),
            RunEffect::MemberChanged { key, state: MemberState::Accepted { .. } }
                if self.goes_on && key.kind == TaskKind::Train =>
            {
                self.last.insert(key.client.clone(), (key.round, key.attempt));
            }
            RunEffect::RoundClosed { round, attempt, kind: TaskKind::Train, outcome, members, .. }
                if *outcome == RoundOutcome::Complete && !self.goes_on =>
            {
                let accepted = members.iter().filter(|(_, state)| matches!(state, MemberState::Accepted { .. }));
                self.last.extend(accepted.map(|(client, _)| (client.clone(), (*round, *attempt))));
            }
            _ => {}
        }
    }

    /// Round and attempt of the client's last update that is in the model.
    pub(crate) fn last_of(&self, client: &ClientId) -> Option<(u32, u32)> {
        self.last.get(client).copied()
    }

    /// Whether this was the client's last task whose update is in the model.
    pub(crate) fn is_last(&self, key: &TaskKey) -> bool {
        key.kind == TaskKind::Train && self.last_of(&key.client) == Some((key.round, key.attempt))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nsfl_types::{Code, JobKey, Metrics};
    use nsfl_workflow::UpdateRef;

    fn accepted() -> MemberState {
        MemberState::Accepted {
            update: UpdateRef { blob: None, extra: None, metrics: Metrics::default(), weight: 1.0 },
        }
    }

    fn closed(round: u32, outcome: RoundOutcome, members: &[&str]) -> RunEffect {
        let state = |client: &str| match members.contains(&client) {
            true => accepted(),
            false => MemberState::Failed { code: Code::TrainerFailed, reason: String::new() },
        };
        let members = ["c1", "c2"].map(|client| (client.parse().unwrap(), state(client))).into();
        let (kind, metrics, late) = (TaskKind::Train, Metrics::default(), Vec::new());
        let goes_on = false;
        RunEffect::RoundClosed { round, attempt: 2, kind, outcome, members, late, goes_on, metrics, model: None }
    }

    fn task(round: u32, kind: TaskKind, client: &str) -> TaskKey {
        let job = JobKey::new("default".parse().unwrap(), "j".parse().unwrap());
        TaskKey { job, run: 1, round, attempt: 2, kind, client: client.parse().unwrap() }
    }

    #[test]
    fn the_last_update_that_is_in_the_model_is_known_of_each_client_and_no_other() {
        let mut roll = Roll::default();
        let failed = RoundOutcome::Failed { code: Code::NoQuorum, reason: String::new() };
        assert_eq!(roll.last_of(&"c1".parse().unwrap()), None);
        roll.see(&closed(1, RoundOutcome::Complete, &["c1", "c2"]));
        roll.see(&closed(2, failed, &["c1", "c2"]));
        roll.see(&closed(3, RoundOutcome::Complete, &["c2"]));
        assert_eq!(roll.last_of(&"c1".parse().unwrap()), Some((1, 2)));
        assert!(roll.is_last(&task(3, TaskKind::Train, "c2")));
        for key in [task(1, TaskKind::Train, "c2"), task(2, TaskKind::Train, "c1"), task(3, TaskKind::Evaluate, "c2")] {
            assert!(!roll.is_last(&key), "{key}");
        }
    }

    #[test]
    fn where_late_updates_count_the_last_that_was_accepted_is_in_the_model() {
        let mut roll = Roll { goes_on: true, ..Roll::default() };
        roll.see(&RunEffect::MemberChanged { key: task(4, TaskKind::Train, "c1"), state: accepted() });
        roll.see(&closed(5, RoundOutcome::Complete, &["c1"]));
        assert_eq!(roll.last_of(&"c1".parse().unwrap()), Some((4, 2)));
    }
}
