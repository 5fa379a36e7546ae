//! A run as people see it: what it does, whom it waits for, until when.

use super::{RunMachine, RunPhase};
use crate::round::MemberState;
use nsfl_types::{BlobRef, ClientId, TaskKind, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A run at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunView {
    /// What it does: `new`, `initialising`, `selecting`, `pausing`, `collecting`, `aggregating`, `saving`,
    /// `finished`, `failed`, `stopped`.
    pub phase: String,
    /// Round at work, from 1; 0 before the first.
    pub round: u32,
    /// Rounds to complete.
    pub max_round_num: u32,
    /// Try of this round, from 1.
    pub attempt: u32,
    /// Train or evaluate part of it.
    pub kind: TaskKind,
    /// When it will act by itself.
    pub deadline: Option<Timestamp>,
    /// Members of the cohort who have not answered yet.
    pub awaited: Vec<ClientId>,
    /// Updates accepted in this attempt.
    pub accepted: u32,
    /// Updates refused in this attempt.
    pub refused: u32,
    /// Tasks failed in this attempt.
    pub failed: u32,
    /// The last accuracy that was measured.
    pub accuracy: Option<f64>,
    /// The newest global model.
    pub model: Option<BlobRef>,
    /// Of awaited clients that work from an older model: how many were made since.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub staleness: BTreeMap<ClientId, u32>,
}

impl RunMachine {
    /// The run as people see it.
    #[must_use]
    pub fn view(&self) -> RunView {
        let members = self.current_round().map(|round| round.members());
        let count = |is: fn(&MemberState) -> bool| {
            let number = members.iter().flat_map(|m| m.values()).filter(|state| is(state)).count();
            u32::try_from(number).unwrap_or(u32::MAX)
        };
        let current = self.current_round();
        let awaited = current.iter().flat_map(|r| r.members().keys().filter(|c| r.awaits(c)).cloned());
        let awaited: BTreeSet<ClientId> = awaited.chain(self.carried.tasks.keys().cloned()).collect();
        let begun = |client: &ClientId| match self.carried.tasks.get(client) {
            Some(sent) => Some(sent.begun.round),
            None => current.map(|round| round.key(client).round),
        };
        let behind = |client: &ClientId| begun(client).map_or(0, |begun| self.round.saturating_sub(begun));
        let staleness = awaited.iter().map(|client| (client.clone(), behind(client))).filter(|(_, s)| *s > 0).collect();
        let late = current.map_or(0, |round| round.late().len());
        RunView {
            phase: name(&self.phase).to_owned(),
            round: self.round,
            max_round_num: self.plan.max_round_num,
            attempt: self.attempt,
            kind: self.kind,
            deadline: self.deadline(),
            awaited: awaited.into_iter().collect(),
            accepted: count(|s| matches!(s, MemberState::Accepted { .. })) + u32::try_from(late).unwrap_or(u32::MAX),
            refused: count(|s| matches!(s, MemberState::Refused { .. })),
            failed: count(|s| matches!(s, MemberState::Failed { .. })),
            accuracy: self.evaluated.as_ref().map(|e| e.accuracy),
            model: self.model,
            staleness,
        }
    }
}

fn name(phase: &RunPhase) -> &'static str {
    match phase {
        RunPhase::New => "new",
        RunPhase::Initialising => "initialising",
        RunPhase::Selecting => "selecting",
        RunPhase::Pausing { .. } => "pausing",
        RunPhase::Collecting => "collecting",
        RunPhase::Aggregating { .. } => "aggregating",
        RunPhase::Saving { .. } => "saving",
        RunPhase::Finished { .. } => "finished",
        RunPhase::Failed { .. } => "failed",
        RunPhase::Stopped => "stopped",
    }
}
