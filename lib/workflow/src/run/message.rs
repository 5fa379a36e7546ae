//! What goes into a run machine and what comes out. Data only.

use crate::round::{MemberState, RoundOutcome, UpdateRef};
use nsfl_types::{BlobRef, ClientId, Code, Metrics, TaskKey, TaskKind, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What happens to a run. Answers name what they answer; those to an earlier question change nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum RunInput {
    /// The coordinator was started for the first time, with a model or without.
    Begin { initial: Option<BlobRef> },
    /// The first model is stored.
    ModelReady { model: BlobRef },
    /// The first model could not be made.
    ModelFailed { code: Code, reason: String },
    /// These clients fit.
    CohortSelected { round: u32, attempt: u32, kind: TaskKind, clients: Vec<ClientId> },
    /// Too few clients fit.
    NoCohort { round: u32, attempt: u32, kind: TaskKind, reason: String },
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

/// An accepted update and whose it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// The client.
    pub client: ClientId,
    /// What it handed in.
    pub update: UpdateRef,
}

/// What the coordinator has to do for a run, in the order given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum RunEffect {
    /// Make the first model; answer `ModelReady` or `ModelFailed`.
    InitModel,
    /// Ask the selector for `count` clients; answer `CohortSelected` or `NoCohort`.
    SelectCohort { round: u32, attempt: u32, kind: TaskKind, count: u32 },
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
    /// for which no cohort was found is closed with no members, without having been opened.
    RoundClosed {
        round: u32,
        attempt: u32,
        kind: TaskKind,
        outcome: RoundOutcome,
        members: BTreeMap<ClientId, MemberState>,
        metrics: Metrics,
        model: Option<BlobRef>,
    },
    /// For the record: a member's state changed.
    MemberChanged { key: TaskKey, state: MemberState },
    /// The run needs this model no longer.
    RetireModel { model: BlobRef },
    /// The run needs this update no longer.
    RetireUpdate { update: BlobRef },
    /// `done` of `total` rounds are over.
    Progress { done: u32, total: u32 },
    /// The run has ended with a model.
    Finished { model: BlobRef, round: u32, accuracy: Option<f64> },
    /// The run has ended with a reason.
    Failed { code: Code, reason: String },
    /// The run has ended because it was told to.
    Stopped,
}
