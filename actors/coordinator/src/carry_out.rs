//! Carries out what the run machine asks for. Whatever takes time runs beside the actor and comes back as an input.

use crate::aggregator::AggregatorMsg;
use crate::driver::Coordinator;
use crate::record::Recorder;
use crate::{init, output};
use nsfl_actor::{AskError, Context, Failure};
use nsfl_messages::wire::{TaskCommand, TaskOrder};
use nsfl_messages::{CoordinatorMsg, GatewayMsg, RunEvent, SelectRequest, SelectorMsg};
use nsfl_store::{CheckpointRecord, Owner};
use nsfl_types::{BlobRef, Code, Refusal, TaskKey, TaskKind, seed_for};
use nsfl_workflow::{Member, RunEffect, RunInput, UpdateRef};
use std::time::Duration;

/// How long the selector may take.
const ASK: Duration = Duration::from_secs(5);
/// How long checking or summing large updates may take.
const WORK: Duration = Duration::from_secs(3600);

impl Coordinator {
    pub(crate) fn carry_out(&mut self, effects: Vec<RunEffect>, ctx: &Context<CoordinatorMsg>) {
        for effect in effects {
            match effect {
                RunEffect::InitModel => self.init_model(ctx),
                RunEffect::SelectCohort { round, attempt, kind, count } => {
                    self.select_cohort(round, attempt, kind, count, ctx);
                }
                RunEffect::SendTask { key, base } => self.send_task(key, base),
                RunEffect::CancelTask { key } => self.to_client(TaskCommand::Cancel { key }),
                RunEffect::AckUpdate { key } => self.to_client(TaskCommand::Ack { key }),
                RunEffect::RefuseUpdate { key, code, reason } => {
                    self.to_client(TaskCommand::Refuse { key, code, reason });
                }
                RunEffect::Aggregate { round, attempt, base, members } => {
                    self.aggregate(round, attempt, base, members, ctx);
                }
                RunEffect::SaveCheckpoint { round, model, accuracy } => {
                    self.save_checkpoint(round, model, accuracy, ctx);
                }
                RunEffect::RetireModel { model } => self.release(model, self.owners.models.clone(), ctx),
                RunEffect::RetireUpdate { update } => self.release(update, self.owners.updates.clone(), ctx),
                RunEffect::Progress { done, total } => self.announce(RunEvent::Progress { done, total }, ctx),
                RunEffect::Finished { .. } => self.end(RunEvent::Finished, ctx),
                RunEffect::Failed { code, reason } => self.end(RunEvent::Failed { code, reason }, ctx),
                RunEffect::Stopped => self.end(RunEvent::Stopped, ctx),
                RunEffect::RoundOpened { kind, clients, .. } => {
                    tracing::info!(?kind, cohort = clients.len(), "round opened");
                    self.used.extend(clients);
                }
                RunEffect::RoundClosed { kind, outcome, .. } => tracing::info!(?kind, ?outcome, "round closed"),
                RunEffect::MemberChanged { .. } => {}
            }
        }
    }

    /// Has the aggregator look at an update; its verdict comes back as an input.
    pub(crate) fn check_update(
        &self,
        key: TaskKey,
        base: BlobRef,
        blob: BlobRef,
        update: UpdateRef,
        ctx: &Context<CoordinatorMsg>,
    ) {
        let aggregator = self.args.aggregator.clone();
        let owner = self.owners.updates.clone();
        let weight = update.weight;
        let question = async move {
            aggregator.ask(WORK, |reply| AggregatorMsg::Check { base, update: blob, weight, owner, reply }).await
        };
        ctx.spawn(question, move |verdict| {
            CoordinatorMsg::Input(match verdict {
                Ok(Ok(Ok(()))) => RunInput::UpdateStored { key, update },
                Ok(Ok(Err(Refusal { code, reason }))) => RunInput::UpdateRefused { key, code, reason },
                // The aggregator died: both start again, and the client is asked again. Its update is not to blame.
                Ok(Err(error)) => unjudged(&key, &error.to_string()),
                Err(failure) => unjudged(&key, &failure.to_string()),
            })
        });
    }

    fn init_model(&self, ctx: &Context<CoordinatorMsg>) {
        let work = init::initial_model(self.args.clone(), self.owners.models.clone());
        ctx.spawn(work, |model| {
            CoordinatorMsg::Input(match model.unwrap_or_else(internal) {
                Ok(model) => RunInput::ModelReady { model },
                Err(Refusal { code, reason }) => RunInput::ModelFailed { code, reason },
            })
        });
    }

    fn select_cohort(&self, round: u32, attempt: u32, kind: TaskKind, count: u32, ctx: &Context<CoordinatorMsg>) {
        let spec = self.args.run.spec.clone();
        let seed = seed_for(spec.seed, &["cohort", &round.to_string()]);
        let request = SelectRequest { spec, count, used: self.used.clone(), seed };
        let selector = self.args.surroundings.selector.clone();
        let question = async move { selector.ask(ASK, |reply| SelectorMsg::Select { request, reply }).await };
        ctx.spawn(question, move |answer| {
            CoordinatorMsg::Input(match answer {
                Ok(Ok(cohort)) if !cohort.clients.is_empty() => {
                    RunInput::CohortSelected { round, attempt, kind, clients: cohort.clients }
                }
                Ok(Ok(_)) => RunInput::NoCohort { round, attempt, kind, reason: "no client fits the job".into() },
                Ok(Err(error)) => RunInput::NoCohort { round, attempt, kind, reason: unanswered("selector", &error) },
                Err(failure) => RunInput::NoCohort { round, attempt, kind, reason: failure.to_string() },
            })
        });
    }

    fn send_task(&self, key: TaskKey, base: BlobRef) {
        let spec = &self.args.run.spec;
        let order = TaskOrder {
            base,
            runtime: spec.runtime,
            task_entry: spec.task_entry.clone(),
            scripts: None,
            inputs: None,
            author: String::new(),
            optimizer: None,
            parameters: serde_json::to_string(&spec.parameters).expect("a JSON map can be written"),
            datasets: spec.datasets.clone(),
            resource: spec.resource.clone(),
            seed: key.seed(spec.seed),
            timeout_ms: spec.hyper.round_timeout_ms,
            key,
        };
        self.to_client(TaskCommand::Run(order.into()));
    }

    /// A prompt: when it does not arrive, the client's next inventory makes up for it.
    fn to_client(&self, command: TaskCommand) {
        let client = match &command {
            TaskCommand::Run(order) => order.key.client.clone(),
            TaskCommand::Cancel { key } | TaskCommand::Ack { key } | TaskCommand::Refuse { key, .. } => {
                key.client.clone()
            }
        };
        if let Err(error) = self.args.surroundings.gateway.try_tell(GatewayMsg::ToClient { client, command }) {
            tracing::warn!(job = %self.args.run.key, %error, "command for a client dropped");
        }
    }

    fn aggregate(&self, round: u32, attempt: u32, base: BlobRef, members: Vec<Member>, ctx: &Context<CoordinatorMsg>) {
        let aggregator = self.args.aggregator.clone();
        let owner = self.owners.models.clone();
        let spec = &self.args.run.spec;
        let (uniform, learning_rate) = (spec.aggregator.uniform, spec.hyper.learning_rate);
        let members = members.into_iter().filter_map(|m| m.update.blob.map(|blob| (blob, m.update.weight))).collect();
        let question = async move {
            let order = |reply| AggregatorMsg::Aggregate { base, members, uniform, learning_rate, owner, reply };
            aggregator.ask(WORK, order).await
        };
        ctx.spawn(question, move |answer| {
            CoordinatorMsg::Input(match answered(answer) {
                Ok(model) => RunInput::Aggregated { round, attempt, model },
                Err(Refusal { code, reason }) => RunInput::AggregateFailed { round, attempt, code, reason },
            })
        });
    }

    fn save_checkpoint(&mut self, round: u32, model: BlobRef, accuracy: Option<f64>, ctx: &Context<CoordinatorMsg>) {
        let run = &self.args.run;
        let (id, file) = Recorder::checkpoint_name(run.run, round);
        let path = format!("{}/{file}", output::folder(&run.spec, run.run));
        let record = CheckpointRecord { job: run.key.clone(), id, run: run.run, round, accuracy, path, model };
        self.recorder.saving(record.clone());
        let work = output::save(self.args.surroundings.clone(), record);
        ctx.spawn(work, move |saved| {
            CoordinatorMsg::Input(match saved.unwrap_or_else(internal) {
                Ok(()) => RunInput::CheckpointSaved { round },
                Err(Refusal { code, reason }) => RunInput::CheckpointFailed { round, code, reason },
            })
        });
    }

    /// Nothing depends on a release: what stays is released with the run.
    fn release(&self, blob: BlobRef, owner: Owner, ctx: &Context<CoordinatorMsg>) {
        let blobs = self.args.surroundings.blobs.clone();
        ctx.run(async move {
            if let Err(error) = blobs.release(blob.digest, &owner).await {
                tracing::warn!(%error, digest = %blob.digest, "blob not released");
            }
        });
    }

    /// The run is over: its blobs go (checkpoints are files of their own), the scheduler hears of it.
    fn end(&self, event: RunEvent, ctx: &Context<CoordinatorMsg>) {
        let (blobs, owner) = (self.args.surroundings.blobs.clone(), self.owners.run.clone());
        ctx.run(async move {
            if let Err(error) = blobs.release_all(&owner).await {
                tracing::warn!(%error, %owner, "run's blobs not released");
            }
        });
        self.announce(event, ctx);
    }
}

fn unjudged(task: &TaskKey, error: &str) -> RunInput {
    tracing::warn!(%task, error, "update not judged");
    RunInput::Tick
}

fn unanswered(who: &str, error: &AskError) -> String {
    format!("the {who} did not answer: {error}")
}

fn internal<T>(failure: Failure) -> Result<T, Refusal> {
    Err(Refusal::new(Code::Internal, failure.to_string()))
}

/// The aggregator's answer, or its silence as a refusal by our own fault.
fn answered<T>(answer: Result<Result<Result<T, Refusal>, AskError>, Failure>) -> Result<T, Refusal> {
    match answer {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => Err(Refusal::new(Code::Internal, unanswered("aggregator", &error))),
        Err(failure) => internal(failure),
    }
}
