//! What goes into a run machine and what comes out. Data only.

use crate::round::{Begun, MemberState, RoundId, RoundOutcome, UpdateRef};
use nsfl_types::{BlobRef, ClientId, Code, Metrics, TaskKey, TaskKind, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What happens to a run. Answers name what they answer; those to an earlier question change nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum RunInput {
    /// The coordinator was started for the first time, with a model or without.
    Begin { initial: Option<BlobRef> },
    /// The first model is stored.
    ModelReady { model: BlobRef },
    /// What the job brings along is stored; before `ModelReady`.
    Packed { packages: Packages },
    /// What the job brings along is not there, not usable or not stored.
    PackFailed { code: Code, reason: String },
    /// The first model could not be made.
    ModelFailed { code: Code, reason: String },
    /// These clients fit.
    CohortSelected { round: u32, attempt: u32, kind: TaskKind, clients: Vec<ClientId> },
    /// Too few clients fit.
    NoCohort { round: u32, attempt: u32, kind: TaskKind, reason: String },
    /// What the job's extender sends along with this round's tasks is stored; before `CohortSelected`.
    Broadcast { round: u32, attempt: u32, inputs: Option<BlobRef> },
    /// The job's extender failed before the round.
    BroadcastFailed { round: u32, attempt: u32, code: Code, reason: String },
    /// A client works on its task.
    TaskStarted { key: TaskKey },
    /// A client's update is stored durably and passed validation.
    UpdateStored { key: TaskKey, update: UpdateRef },
    /// A client's update did not pass validation.
    UpdateRefused { key: TaskKey, code: Code, reason: String },
    /// A client could not do its task.
    TaskFailed { key: TaskKey, code: Code, reason: String },
    /// A client (re)connected and has these tasks, of this job and perhaps of others.
    ClientReported { client: ClientId, tasks: Vec<TaskKey> },
    /// What the job's extender says of the round beside its model; before `Aggregated`.
    Extended { round: u32, attempt: u32, parameters: Option<String>, metrics: Metrics },
    /// What the job's rule keeps for the round after, stored beside the model that `ModelReady` or `Aggregated` tells of next.
    /// None of the two when the rule keeps nothing.
    StateKept { round: u32, attempt: u32, state: BlobRef },
    /// The next model is stored.
    Aggregated { round: u32, attempt: u32, model: BlobRef },
    /// The updates could not be summed.
    AggregateFailed { round: u32, attempt: u32, code: Code, reason: String },
    /// The round's checkpoint is stored.
    CheckpointSaved { round: u32 },
    /// The round's checkpoint could not be stored.
    CheckpointFailed { round: u32, code: Code, reason: String },
    /// The time of `deadline` has come.
    Tick,
    /// The job was told to stop.
    Stop,
}

/// What a job brings along, stored when its run begins.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packages {
    /// The scripts of its tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scripts: Option<BlobRef>,
    /// The script of its extender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extender: Option<BlobRef>,
}

impl Packages {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What the extender sends along with the tasks of a round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Broadcast {
    pub(super) round: u32,
    pub(super) inputs: Option<BlobRef>,
}

/// What the extender said of a round beside its model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Extension {
    pub(super) round: u32,
    /// A JSON object for the next broadcast.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) parameters: Option<String>,
    #[serde(default)]
    pub(super) metrics: Metrics,
}

/// The blobs a run cannot go on without.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Its model.
    pub model: Option<BlobRef>,
    /// Older models that tasks under way began with.
    pub bases: Vec<BlobRef>,
    /// The updates it has accepted for the sum that is still to be made, and what came with them, with their tasks.
    pub updates: Vec<(TaskKey, BlobRef)>,
    /// What the job brought along.
    pub packages: Vec<BlobRef>,
    /// What the extender sends along with the round's tasks.
    pub inputs: Option<BlobRef>,
    /// What its rule keeps beside the model.
    pub state: Option<BlobRef>,
}

/// What the job's rule keeps beside the model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RuleState {
    /// Goes with the run's model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) current: Option<BlobRef>,
    /// Goes with the model that is told of next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<BlobRef>,
}

impl RuleState {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The model is there that the next one goes with. The one before, if it is another.
    pub(super) fn advance(&mut self) -> Option<BlobRef> {
        let next = self.next.take()?;
        self.current.replace(next).filter(|before| *before != next)
    }
}

/// An accepted update and whose it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// The client.
    pub client: ClientId,
    /// What it handed in.
    pub update: UpdateRef,
    /// What its task began with, if that is another round or attempt than the one it counts in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun: Option<Begun>,
    /// How many models were made from the one it is to until the one it is added to.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub staleness: u32,
}

impl Member {
    /// Its task, when it counts in this round.
    #[must_use]
    pub fn task(&self, round: &RoundId) -> TaskKey {
        self.begun.as_ref().map_or_else(|| round.task(&self.client), |begun| begun.key(round, &self.client))
    }

    pub(crate) fn is_of(&self, key: &TaskKey) -> bool {
        let begun = self.begun.as_ref().is_some_and(|begun| (begun.round, begun.attempt) == (key.round, key.attempt));
        begun && self.client == key.client && key.kind == TaskKind::Train
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// What the coordinator has to do for a run, in the order given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum RunEffect {
    /// Make the first model; answer `ModelReady` or `ModelFailed`.
    InitModel,
    /// Ask the selector for `count` clients, none of them `except` these; answer `CohortSelected` or `NoCohort`.
    SelectCohort { round: u32, attempt: u32, kind: TaskKind, count: u32, except: BTreeSet<ClientId> },
    /// Send the client its task, to start from the model `base`.
    SendTask { key: TaskKey, base: BlobRef },
    /// Tell the client that the task is not wanted any more.
    CancelTask { key: TaskKey },
    /// Tell the client that its update or its failure is recorded: it may forget the task.
    AckUpdate { key: TaskKey },
    /// Tell the client that its update does not count: it may forget the task.
    RefuseUpdate { key: TaskKey, code: Code, reason: String },
    /// Make the next model from `base` and the members' updates (sorted by client); answer `Aggregated` or
    /// `AggregateFailed`.
    Aggregate { round: u32, attempt: u32, base: BlobRef, members: Vec<Member> },
    /// Save the model as the round's checkpoint, with the accuracy if this round was evaluated; answer
    /// `CheckpointSaved` or `CheckpointFailed`.
    SaveCheckpoint { round: u32, model: BlobRef, accuracy: Option<f64> },
    /// For the record: a round's tasks are on their way.
    RoundOpened { round: u32, attempt: u32, kind: TaskKind, clients: Vec<ClientId>, deadline: Timestamp },
    /// For the record: a round has ended. `model` is the next global model of a complete train round. An attempt
    /// for which no cohort was found is closed with no members, without having been opened. `late` are the updates in it
    /// of tasks that began in another round or attempt. Members that are still awaited go on when `goes_on`.
    RoundClosed {
        round: u32,
        attempt: u32,
        kind: TaskKind,
        outcome: RoundOutcome,
        members: BTreeMap<ClientId, MemberState>,
        late: Vec<Member>,
        goes_on: bool,
        metrics: Metrics,
        model: Option<BlobRef>,
    },
    /// For the record: a member's state changed.
    MemberChanged { key: TaskKey, state: MemberState },
    /// The run needs this model no longer.
    RetireModel { model: BlobRef },
    /// The run needs this task's update no longer, or what came with it.
    RetireUpdate { task: TaskKey, update: BlobRef },
    /// The run needs this of its rule's states no longer.
    RetireState { state: BlobRef },
    /// The run needs this of the extender's inputs no longer.
    RetireInputs { inputs: BlobRef },
    /// `done` of `total` rounds are over.
    Progress { done: u32, total: u32 },
    /// The run has ended with a model.
    Finished { model: BlobRef, round: u32, accuracy: Option<f64> },
    /// The run has ended with a reason.
    Failed { code: Code, reason: String },
    /// The run has ended because it was told to.
    Stopped,
    /// A round that is closed had this task. Tell the client by the records: acknowledge it where its update counts, so that
    /// the client keeps what comes with that; else it is not wanted any more or, when the client `brings` its update, late.
    PastTask { key: TaskKey, brings: bool },
}
