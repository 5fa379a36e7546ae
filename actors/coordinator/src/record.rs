//! What the store keeps of a run beside the machine's snapshot: rounds, members, checkpoints, events. Pure.

use nsfl_store::{
    Change, CheckpointRecord, EventRecord, MemberRecord, MemberState as Stored, RoundRecord, RoundState, Steps,
};
use nsfl_types::{BlobRef, Cause, ClientId, Code, JobKey, Metrics, TaskKey, TaskKind, Timestamp};
use nsfl_workflow::{Member, MemberState, RoundId, RoundOutcome, RunEffect};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// Turns effects into records. Remembers when the open round was opened, which checkpoint is being saved, who is bringing an
/// update, and what is known of a failure beside what the machine knows.
pub(crate) struct Recorder {
    job: JobKey,
    run: u32,
    opened: Option<(RoundName, Timestamp)>,
    saving: Option<Saving>,
    uploading: BTreeMap<TaskKey, Timestamp>,
    task_cause: Option<(TaskKey, Cause)>,
    round_cause: Option<Cause>,
}

/// A checkpoint on its way, and the file's content as soon as it is known to be other than the model's.
struct Saving(CheckpointRecord, Arc<OnceLock<BlobRef>>);

type RoundName = (u32, u32, TaskKind);

impl Recorder {
    pub(crate) fn new(job: JobKey, run: u32) -> Self {
        let uploading = BTreeMap::new();
        Self { job, run, opened: None, saving: None, uploading, task_cause: None, round_cause: None }
    }

    /// Id and file name of a round's checkpoint.
    pub(crate) fn checkpoint_name(run: u32, round: u32) -> (String, String) {
        (format!("V{run}-{round}"), format!("checkpoint_{round}.safetensors"))
    }

    /// The folder's path is told when the checkpoint's saving begins.
    pub(crate) fn saving(&mut self, record: CheckpointRecord, content: Arc<OnceLock<BlobRef>>) {
        self.saving = Some(Saving(record, content));
    }

    /// A client that is awaited brings its update since then; stored with what becomes of it.
    pub(crate) fn uploads(&mut self, key: TaskKey, at: Timestamp) {
        self.uploading.insert(key, at);
    }

    /// What the client knows of its task's failure; of the input that comes next.
    pub(crate) fn task_failed(&mut self, key: TaskKey, cause: Cause) {
        self.task_cause = Some((key, cause.bounded()));
    }

    /// What is known of the failure of a part of the server; of the input that comes next.
    pub(crate) fn round_failed(&mut self, cause: Cause) {
        self.round_cause = Some(cause.bounded());
    }

    /// The input was taken in: what was said of it is not said of the next.
    pub(crate) fn taken(&mut self) {
        (self.task_cause, self.round_cause) = (None, None);
    }

    /// The checkpoint that was being saved is there.
    pub(crate) fn checkpoint_saved(&mut self, at: Timestamp) -> Vec<Change> {
        let Some(Saving(mut record, content)) = self.saving.take() else { return Vec::new() };
        if let Some(content) = content.get() {
            record.model = *content;
        }
        let fields = json!({
            "id": record.id, "round": record.round, "accuracy": record.accuracy, "path": record.path,
            "sha256": record.model.digest,
        });
        vec![self.event(at, "checkpoint-saved", fields), Change::PutCheckpoint(record)]
    }

    pub(crate) fn event(&self, at: Timestamp, kind: &str, fields: Value) -> Change {
        Change::AppendEvent(EventRecord { id: 0, at, job: Some(self.job.clone()), kind: kind.into(), fields })
    }

    /// The records of one effect; none for what only the coordinator carries out.
    pub(crate) fn record(&mut self, at: Timestamp, effect: &RunEffect) -> Vec<Change> {
        match effect {
            RunEffect::RoundOpened { round, attempt, kind, clients, deadline } => {
                self.opened = Some(((*round, *attempt, *kind), at));
                self.round_opened(at, (*round, *attempt, *kind), clients, *deadline)
            }
            RunEffect::MemberChanged { key, state } => self.member_changed(at, key, state),
            RunEffect::RoundClosed { round, attempt, kind, outcome, members, late, goes_on, metrics, model } => {
                let part = Closed { members, late, goes_on: *goes_on, metrics, model: *model };
                self.round_closed(at, (*round, *attempt, *kind), outcome, &part)
            }
            RunEffect::Finished { model, round, accuracy } => {
                let fields = json!({
                    "outcome": "finished", "rounds": round, "accuracy": accuracy, "sha256": model.digest,
                    "model": Self::checkpoint_name(self.run, *round).1,
                });
                vec![self.event(at, "run-ended", fields)]
            }
            RunEffect::Failed { code, reason } => {
                vec![self.event(at, "run-ended", json!({"outcome": "failed", "code": code, "reason": reason}))]
            }
            RunEffect::Stopped => vec![self.event(at, "run-ended", json!({"outcome": "stopped"}))],
            _ => Vec::new(),
        }
    }

    fn task(&self, (round, attempt, kind): RoundName, client: &ClientId) -> TaskKey {
        TaskKey { job: self.job.clone(), run: self.run, round, attempt, kind, client: client.clone() }
    }

    fn round_opened(&self, at: Timestamp, name: RoundName, clients: &[ClientId], deadline: Timestamp) -> Vec<Change> {
        let (round, attempt, kind) = name;
        let cohort = u32::try_from(clients.len()).unwrap_or(u32::MAX);
        let mut changes = vec![Change::PutRound(RoundRecord {
            job: self.job.clone(),
            run: self.run,
            round,
            attempt,
            kind,
            state: RoundState::Open,
            opened: at,
            closed: None,
            cohort,
            accepted: 0,
            metrics: Metrics::default(),
            model: None,
            reason: String::new(),
            cause: None,
        })];
        changes.extend(
            clients.iter().map(|client| member(self.task(name, client), at, &MemberState::Invited, false, None, None)),
        );
        let fields = json!({
            "round": round, "attempt": attempt, "kind": kind, "cohort": clients, "deadline_ms": deadline.0,
        });
        changes.push(self.event(at, "round-opened", fields));
        changes
    }

    fn member_changed(&mut self, at: Timestamp, key: &TaskKey, state: &MemberState) -> Vec<Change> {
        let uploading = if state.is_awaited() { None } else { self.uploading.remove(key) };
        let cause = self.task_cause.as_ref().filter(|(of, _)| of == key).map(|(_, cause)| cause);
        let mut change = member(key.clone(), at, state, false, cause.cloned(), None);
        if let Change::PutMember(record) = &mut change {
            record.steps.uploading = uploading;
        }
        let mut changes = vec![change];
        let about = |mut fields: Value| {
            fields["round"] = json!(key.round);
            fields["attempt"] = json!(key.attempt);
            fields["kind"] = json!(key.kind);
            fields["client"] = json!(key.client);
            fields
        };
        match state {
            MemberState::Invited | MemberState::Started | MemberState::Silent { .. } => {}
            MemberState::Accepted { update } => {
                changes.push(self.event(at, "update-accepted", about(json!({"metrics": update.metrics}))));
            }
            MemberState::Refused { code, reason } => {
                changes.push(self.event(at, "update-refused", about(json!({"code": code, "reason": reason}))));
            }
            MemberState::Failed { code, reason } => {
                let last = cause.and_then(Cause::last_line);
                changes.push(self.event(
                    at,
                    "task-failed",
                    about(json!({"code": code, "reason": reason, "last": last})),
                ));
            }
        }
        changes
    }

    fn round_closed(
        &mut self,
        at: Timestamp,
        name: RoundName,
        outcome: &RoundOutcome,
        Closed { members, late, goes_on, metrics, model }: &Closed<'_>,
    ) -> Vec<Change> {
        let ((round, attempt, kind), model) = (name, *model);
        self.uploading.retain(|key, _| *goes_on || (key.round, key.attempt, key.kind) != name);
        let opened = self.opened.take().filter(|(of, _)| *of == name).map_or(at, |(_, opened)| opened);
        let accepted = members.values().filter(|s| matches!(s, MemberState::Accepted { .. })).count() + late.len();
        let cohort = members.len() + late.len();
        let (state, word, code, reason) = match outcome {
            RoundOutcome::Complete => (RoundState::Complete, "complete", None, String::new()),
            RoundOutcome::Failed { code, reason } => (RoundState::Failed, "failed", Some(*code), reason.clone()),
        };
        #[allow(clippy::cast_precision_loss, reason = "milliseconds of a round are far below 2^53")]
        let seconds = at.since_ms(opened) as f64 / 1000.0;
        let fields = json!({
            "round": round, "attempt": attempt, "kind": kind, "outcome": word, "code": code, "reason": reason,
            "accepted": accepted, "cohort": cohort, "late": late.len(), "metrics": metrics, "seconds": seconds,
            "model": model.map(|m| m.digest), "last": self.round_cause.as_ref().and_then(Cause::last_line),
        });
        let cause = self.round_cause.clone().filter(|_| state == RoundState::Failed);
        let mut changes = vec![self.event(at, "round-closed", fields)];
        let stragglers = members.iter().filter(|(_, s)| s.is_awaited() && !goes_on);
        changes.extend(stragglers.map(|(client, state)| member(self.task(name, client), at, state, true, None, None)));
        if *goes_on && *outcome == RoundOutcome::Complete {
            let id = RoundId { job: self.job.clone(), run: self.run, round, attempt, kind };
            let late = late.iter().map(|one| (one.task(&id), MemberState::Accepted { update: one.update.clone() }));
            let own = members.iter().filter(|(_, state)| matches!(state, MemberState::Accepted { .. }));
            let own = own.map(|(client, state)| (id.task(client), state.clone()));
            changes.extend(own.chain(late).map(|(task, state)| member(task, at, &state, true, None, Some(round))));
        }
        changes.push(Change::PutRound(RoundRecord {
            job: self.job.clone(),
            run: self.run,
            round,
            attempt,
            kind,
            state,
            opened,
            closed: Some(at),
            cohort: u32::try_from(cohort).unwrap_or(u32::MAX),
            accepted: u32::try_from(accepted).unwrap_or(u32::MAX),
            metrics: (*metrics).clone(),
            model,
            reason,
            cause,
        }));
        changes
    }
}

/// What is told of a round that has closed.
struct Closed<'a> {
    members: &'a BTreeMap<ClientId, MemberState>,
    late: &'a [Member],
    goes_on: bool,
    metrics: &'a Metrics,
    model: Option<BlobRef>,
}

/// `counted` is the round of the model that the update has gone into.
fn member(
    task: TaskKey,
    at: Timestamp,
    state: &MemberState,
    closed: bool,
    cause: Option<Cause>,
    counted: Option<u32>,
) -> Change {
    let (stored, metrics, code, reason) = match state {
        MemberState::Invited | MemberState::Started if closed => {
            (Stored::Straggler, Metrics::default(), Some(Code::Timeout), "silent at the deadline".to_owned())
        }
        MemberState::Invited => (Stored::Invited, Metrics::default(), None, String::new()),
        MemberState::Started => (Stored::Started, Metrics::default(), None, String::new()),
        MemberState::Accepted { update } => (Stored::Accepted, update.metrics.clone(), None, String::new()),
        MemberState::Refused { code, reason } => (Stored::Refused, Metrics::default(), Some(*code), reason.clone()),
        MemberState::Failed { code, reason } => (Stored::Failed, Metrics::default(), Some(*code), reason.clone()),
        MemberState::Silent { code, reason } => (Stored::Straggler, Metrics::default(), Some(*code), reason.clone()),
    };
    let steps = match state {
        MemberState::Invited if !closed => Steps { sent: Some(at), ..Steps::default() },
        MemberState::Started if !closed => Steps { started: Some(at), ..Steps::default() },
        MemberState::Accepted { update } => {
            let blobs = update.blob.iter().chain(&update.extra);
            Steps { bytes: Some(blobs.map(|blob| blob.len).sum()), ..Steps::default() }
        }
        _ => Steps::default(),
    };
    Change::PutMember(MemberRecord { task, state: stored, metrics, code, reason, cause, counted, steps, at })
}
