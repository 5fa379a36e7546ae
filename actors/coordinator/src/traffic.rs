//! How a run's updates and its model are written on their way: what clients are told of it, what of theirs is in the model,
//! and what it saves.

use crate::driver::CoordinatorArgs;
use crate::sent::Sent;
use nsfl_actor::Failure;
use nsfl_messages::JobRun;
use nsfl_messages::wire::Compression;
use nsfl_store::{MemberState as Stored, RoundState};
use nsfl_types::{BlobRef, ClientId, Late, Metrics, TaskKey, TaskKind, UpdateCoding};
use nsfl_workflow::{MemberState, RoundOutcome, RunEffect};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Of one run.
pub(crate) struct Traffic {
    update: Option<UpdateCoding>,
    /// Of the model as it is sent, if that is compressed.
    pub(crate) sent: Option<Arc<Sent>>,
    /// Of each client, round and attempt of its last update that is in the model. Only where clients must know.
    counted: BTreeMap<ClientId, (u32, u32)>,
    /// Whether what is accepted will be in a model, though perhaps a later one: then it counts at once.
    goes_on: bool,
}

impl Traffic {
    /// With what the store knows of rounds that were summed, and the model of a run that goes on.
    pub(crate) async fn of(args: &CoordinatorArgs, model: Option<BlobRef>) -> Result<Self, Failure> {
        let Some(spec) = args.run.spec.compression.as_ref() else {
            return Ok(Self { update: None, sent: None, counted: BTreeMap::new(), goes_on: false });
        };
        let sent = spec.model.map(Sent::new);
        if let (Some(sent), Some(model)) = (&sent, model) {
            sent.look_at(args.surroundings.blobs.as_ref(), model).await;
        }
        let goes_on = args.run.spec.hyper.late != Late::Drop;
        let (update, sent) = (spec.update, sent.map(Arc::new));
        let mut traffic = Self { update, sent, counted: BTreeMap::new(), goes_on };
        if traffic.feeds_back() {
            traffic.counted = counted(args).await?;
        }
        Ok(traffic)
    }

    /// What a task's order says of compression.
    pub(crate) fn of_order(&self, key: &TaskKey) -> Option<Compression> {
        let update = self.update.filter(|_| key.kind == TaskKind::Train)?;
        let coding = serde_json::to_string(&update).expect("names and finite numbers can be written");
        Some(Compression { coding, counted: self.counted.get(&key.client).copied() })
    }

    /// A round is closed: of one that was summed, whose updates are in the model. Or an update is accepted for a later one.
    pub(crate) fn closed(&mut self, effect: &RunEffect) {
        if let RunEffect::MemberChanged { key, state: MemberState::Accepted { .. } } = effect
            && self.goes_on
            && key.kind == TaskKind::Train
            && self.feeds_back()
        {
            self.counted.insert(key.client.clone(), (key.round, key.attempt));
        }
        let RunEffect::RoundClosed { round, attempt, kind: TaskKind::Train, outcome, members, .. } = effect else {
            return;
        };
        if *outcome == RoundOutcome::Complete && self.feeds_back() && !self.goes_on {
            let accepted = members.iter().filter(|(_, state)| matches!(state, MemberState::Accepted { .. }));
            self.counted.extend(accepted.map(|(client, _)| (client.clone(), (*round, *attempt))));
        }
    }

    /// Adds to a closed round's metrics what went over the wire and what that saved, beside a model of `whole` bytes.
    pub(crate) fn measure(&self, effect: &mut RunEffect, whole: u64) {
        let RunEffect::RoundClosed { kind, members, late, metrics, .. } = effect else { return };
        if members.is_empty() {
            return;
        }
        let blobs = members.values().filter_map(|state| match state {
            MemberState::Accepted { update } => update.blob.map(|blob| blob.len),
            _ => None,
        });
        let blobs = blobs.chain(late.iter().filter_map(|member| Some(member.update.blob?.len)));
        if self.update.is_some() && *kind == TaskKind::Train {
            let (bytes, count) = blobs.fold((0, 0), |(bytes, count), len| (bytes + len, count + 1));
            add(metrics, "update_bytes", bytes, count * whole);
        }
        if let Some(sent) = &self.sent {
            let count = members.len() as u64;
            add(metrics, "model_bytes", count * sent.len().unwrap_or(whole), count * whole);
        }
    }

    fn feeds_back(&self) -> bool {
        self.update.is_some_and(|update| update.error_feedback)
    }
}

#[allow(clippy::cast_precision_loss, reason = "bytes of a round are far below 2^53")]
fn add(metrics: &mut Metrics, name: &str, bytes: u64, whole: u64) {
    metrics.0.insert(name.to_owned(), bytes as f64);
    metrics.0.insert(format!("{name}_saved"), whole as f64 - bytes as f64);
}

/// From the records of this run's rounds.
async fn counted(args: &CoordinatorArgs) -> Result<BTreeMap<ClientId, (u32, u32)>, Failure> {
    let (store, JobRun { key, run, .. }) = (&args.surroundings.store, &args.run);
    let mut counted = BTreeMap::new();
    let mut rounds = store.rounds(key, *run).await?;
    let goes_on = args.run.spec.hyper.late != Late::Drop;
    rounds.retain(|round| round.kind == TaskKind::Train && (goes_on || round.state == RoundState::Complete));
    rounds.sort_by_key(|round| (round.round, round.attempt));
    for round in rounds {
        for member in store.members(key, *run, round.round).await? {
            let task = member.task;
            let of = (task.kind, task.round, task.attempt, member.state);
            if of == (TaskKind::Train, round.round, round.attempt, Stored::Accepted) {
                counted.insert(task.client, (round.round, round.attempt));
            }
        }
    }
    Ok(counted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nsfl_types::{Code, Coding, JobKey, Values};
    use nsfl_workflow::UpdateRef;

    fn traffic(error_feedback: bool) -> Traffic {
        let coding = Coding { top_k: None, values: Values::F16 };
        Traffic {
            update: Some(UpdateCoding { coding, error_feedback }),
            sent: None,
            counted: BTreeMap::new(),
            goes_on: false,
        }
    }

    fn closed(round: u32, outcome: RoundOutcome, accepted: &[&str]) -> RunEffect {
        let blob = Some(BlobRef { len: 30, ..BlobRef::of(b"x") });
        let update = UpdateRef { blob, extra: None, metrics: Metrics::default(), weight: 1.0 };
        let state = |client: &str| match accepted.contains(&client) {
            true => MemberState::Accepted { update: update.clone() },
            false => MemberState::Failed { code: Code::TrainerFailed, reason: String::new() },
        };
        let members = ["c1", "c2"].map(|client| (client.parse().unwrap(), state(client))).into();
        let (kind, metrics) = (TaskKind::Train, Metrics::default());
        let (late, goes_on) = (Vec::new(), false);
        RunEffect::RoundClosed { round, attempt: 2, kind, outcome, members, late, goes_on, metrics, model: None }
    }

    fn counted(traffic: &Traffic, client: &str, kind: TaskKind) -> Option<Option<(u32, u32)>> {
        let job = JobKey::new("default".parse().unwrap(), "j".parse().unwrap());
        let key = TaskKey { job, run: 1, round: 9, attempt: 1, kind, client: client.parse().unwrap() };
        traffic.of_order(&key).map(|compression| compression.counted)
    }

    #[test]
    fn a_client_is_told_of_its_last_update_that_is_in_the_model_and_of_no_other() {
        let mut traffic = traffic(true);
        let failed = RoundOutcome::Failed { code: Code::NoQuorum, reason: String::new() };
        assert_eq!(counted(&traffic, "c1", TaskKind::Train), Some(None));
        traffic.closed(&closed(1, RoundOutcome::Complete, &["c1", "c2"]));
        traffic.closed(&closed(2, failed, &["c1", "c2"]));
        traffic.closed(&closed(3, RoundOutcome::Complete, &["c2"]));
        assert_eq!(counted(&traffic, "c1", TaskKind::Train), Some(Some((1, 2))));
        assert_eq!(counted(&traffic, "c2", TaskKind::Train), Some(Some((3, 2))));
        assert_eq!(counted(&traffic, "c2", TaskKind::Evaluate), None, "nothing is handed in");
    }

    #[test]
    fn where_late_updates_count_a_client_is_told_of_its_last_that_was_accepted() {
        let mut traffic = Traffic { goes_on: true, ..traffic(true) };
        let job = JobKey::new("default".parse().unwrap(), "j".parse().unwrap());
        let client = "c1".parse().unwrap();
        let key = TaskKey { job, run: 1, round: 4, attempt: 2, kind: TaskKind::Train, client };
        let update = UpdateRef { blob: None, extra: None, metrics: Metrics::default(), weight: 1.0 };
        traffic.closed(&RunEffect::MemberChanged { key, state: MemberState::Accepted { update } });
        traffic.closed(&closed(5, RoundOutcome::Complete, &["c1"]));
        assert_eq!(counted(&traffic, "c1", TaskKind::Train), Some(Some((4, 2))));
    }

    #[test]
    fn bytes_are_those_of_the_updates_that_were_accepted_and_saved_is_what_whole_ones_had_more() {
        let mut effect = closed(1, RoundOutcome::Complete, &["c1"]);
        traffic(false).measure(&mut effect, 100);
        let RunEffect::RoundClosed { metrics, .. } = effect else { panic!("another effect") };
        assert_eq!((metrics.get("update_bytes"), metrics.get("update_bytes_saved")), (Some(30.0), Some(70.0)));
        assert_eq!(metrics.0.len(), 2, "the model is sent as it is");
    }
}
