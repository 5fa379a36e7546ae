//! Carries out what the run machine asks for. Whatever takes time runs beside the actor and comes back as an input.

use crate::aggregator::{AggregatorMsg, Unfit};
use crate::audit::{self, KeptRound};
use crate::driver::{Coordinator, CoordinatorArgs, now};
use crate::extender::{Call, Combine, Combined, ExtenderMsg, Fault};
use crate::owners::Owners;
use crate::record::Recorder;
use crate::sum::{Order, Summed, numbers};
use crate::{Surroundings, init, output, packages, state};
use nsfl_actor::{Address, AskError, Context, Failure};
use nsfl_messages::wire::{Scripts, TaskCommand, TaskOrder};
use nsfl_messages::{CoordinatorMsg, GatewayMsg, RunEvent, SelectRequest, SelectorMsg};
use nsfl_store::{CheckpointRecord, Owner};
use nsfl_telemetry::{Stage, TraceContext};
use nsfl_types::{BlobRef, ClientId, Code, ExtenderSpec, OptimizerSpec, Refusal, TaskKey, TaskKind, seed_for};
use nsfl_workflow::{Member, Packages, RunEffect, RunInput, UpdateRef};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// How long the selector may take.
const ASK: Duration = Duration::from_secs(5);
/// How long checking or summing large updates may take.
const WORK: Duration = Duration::from_secs(3600);

impl Coordinator {
    pub(crate) fn carry_out(&mut self, effects: Vec<RunEffect>, ctx: &Context<CoordinatorMsg>) {
        for effect in effects {
            self.roll.see(&effect);
            self.spans.see(now(), &effect);
            match effect {
                RunEffect::InitModel => self.init_model(ctx),
                RunEffect::SelectCohort { round, attempt, kind, count, except } => {
                    self.select_cohort((round, attempt, kind), count, except, ctx);
                }
                RunEffect::SendTask { key, base } => self.send_task(key, base, ctx),
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
                RunEffect::RetireState { state } => self.release(state, self.owners.states.clone(), ctx),
                RunEffect::RetireUpdate { task, update } => {
                    if let Ok(owner) = self.owners.of_update(&task) {
                        self.release(update, owner, ctx);
                    }
                }
                RunEffect::RetireInputs { inputs } => self.release(inputs, self.owners.inputs.clone(), ctx),
                RunEffect::Progress { done, total } => self.announce(RunEvent::Progress { done, total }, ctx),
                RunEffect::Finished { .. } => self.end(RunEvent::Finished, ctx),
                RunEffect::Failed { code, reason } => self.end(RunEvent::Failed { code, reason }, ctx),
                RunEffect::Stopped => self.end(RunEvent::Stopped, ctx),
                RunEffect::RoundOpened { kind, clients, .. } => {
                    tracing::info!(?kind, cohort = clients.len(), "round opened");
                }
                RunEffect::RoundClosed { kind, outcome, .. } => tracing::info!(?kind, ?outcome, "round closed"),
                RunEffect::MemberChanged { .. } => {}
                RunEffect::PastTask { key, brings } => self.to_client(match (self.roll.is_last(&key), brings) {
                    (true, _) => TaskCommand::Ack { key },
                    (false, true) => {
                        let reason = "the round is closed".to_owned();
                        TaskCommand::Refuse { key, code: Code::Late, reason }
                    }
                    (false, false) => TaskCommand::Cancel { key },
                }),
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
        let owner = self.owners.of_update(&key);
        // what its staleness will be is for the machine to say
        let (weight, extra, numbers) = (update.weight, update.extra, numbers(update.metrics.clone(), 0));
        let accept = Stage::begin("accept", TraceContext::of_task(&key));
        let question = async move {
            let owner = match owner {
                Ok(owner) => owner,
                Err(error) => return Ok(Err(Unfit::Unjudged(Refusal::new(Code::Internal, error.to_string())))),
            };
            let check = |reply| AggregatorMsg::Check { base, update: blob, extra, weight, numbers, owner, reply };
            let verdict = aggregator.ask(WORK, check).await;
            match &verdict {
                Ok(Ok(())) => accept.done(),
                Ok(Err(Unfit::Refused(refusal) | Unfit::Unjudged(refusal))) => accept.failed(refusal),
                Err(error) => accept.failed(error),
            }
            verdict
        };
        ctx.spawn(question, move |verdict| match verdict {
            Ok(Ok(Ok(()))) => CoordinatorMsg::Input(RunInput::UpdateStored { key, update }),
            Ok(Ok(Err(Unfit::Refused(Refusal { code, reason })))) => {
                CoordinatorMsg::Input(RunInput::UpdateRefused { key, code, reason })
            }
            // The update is not to blame.
            Ok(Ok(Err(Unfit::Unjudged(Refusal { code, reason })))) => unjudged(key, code, reason),
            Ok(Err(error)) => unjudged(key, Code::Internal, unanswered("aggregator", &error)),
            Err(failure) => unjudged(key, Code::Internal, failure.to_string()),
        });
    }

    /// The model, and before it what the job brings along.
    fn init_model(&self, ctx: &Context<CoordinatorMsg>) {
        let (args, owners) = (self.args.clone(), self.owners.clone());
        let work = async move {
            let packages = match packages::packages(&args, &owners).await {
                Ok(packages) => packages,
                Err(Refusal { code, reason }) => return vec![RunInput::PackFailed { code, reason }],
            };
            let packed = Some(packages).filter(|packages| *packages != Packages::default());
            let begun = match begun(args, owners).await {
                Ok(begun) => begun,
                Err(Refusal { code, reason }) => vec![RunInput::ModelFailed { code, reason }],
            };
            packed.map(|packages| RunInput::Packed { packages }).into_iter().chain(begun).collect()
        };
        ctx.spawn(work, |inputs| CoordinatorMsg::Inputs {
            inputs: inputs.unwrap_or_else(|failure| {
                vec![RunInput::ModelFailed { code: Code::Internal, reason: failure.to_string() }]
            }),
            cause: None,
        });
    }

    /// Asks for clients and, once a train round, the extender for what to send along.
    fn select_cohort(
        &self,
        (round, attempt, kind): (u32, u32, TaskKind),
        count: u32,
        except: BTreeSet<ClientId>,
        ctx: &Context<CoordinatorMsg>,
    ) {
        let spec = self.args.run.spec.clone();
        let seed = seed_for(spec.seed, &["cohort", &round.to_string()]);
        let request = SelectRequest { spec, count, except, used: self.roll.used.clone(), seed };
        let selector = self.args.surroundings.selector.clone();
        let broadcast = self.broadcast(round, kind);
        let select = Stage::begin("select", self.spans.round(round)).with("attempt", i64::from(attempt));
        let question = async move {
            let chosen = match selector.ask(ASK, |reply| SelectorMsg::Select { request, reply }).await {
                Ok(cohort) if !cohort.clients.is_empty() => Ok(cohort),
                Ok(_) => Err("no client fits the job".to_owned()),
                Err(error) => Err(unanswered("selector", &error)),
            };
            select.ended(&chosen);
            let cohort = match chosen {
                Ok(cohort) => cohort,
                Err(reason) => return (vec![RunInput::NoCohort { round, attempt, kind, reason }], None),
            };
            let selected = RunInput::CohortSelected { round, attempt, kind, clients: cohort.clients };
            let Some(broadcast) = broadcast else { return (vec![selected], None) };
            match broadcast.await {
                Ok(inputs) => (vec![RunInput::Broadcast { round, attempt, inputs }, selected], None),
                Err(Fault { refusal: Refusal { code, reason }, cause }) => {
                    (vec![RunInput::BroadcastFailed { round, attempt, code, reason }], cause)
                }
            }
        };
        ctx.spawn(question, move |answer| {
            let (inputs, cause) = answer.unwrap_or_else(|failure| {
                (vec![RunInput::NoCohort { round, attempt, kind, reason: failure.to_string() }], None)
            });
            CoordinatorMsg::Inputs { inputs, cause }
        });
    }

    /// The extender's word before a train round, if it has one and was not asked yet.
    fn broadcast(
        &self,
        round: u32,
        kind: TaskKind,
    ) -> Option<impl Future<Output = Result<Option<BlobRef>, Fault>> + Send + use<>> {
        let spec = &self.args.run.spec;
        let asked = kind == TaskKind::Evaluate || self.machine.has_broadcast(round);
        if asked || !spec.extender.as_ref()?.broadcasts() {
            return None;
        }
        let (extender, call) = self.call(round, "broadcast", self.owners.inputs.clone())?;
        let mut params = spec.parameters.clone();
        if let Some(Ok(kept)) = self.machine.kept_parameters().map(serde_json::from_str::<Map<String, Value>>) {
            params.extend(kept);
        }
        params.insert("round".to_owned(), round.into());
        Some(async move { said(extender.ask(WORK, |reply| ExtenderMsg::Broadcast { call, params, reply }).await) })
    }

    /// The extender and what each call of it needs.
    fn call(&self, round: u32, what: &str, owner: Owner) -> Option<(Address<ExtenderMsg>, Call)> {
        let extender = self.args.extender.clone()?;
        let package = self.machine.packages().extender?;
        let seed = seed_for(self.args.run.spec.seed, &["extender", what, &round.to_string()]);
        Some((extender, Call { package, round, seed, owner }))
    }

    pub(crate) fn send_task(&self, key: TaskKey, base: BlobRef, ctx: &Context<CoordinatorMsg>) {
        let spec = &self.args.run.spec;
        let mut order = TaskOrder {
            base,
            runtime: spec.runtime,
            task_entry: spec.task_entry.clone(),
            scripts: spec
                .scripts
                .as_ref()
                .zip(self.machine.packages().scripts)
                .map(|(scripts, package)| Scripts { package, config_file: scripts.config_file.clone() }),
            inputs: self.machine.inputs(key.round),
            author: self.args.run.author.clone(),
            optimizer: spec.optimizer.as_ref().map(|optimizer| optimizer.to_json().to_string()),
            compression: self.traffic.of_order(&key, self.roll.last_of(&key.client)),
            parameters: serde_json::to_string(&spec.parameters).expect("a JSON map can be written"),
            datasets: spec.datasets.clone(),
            resource: spec.resource.clone(),
            seed: key.seed(spec.seed),
            timeout_ms: self.machine.plan().rounds.task_timeout_ms(),
            key,
        };
        let Some(sent) = self.traffic.sent.clone() else { return self.to_client(TaskCommand::Run(order.into())) };
        let Surroundings { blobs, gateway, .. } = self.args.surroundings.clone();
        let owner = self.owners.models.clone();
        ctx.run(async move {
            order.base = sent.of(&blobs, base, &owner).await;
            tell_client(&gateway, TaskCommand::Run(order.into()));
        });
    }

    fn to_client(&self, command: TaskCommand) {
        tell_client(&self.args.surroundings.gateway, command);
    }

    /// N, all clients of the job: those it names, or all it has used.
    fn clients(&self) -> usize {
        let named = &self.args.run.spec.clients;
        if named.is_empty() { self.roll.used.len() } else { named.len() }
    }

    /// The rule first, then the extender over the same updates, if the job has one.
    fn aggregate(&self, round: u32, attempt: u32, base: BlobRef, members: Vec<Member>, ctx: &Context<CoordinatorMsg>) {
        let CoordinatorArgs { run, surroundings, aggregator, .. } = self.args.clone();
        let (owners, blobs) = (self.owners.clone(), surroundings.blobs.clone());
        let combines = run.spec.extender.as_ref().is_some_and(ExtenderSpec::combines);
        let extender = self.call(round, "combine", owners.models.clone()).filter(|_| combines);
        let state = self.machine.rule_state();
        let order = Order {
            round,
            base,
            state,
            members: members.clone(),
            clients: self.clients().max(members.len()),
            seed: seed_for(run.spec.seed, &["aggregate", &round.to_string()]),
            models: owners.models.clone(),
            states: owners.states.clone(),
        };
        let sum = Stage::begin("aggregate", self.spans.attempt(round, attempt, TaskKind::Train));
        let question = async move {
            let asked = aggregator.ask(WORK, |reply| AggregatorMsg::Aggregate { order: order.clone(), reply }).await;
            let summed = answered(Ok(asked))?;
            audit::keep(&surroundings, &run, &KeptRound::new(&order, &summed)).await;
            let Some((extender, call)) = extender else { return Ok((summed, None)) };
            let Summed { model: result, state: kept } = summed;
            let combine = Combine { base, members, result };
            let combined = said(extender.ask(WORK, |reply| ExtenderMsg::Combine { call, combine, reply }).await);
            let next = combined.as_ref().ok().map(|combined| combined.model.unwrap_or(result));
            // what the rule made, if it is not what to go on with
            let model = Some(result).filter(|_| next != Some(result) && result != base);
            let unused = kept.filter(|_| next.is_none() && kept != state);
            let left = model.map(|blob| (blob, &owners.models)).into_iter();
            for (blob, owner) in left.chain(unused.map(|blob| (blob, &owners.states))) {
                if let Err(error) = blobs.release(blob.digest, owner).await {
                    tracing::warn!(%error, digest = %blob.digest, "blob not released");
                }
            }
            let combined = combined?;
            Ok((Summed { model: combined.model.unwrap_or(result), state: kept }, Some(combined)))
        };
        ctx.spawn(sum.over(question), move |answer: Result<Result<(Summed, Option<Combined>), Fault>, Failure>| {
            let answer = answer.unwrap_or_else(|failure| internal(failure).map_err(Fault::from));
            let (inputs, cause) = match answer {
                Ok((Summed { model, state }, combined)) => {
                    let extended = combined.map(|Combined { parameters, metrics, .. }| RunInput::Extended {
                        round,
                        attempt,
                        parameters,
                        metrics,
                    });
                    let kept = state.map(|state| RunInput::StateKept { round, attempt, state });
                    let summed = RunInput::Aggregated { round, attempt, model };
                    (extended.into_iter().chain(kept).chain([summed]).collect(), None)
                }
                Err(Fault { refusal: Refusal { code, reason }, cause }) => {
                    (vec![RunInput::AggregateFailed { round, attempt, code, reason }], cause)
                }
            };
            CoordinatorMsg::Inputs { inputs, cause }
        });
    }

    fn save_checkpoint(&mut self, round: u32, model: BlobRef, accuracy: Option<f64>, ctx: &Context<CoordinatorMsg>) {
        let run = &self.args.run;
        let (id, file) = Recorder::checkpoint_name(run.run, round);
        let path = format!("{}/{file}", output::folder(&run.spec, run.run));
        let record = CheckpointRecord { job: run.key.clone(), id, run: run.run, round, accuracy, path, model };
        let content = Arc::new(OnceLock::new());
        self.recorder.saving(record.clone(), Arc::clone(&content));
        let scaffold = run.spec.optimizer.as_ref().is_some_and(OptimizerSpec::is_scaffold);
        let strip = scaffold.then(|| self.owners.models.clone());
        let state = self.machine.rule_state();
        let saving = Stage::begin("checkpoint", self.spans.round(round));
        let work = saving.over(output::save(self.args.surroundings.clone(), record, state, strip, content));
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

/// A prompt: when it does not arrive, the client's next inventory makes up for it.
fn tell_client(gateway: &Address<GatewayMsg>, command: TaskCommand) {
    let TaskKey { client, job, .. } = command.key().clone();
    if let Err(error) = gateway.try_tell(GatewayMsg::ToClient { client, command }) {
        tracing::warn!(%job, %error, "command for a client dropped");
    }
}

/// The first model, and what its rule kept beside it.
async fn begun(args: CoordinatorArgs, owners: Owners) -> Result<Vec<RunInput>, Refusal> {
    let model = init::initial_model(args.clone(), owners.models).await?;
    let kept = state::of_checkpoint(args, model, owners.states).await?;
    let kept = kept.map(|state| RunInput::StateKept { round: 0, attempt: 1, state });
    Ok(kept.into_iter().chain([RunInput::ModelReady { model }]).collect())
}

fn unjudged(task: TaskKey, code: Code, reason: String) -> CoordinatorMsg {
    tracing::warn!(%task, %code, reason, "update not judged");
    CoordinatorMsg::Unjudged { task, code, reason }
}

fn unanswered(who: &str, error: &AskError) -> String {
    format!("the {who} did not answer: {error}")
}

fn internal<T>(failure: Failure) -> Result<T, Refusal> {
    Err(Refusal::new(Code::Internal, failure.to_string()))
}

/// The extender's answer, or its silence as a failure of the job's: its actor ends only with the coordinator's.
fn said<T>(answer: Result<Result<T, Fault>, AskError>) -> Result<T, Fault> {
    answer.unwrap_or_else(|error| Err(Refusal::new(Code::Internal, unanswered("extender", &error)).into()))
}

/// The aggregator's answer, or its silence as a refusal by our own fault.
fn answered<T>(answer: Result<Result<Result<T, Refusal>, AskError>, Failure>) -> Result<T, Refusal> {
    match answer {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => Err(Refusal::new(Code::Internal, unanswered("aggregator", &error))),
        Err(failure) => internal(failure),
    }
}
