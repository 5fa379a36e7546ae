//! How a run's updates and its model are written on their way: what clients are told of it, and what it saves.

use crate::driver::CoordinatorArgs;
use crate::sent::Sent;
use nsfl_messages::wire::Compression;
use nsfl_types::{BlobRef, Metrics, TaskKey, TaskKind, UpdateCoding};
use nsfl_workflow::{MemberState, RunEffect};
use std::sync::Arc;

/// Of one run.
pub(crate) struct Traffic {
    update: Option<UpdateCoding>,
    /// Of the model as it is sent, if that is compressed.
    pub(crate) sent: Option<Arc<Sent>>,
}

impl Traffic {
    /// With the model of a run that goes on.
    pub(crate) async fn of(args: &CoordinatorArgs, model: Option<BlobRef>) -> Self {
        let Some(spec) = args.run.spec.compression.as_ref() else {
            return Self { update: None, sent: None };
        };
        let sent = spec.model.map(Sent::new);
        if let (Some(sent), Some(model)) = (&sent, model) {
            sent.look_at(args.surroundings.blobs.as_ref(), model).await;
        }
        Self { update: spec.update, sent: sent.map(Arc::new) }
    }

    /// What a task's order says of compression; `counted` is the client's last update that is in the model, which it must know
    /// where what was left out goes into the next one.
    pub(crate) fn of_order(&self, key: &TaskKey, counted: Option<(u32, u32)>) -> Option<Compression> {
        let update = self.update.filter(|_| key.kind == TaskKind::Train)?;
        let coding = serde_json::to_string(&update).expect("names and finite numbers can be written");
        Some(Compression { coding, counted: counted.filter(|_| update.error_feedback) })
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
}

#[allow(clippy::cast_precision_loss, reason = "bytes of a round are far below 2^53")]
fn add(metrics: &mut Metrics, name: &str, bytes: u64, whole: u64) {
    metrics.0.insert(name.to_owned(), bytes as f64);
    metrics.0.insert(format!("{name}_saved"), whole as f64 - bytes as f64);
}

#[cfg(test)]
mod tests {
    use super::*;
    use nsfl_types::{Code, Coding, JobKey, Values};
    use nsfl_workflow::{RoundOutcome, UpdateRef};

    fn traffic(error_feedback: bool) -> Traffic {
        let coding = Coding { top_k: None, values: Values::F16 };
        Traffic { update: Some(UpdateCoding { coding, error_feedback }), sent: None }
    }

    /// With an update of 30 bytes.
    fn closed() -> RunEffect {
        let blob = Some(BlobRef { len: 30, ..BlobRef::of(b"x") });
        let update = UpdateRef { blob, extra: None, metrics: Metrics::default(), weight: 1.0 };
        let failed = MemberState::Failed { code: Code::TrainerFailed, reason: String::new() };
        let members = [("c1", MemberState::Accepted { update }), ("c2", failed)];
        RunEffect::RoundClosed {
            round: 1,
            attempt: 2,
            kind: TaskKind::Train,
            outcome: RoundOutcome::Complete,
            members: members.map(|(client, state)| (client.parse().unwrap(), state)).into(),
            late: Vec::new(),
            goes_on: false,
            metrics: Metrics::default(),
            model: None,
        }
    }

    #[test]
    fn a_client_is_told_of_its_last_update_where_what_was_left_out_goes_into_the_next() {
        let told = |error_feedback, kind| {
            let job = JobKey::new("default".parse().unwrap(), "j".parse().unwrap());
            let key = TaskKey { job, run: 1, round: 9, attempt: 1, kind, client: "c1".parse().unwrap() };
            traffic(error_feedback).of_order(&key, Some((8, 1))).map(|compression| compression.counted)
        };
        assert_eq!(told(true, TaskKind::Train), Some(Some((8, 1))));
        assert_eq!(told(false, TaskKind::Train), Some(None));
        assert_eq!(told(true, TaskKind::Evaluate), None, "nothing is handed in");
    }

    #[test]
    fn bytes_are_those_of_the_updates_that_were_accepted_and_saved_is_what_whole_ones_had_more() {
        let mut effect = closed();
        traffic(false).measure(&mut effect, 100);
        let RunEffect::RoundClosed { metrics, .. } = effect else { panic!("another effect") };
        assert_eq!((metrics.get("update_bytes"), metrics.get("update_bytes_saved")), (Some(30.0), Some(70.0)));
        assert_eq!(metrics.0.len(), 2, "the model is sent as it is");
    }
}
