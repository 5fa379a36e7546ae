//! How a run's updates and its model are written on their way: what clients are told of it, what of theirs is in the model,
//! and what it saves.

use crate::driver::CoordinatorArgs;
use crate::sent::Sent;
use nsfl_actor::Failure;
use nsfl_messages::JobRun;
use nsfl_messages::wire::Compression;
use nsfl_store::{MemberState as Stored, RoundState};
use nsfl_types::{BlobRef, ClientId, Metrics, TaskKey, TaskKind, UpdateCoding};
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
}

impl Traffic {
    /// With what the store knows of rounds that were summed, and the model of a run that goes on.
    pub(crate) async fn of(args: &CoordinatorArgs, model: Option<BlobRef>) -> Result<Self, Failure> {
        let Some(spec) = args.run.spec.compression.as_ref() else {
            return Ok(Self { update: None, sent: None, counted: BTreeMap::new() });
        };
        let sent = spec.model.map(Sent::new);
        if let (Some(sent), Some(model)) = (&sent, model) {
            sent.look_at(args.surroundings.blobs.as_ref(), model).await;
        }
        let mut traffic = Self { update: spec.update, sent: sent.map(Arc::new), counted: BTreeMap::new() };
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

    /// A round is closed: of one that was summed, whose updates are in the model.
    pub(crate) fn closed(&mut self, effect: &RunEffect) {
        let RunEffect::RoundClosed { round, attempt, kind: TaskKind::Train, outcome, members, .. } = effect else {
            return;
        };
        if *outcome == RoundOutcome::Complete && self.feeds_back() {
            let accepted = members.iter().filter(|(_, state)| matches!(state, MemberState::Accepted { .. }));
            self.counted.extend(accepted.map(|(client, _)| (client.clone(), (*round, *attempt))));
        }
    }

    /// Adds to a closed round's metrics what went over the wire and what that saved, beside a model of `whole` bytes.
    pub(crate) fn measure(&self, effect: &mut RunEffect, whole: u64) {
        let RunEffect::RoundClosed { kind, members, metrics, .. } = effect else { return };
        if members.is_empty() {
            return;
        }
        let blobs = members.values().filter_map(|state| match state {
            MemberState::Accepted { update } => update.blob.map(|blob| blob.len),
            _ => None,
        });
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
    rounds.retain(|round| round.kind == TaskKind::Train && round.state == RoundState::Complete);
    rounds.sort_by_key(|round| round.round);
    for round in rounds {
        for member in store.members(key, *run, round.round).await? {
            let task = member.task;
            if (task.kind, task.attempt, member.state) == (TaskKind::Train, round.attempt, Stored::Accepted) {
                counted.insert(task.client, (round.round, round.attempt));
            }
        }
    }
    Ok(counted)
}
