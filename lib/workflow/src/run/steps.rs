//! The steps of a run and what follows each. Which input is stale was decided before (see `run`).

use super::late::Asking;
use super::message::Broadcast;
use super::{Evaluated, Member, RunEffect, RunMachine, RunPhase, blobs};
use crate::round::{RoundId, RoundInput, RoundMachine, RoundOutcome, RoundRules};
use nsfl_types::{BlobRef, ClientId, Code, Metrics, TaskKind, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

impl RunMachine {
    pub(super) fn begin(&mut self, now: Timestamp, initial: Option<BlobRef>, effects: &mut Vec<RunEffect>) {
        if self.phase != RunPhase::New {
            return;
        }
        self.phase = RunPhase::Initialising;
        match initial {
            Some(model) => self.model_ready(now, model, effects),
            None => effects.push(RunEffect::InitModel),
        }
    }

    pub(super) fn model_ready(&mut self, now: Timestamp, model: BlobRef, effects: &mut Vec<RunEffect>) {
        if self.phase == RunPhase::Initialising {
            self.model = Some(model);
            self.rule_state.advance();
            self.round = 1;
            self.select(now, TaskKind::Train, effects);
        }
    }

    /// There is no first model, or not what the job brings along. Trouble of the server's own is tried again after a pause, a
    /// few times; what the job's author has to repair fails at once.
    pub(super) fn not_begun(&mut self, now: Timestamp, code: Code, reason: String, effects: &mut Vec<RunEffect>) {
        if !is_own_trouble(code) {
            return self.fail(code, reason, effects);
        }
        self.failures += 1;
        // for room on a full disk it waits as long as it takes
        if self.failures < self.plan.retry.max_attempts || code == Code::DiskFull {
            let until = now.plus_ms(self.plan.retry.pause_ms(self.failures));
            self.phase = RunPhase::Pausing { until, for_clients: false };
        } else {
            let reason = format!("tried {} times, last: {reason}", self.failures);
            self.fail(code, reason, effects);
        }
    }

    /// What is due at `now`.
    pub(super) fn pass_time(&mut self, now: Timestamp, effects: &mut Vec<RunEffect>) {
        self.carried_expire(now, effects);
        match &mut self.phase {
            RunPhase::Pausing { until, .. } if *until <= now => self.try_again(now, effects),
            RunPhase::Collecting => self.in_round(now, RoundInput::Tick, effects),
            RunPhase::Aggregating { retry_at, .. } | RunPhase::Saving { retry_at, .. }
                if retry_at.is_some_and(|at| at <= now) =>
            {
                *retry_at = None;
                effects.extend(self.pending_step());
            }
            _ => {}
        }
        self.ask_when_due(now, effects);
    }

    /// Lets the opened round handle the input and goes on when that ended it.
    pub(super) fn in_round(&mut self, now: Timestamp, input: RoundInput, effects: &mut Vec<RunEffect>) {
        let Some(round) = &mut self.opened else { return };
        let is_word = !matches!(input, RoundInput::Tick | RoundInput::NoMore | RoundInput::Joined { .. });
        round.handle(now, input, effects);
        if self.phase != RunPhase::Collecting {
            return;
        }
        match (round.outcome().cloned(), self.kind) {
            (None, _) => {
                // whoever has answered may be free for another task
                if is_word {
                    self.ask_at_once(effects);
                }
                self.top_up(effects);
            }
            (Some(RoundOutcome::Complete), TaskKind::Train) => {
                self.phase = RunPhase::Aggregating { failures: 0, retry_at: None };
                if !self.plan.rounds.late.is_drop() {
                    self.carry(effects);
                }
                effects.extend(self.pending_step());
            }
            (Some(RoundOutcome::Complete), TaskKind::Evaluate) => {
                let accuracy = round.metrics().get("accuracy");
                self.evaluated =
                    accuracy.map(|accuracy| Evaluated { round: self.round, accuracy }).or(self.evaluated.take());
                self.close_round(RoundOutcome::Complete, None, effects);
                self.save(now, effects);
            }
            (Some(RoundOutcome::Failed { code, reason }), _) => {
                self.close_round(RoundOutcome::Failed { code, reason: reason.clone() }, None, effects);
                if self.plan.rounds.late_of(self.kind).is_drop() {
                    self.retire_updates(effects);
                } else {
                    self.carry(effects);
                }
                self.attempt_failed(now, code, &reason, effects);
            }
        }
    }

    pub(super) fn open_round(
        &mut self,
        now: Timestamp,
        clients: Vec<ClientId>,
        why: &str,
        effects: &mut Vec<RunEffect>,
    ) {
        let Some(base) = self.model else { return };
        let (round, attempt, kind, policy) = (self.round, self.attempt, self.kind, self.plan.rounds.clone());
        let except = self.except();
        let cohort: BTreeSet<ClientId> = clients.into_iter().filter(|client| !except.contains(client)).collect();
        let quorum = policy.quorum_of(kind);
        if cohort.len() + self.counted_already() < quorum as usize {
            return self.no_cohort(now, format!("{why}, quorum {quorum}"), effects);
        }
        let id = RoundId { job: self.plan.job.clone(), run: self.plan.run, round, attempt, kind };
        let rules = RoundRules {
            quorum,
            close_at_threshold: policy.closes_early(),
            deadline: now.plus_ms(policy.round_timeout_ms),
            late: policy.late_of(kind),
        };
        let carried = self.take_carried();
        let is_fed = !carried.updates.is_empty();
        self.opened = Some(RoundMachine::open_with(id, base, rules, cohort, carried, effects));
        self.phase = RunPhase::Collecting;
        self.asking = Asking::Idle;
        if is_fed || policy.is_buffer() {
            self.in_round(now, RoundInput::Tick, effects);
        }
    }

    /// Those whose tasks go on may be enough.
    pub(super) fn nobody_selected(&mut self, now: Timestamp, reason: String, effects: &mut Vec<RunEffect>) {
        if self.counted_already() >= self.plan.rounds.quorum_of(self.kind) as usize {
            self.open_round(now, Vec::new(), &reason, effects);
        } else {
            self.no_cohort(now, reason, effects);
        }
    }

    fn no_cohort(&mut self, now: Timestamp, reason: String, effects: &mut Vec<RunEffect>) {
        self.close_round(RoundOutcome::Failed { code: Code::NoClients, reason: reason.clone() }, None, effects);
        self.attempt_failed(now, Code::NoClients, &reason, effects);
    }

    /// Asked once a round, whatever its attempts.
    pub(super) fn broadcast(&mut self, round: u32, inputs: Option<BlobRef>, effects: &mut Vec<RunEffect>) {
        let before = self.broadcast.replace(Broadcast { round, inputs }).and_then(|before| before.inputs);
        let retired = before.filter(|before| Some(*before) != inputs);
        effects.extend(retired.map(|inputs| RunEffect::RetireInputs { inputs }));
    }

    pub(super) fn not_broadcast(&mut self, now: Timestamp, code: Code, reason: &str, effects: &mut Vec<RunEffect>) {
        self.close_round(RoundOutcome::Failed { code, reason: reason.to_owned() }, None, effects);
        self.attempt_failed(now, code, reason, effects);
    }

    pub(super) fn aggregated(&mut self, now: Timestamp, model: BlobRef, effects: &mut Vec<RunEffect>) {
        let previous = self.model.replace(model);
        self.close_round(RoundOutcome::Complete, Some(model), effects);
        self.retire_updates(effects);
        self.retire_bases(previous, effects);
        effects.extend(self.rule_state.advance().map(|state| RunEffect::RetireState { state }));
        if self.plan.evaluates(self.round) {
            self.select(now, TaskKind::Evaluate, effects);
        } else {
            self.save(now, effects);
        }
    }

    /// An aggregation or a checkpoint failed: the same again after a pause, a few times.
    pub(super) fn step_failed(&mut self, now: Timestamp, code: Code, reason: &str, effects: &mut Vec<RunEffect>) {
        // A stored update is damaged: only its client can make it again, and it makes the same. And what an extender made
        // of these updates it would make of them again.
        if matches!(code, Code::WrongDigest | Code::ExtenderFailed)
            && matches!(self.phase, RunPhase::Aggregating { .. })
        {
            self.give_up_round(now, code, reason, effects);
            return self.attempt_failed(now, code, reason, effects);
        }
        let (what, failures, retry_at) = match &mut self.phase {
            RunPhase::Aggregating { failures, retry_at } => ("aggregation", failures, retry_at),
            RunPhase::Saving { failures, retry_at } => ("checkpoint", failures, retry_at),
            _ => return,
        };
        *failures += 1;
        // for room on a full disk it waits as long as it takes
        if *failures < self.plan.retry.max_attempts || code == Code::DiskFull {
            *retry_at = Some(now.plus_ms(self.plan.retry.pause_ms(*failures)));
            return;
        }
        let reason = format!("the {what} of round {} failed {failures} times, last: {reason}", self.round);
        self.give_up_round(now, code, &reason, effects);
        self.fail(code, reason, effects);
    }

    pub(super) fn round_done(&mut self, now: Timestamp, effects: &mut Vec<RunEffect>) {
        effects.push(RunEffect::Progress { done: self.round, total: self.plan.max_round_num });
        match self.model {
            Some(model) if self.plan.is_last(self.round) => {
                self.end_carried(effects);
                self.phase = RunPhase::Finished { model };
                effects.extend(self.pending_step());
            }
            _ => {
                self.round += 1;
                self.select(now, TaskKind::Train, effects);
            }
        }
    }

    pub(super) fn fail(&mut self, code: Code, reason: String, effects: &mut Vec<RunEffect>) {
        self.end_carried(effects);
        self.phase = RunPhase::Failed { code, reason };
        effects.extend(self.pending_step());
    }

    pub(super) fn stop(&mut self, now: Timestamp, effects: &mut Vec<RunEffect>) {
        if self.is_over() {
            effects.extend(self.pending_step());
            return;
        }
        self.give_up_round(now, Code::Cancelled, "the job was stopped", effects);
        self.end_carried(effects);
        self.phase = RunPhase::Stopped;
        effects.extend(self.pending_step());
    }

    /// The effect whose answer, or whose effect on the job, the run waits for.
    pub(super) fn pending_step(&self) -> Option<RunEffect> {
        let (round, attempt, kind) = (self.round, self.attempt, self.kind);
        let accuracy = self.evaluated.as_ref().filter(|e| e.round == round).map(|e| e.accuracy);
        match &self.phase {
            RunPhase::New | RunPhase::Pausing { .. } | RunPhase::Collecting => None,
            RunPhase::Initialising => Some(RunEffect::InitModel),
            RunPhase::Selecting => {
                Some(RunEffect::SelectCohort { round, attempt, kind, count: self.wanted(), except: self.except() })
            }
            RunPhase::Aggregating { retry_at: Some(_), .. } | RunPhase::Saving { retry_at: Some(_), .. } => None,
            RunPhase::Aggregating { .. } => self.opened.as_ref().map(|opened| RunEffect::Aggregate {
                round,
                attempt,
                base: opened.base(),
                members: opened.accepted(),
            }),
            RunPhase::Saving { .. } => self.model.map(|model| RunEffect::SaveCheckpoint { round, model, accuracy }),
            RunPhase::Finished { model } => Some(RunEffect::Finished { model: *model, round, accuracy }),
            RunPhase::Failed { code, reason } => Some(RunEffect::Failed { code: *code, reason: reason.clone() }),
            RunPhase::Stopped => Some(RunEffect::Stopped),
        }
    }

    pub(super) fn try_again(&mut self, now: Timestamp, effects: &mut Vec<RunEffect>) {
        self.phase = if self.model.is_some() { RunPhase::Selecting } else { RunPhase::Initialising };
        if self.model.is_some() && self.wanted() == 0 {
            return self.open_round(now, Vec::new(), "nobody was asked", effects);
        }
        effects.extend(self.pending_step());
    }

    fn select(&mut self, now: Timestamp, kind: TaskKind, effects: &mut Vec<RunEffect>) {
        (self.kind, self.attempt, self.failures) = (kind, 1, 0);
        self.try_again(now, effects);
    }

    fn save(&mut self, now: Timestamp, effects: &mut Vec<RunEffect>) {
        if self.plan.saves(self.round) {
            self.phase = RunPhase::Saving { failures: 0, retry_at: None };
            effects.extend(self.pending_step());
        } else {
            self.round_done(now, effects);
        }
    }

    /// The next attempt after a pause. After the last one a train round ends the run and an evaluate round is skipped.
    /// Clients that are away are no fault of the job: a train round waits for them as long as it takes.
    fn attempt_failed(&mut self, now: Timestamp, code: Code, reason: &str, effects: &mut Vec<RunEffect>) {
        let for_clients = code == Code::NoClients && self.kind == TaskKind::Train;
        if !for_clients {
            self.failures += 1;
        }
        if for_clients || self.failures < self.plan.retry.max_attempts {
            let failed = if for_clients { self.attempt } else { self.failures };
            let until = now.plus_ms(self.plan.retry.pause_ms(failed));
            self.phase = RunPhase::Pausing { until, for_clients };
            self.attempt += 1;
        } else if self.kind == TaskKind::Evaluate {
            self.save(now, effects);
        } else {
            let reason = format!("round {} failed {} times, last: {reason}", self.round, self.failures);
            self.fail(code, reason, effects);
        }
    }

    /// Closes a round whose updates will not be summed, if there is one.
    fn give_up_round(&mut self, now: Timestamp, code: Code, reason: &str, effects: &mut Vec<RunEffect>) {
        if !matches!(self.phase, RunPhase::Collecting | RunPhase::Aggregating { .. }) {
            return;
        }
        if let Some(round) = &mut self.opened {
            round.handle(now, RoundInput::GiveUp { reason: reason.to_owned() }, effects);
        }
        self.close_round(RoundOutcome::Failed { code, reason: reason.to_owned() }, None, effects);
        self.retire_updates(effects);
    }

    fn close_round(&self, outcome: RoundOutcome, model: Option<BlobRef>, effects: &mut Vec<RunEffect>) {
        let (members, late, metrics) = match self.current_round() {
            Some(opened) => {
                let accepted = opened.accepted();
                let mut metrics = self.extended(opened.metrics(), model.is_some());
                metrics.0.extend(self.staleness(&accepted).map(|mean| ("staleness".to_owned(), mean)));
                let late = accepted.into_iter().filter(|member| member.begun.is_some()).collect();
                (opened.members().clone(), late, metrics)
            }
            None => (BTreeMap::new(), Vec::new(), Metrics::default()),
        };
        let (round, attempt, kind) = (self.round, self.attempt, self.kind);
        let goes_on = !self.plan.rounds.late_of(kind).is_drop();
        effects.push(RunEffect::RoundClosed { round, attempt, kind, outcome, members, late, goes_on, metrics, model });
    }

    /// The mean staleness of a round's updates, where it can be other than 0.
    fn staleness(&self, accepted: &[Member]) -> Option<f64> {
        let can_be = !self.plan.rounds.late_of(self.kind).is_drop() && !accepted.is_empty();
        let sum: f64 = accepted.iter().map(|member| f64::from(member.staleness)).sum();
        can_be.then(|| sum / f64::from(u32::try_from(accepted.len()).unwrap_or(u32::MAX)))
    }

    /// With what the extender says of a round that was summed.
    fn extended(&self, mut metrics: Metrics, summed: bool) -> Metrics {
        if let Some(extension) = self.extension.as_ref().filter(|extension| summed && extension.round == self.round) {
            metrics.0.extend(extension.metrics.0.clone());
        }
        metrics
    }

    /// Before the next tasks are sent: a task done again may give the same bytes, which must then stay.
    fn retire_updates(&self, effects: &mut Vec<RunEffect>) {
        let updates = self.opened.iter().flat_map(|round| blobs(round.id(), round.accepted()));
        effects.extend(updates.map(|(task, update)| RunEffect::RetireUpdate { task, update }));
    }
}

/// Whether the server itself is in trouble, and not what it was given wrong.
fn is_own_trouble(code: Code) -> bool {
    matches!(code, Code::Store | Code::DiskFull | Code::Internal | Code::WrongDigest | Code::TrainerStart)
}
