//! What a collector is told of a run's rounds: what has begun, until it ends. Read off the effects of the run machine; what takes
//! time beside the actor tells its own end. A coordinator that was started again takes up what the store knows.

use crate::driver::CoordinatorArgs;
use nsfl_actor::Failure;
use nsfl_messages::JobRun;
use nsfl_store::MemberState as Stored;
use nsfl_telemetry::{Stage, TraceContext, is_traced};
use nsfl_types::{ClientId, JobKey, TaskKey, TaskKind, Timestamp};
use nsfl_workflow::{MemberState, RoundOutcome, RunEffect};
use std::collections::BTreeMap;

/// Of one run.
pub(crate) struct Spans {
    job: JobKey,
    run: u32,
    round: Option<(u32, Timestamp)>,
    attempt: Option<((u32, u32, TaskKind), Timestamp)>,
    tasks: BTreeMap<TaskKey, Timestamp>,
}

impl Spans {
    pub(crate) async fn of(args: &CoordinatorArgs) -> Result<Self, Failure> {
        let JobRun { key: job, run, .. } = args.run.clone();
        let mut spans = Self { job, run, round: None, attempt: None, tasks: BTreeMap::new() };
        if !is_traced() {
            return Ok(spans);
        }
        let rounds = args.surroundings.store.rounds(&spans.job, run).await?;
        if let Some(newest) = rounds.iter().map(|round| round.round).max() {
            let of_it = || rounds.iter().filter(|round| round.round == newest);
            spans.round = of_it().map(|round| round.opened).min().map(|opened| (newest, opened));
            let open = of_it().find(|round| round.closed.is_none());
            spans.attempt = open.map(|round| ((round.round, round.attempt, round.kind), round.opened));
            for member in args.surroundings.store.members(&spans.job, run, newest).await? {
                if matches!(member.state, Stored::Invited | Stored::Started) {
                    spans.tasks.insert(member.task, member.at);
                }
            }
        }
        Ok(spans)
    }

    /// Where a round stands in its trace.
    pub(crate) fn round(&self, round: u32) -> TraceContext {
        TraceContext::of_round(&self.job, self.run, round)
    }

    /// Where an attempt at one of its parts stands.
    pub(crate) fn attempt(&self, round: u32, attempt: u32, kind: TaskKind) -> TraceContext {
        TraceContext::of_attempt(&self.job, self.run, round, attempt, kind)
    }

    /// An effect that is carried out now.
    pub(crate) fn see(&mut self, at: Timestamp, effect: &RunEffect) {
        if !is_traced() {
            return;
        }
        match effect {
            RunEffect::SelectCohort { round, .. } if self.round.is_none_or(|(known, _)| known != *round) => {
                self.round = Some((*round, at));
            }
            RunEffect::RoundOpened { round, attempt, kind, clients, .. } => {
                let name = (*round, *attempt, *kind);
                self.attempt = Some((name, at));
                let task = |client: &ClientId| self.task(name, client.clone());
                let sent: Vec<_> = clients.iter().map(|client| (task(client), at)).collect();
                self.tasks.extend(sent);
            }
            RunEffect::MemberChanged { key, state: MemberState::Invited } => _ = self.tasks.insert(key.clone(), at),
            RunEffect::MemberChanged { key, state } => self.answered(key, state),
            RunEffect::RoundClosed { round, attempt, kind, outcome, members, late, goes_on, .. } => {
                let silent = members.iter().filter(|(_, state)| state.is_awaited() && !goes_on);
                for (client, _) in silent {
                    if let Some(task) = self.begun(&self.task((*round, *attempt, *kind), client.clone())) {
                        task.failed("silent at the deadline");
                    }
                }
                let accepted = members.values().filter(|state| matches!(state, MemberState::Accepted { .. })).count();
                self.closed((*round, *attempt, *kind), outcome, accepted + late.len());
            }
            RunEffect::Progress { done, .. } => self.over(*done, Ok(())),
            RunEffect::Failed { reason, .. } => self.ended(reason),
            RunEffect::Stopped => self.ended("the job was stopped"),
            RunEffect::Finished { .. } => self.tasks.clear(),
            _ => {}
        }
    }

    fn task(&self, (round, attempt, kind): (u32, u32, TaskKind), client: ClientId) -> TaskKey {
        TaskKey { job: self.job.clone(), run: self.run, round, attempt, kind, client }
    }

    /// The task, which is over.
    fn begun(&mut self, key: &TaskKey) -> Option<Stage> {
        let began = self.tasks.remove(key)?;
        let place = TraceContext::of_task(key);
        let parent = self.attempt(key.round, key.attempt, key.kind);
        Some(Stage::at("task", place, Some(parent), began.0).with("client", key.client.to_string()))
    }

    fn answered(&mut self, key: &TaskKey, state: &MemberState) {
        if state.is_awaited() {
            return;
        }
        let Some(task) = self.begun(key) else { return };
        match state {
            MemberState::Refused { code, reason }
            | MemberState::Failed { code, reason }
            | MemberState::Silent { code, reason } => task.failed(format!("{code}: {reason}")),
            _ => task.done(),
        }
    }

    fn closed(&mut self, name: (u32, u32, TaskKind), outcome: &RoundOutcome, accepted: usize) {
        let Some((_, opened)) = self.attempt.take_if(|(of, _)| *of == name) else { return };
        let (round, attempt, kind) = name;
        let part = if kind == TaskKind::Train { "train" } else { "evaluate" };
        let work = Stage::at(part, self.attempt(round, attempt, kind), Some(self.round(round)), opened.0)
            .with("attempt", i64::from(attempt))
            .with("accepted", i64::try_from(accepted).unwrap_or(i64::MAX));
        match outcome {
            RoundOutcome::Complete => work.done(),
            RoundOutcome::Failed { code, reason } => work.failed(format!("{code}: {reason}")),
        }
    }

    /// The first round is in the trace of what had it begin, the others are linked to it.
    fn over(&mut self, round: u32, result: Result<(), &str>) {
        let Some((_, began)) = self.round.take_if(|(of, _)| *of == round) else { return };
        let (place, cause) = (self.round(round), TraceContext::of_submission(&self.job, self.run));
        let parent = Some(cause).filter(|_| round == 1);
        let work = Stage::at("round", place, parent, began.0)
            .with("job", self.job.to_string())
            .with("run", i64::from(self.run))
            .with("round", i64::from(round));
        let work = if round == 1 { work } else { work.follows(cause) };
        work.ended(&result);
    }

    fn ended(&mut self, why: &str) {
        self.tasks.clear();
        if let Some((round, _)) = self.round {
            self.over(round, Err(why));
        }
    }
}
