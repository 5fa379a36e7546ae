//! The aggregator of one job: judges updates when they arrive and has the next model made when a round closes (`sum.rs`).
//! Keeps nothing: a result is a function of the member set over stored, memory-mapped updates, whoever computes it.

use crate::sum::{self, Order, Summed, Tools};
use nsfl_actor::{Context, Failure, Next, Reply, Role};
use nsfl_aggregate::{Aggregation, Rules, check_weight};
use nsfl_compress::{CompressError, Update};
use nsfl_fault_point::Step;
use nsfl_package::Limits;
use nsfl_store::{BlobStore, Owner, StoreError};
use nsfl_tensor::{TensorError, UpdateFacts, WeightsView};
use nsfl_types::{BlobRef, Code, Coding, Digest, JobSpec, Metrics, Refusal};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tokio::sync::Semaphore;

#[derive(Clone)]
pub(crate) struct AggregatorArgs {
    pub(crate) blobs: Arc<dyn BlobStore>,
    /// The job, whose rule it applies.
    pub(crate) spec: Arc<JobSpec>,
    /// The rules there are.
    pub(crate) rules: Rules,
    /// Bytes that making a model may take beside the updates.
    pub(crate) memory: usize,
    /// Folder for what a rule keeps, while it is written.
    pub(crate) scratch: PathBuf,
}

#[derive(Debug)]
pub(crate) enum AggregatorMsg {
    /// Judge an update to `base`; keep it, and what came with it, under `owner` when it is good.
    Check {
        base: BlobRef,
        update: BlobRef,
        extra: Option<BlobRef>,
        weight: f64,
        /// What the rule may ask for.
        numbers: Metrics,
        owner: Owner,
        reply: Reply<Result<(), Unfit>>,
    },
    /// Make the next model and what goes with it.
    Aggregate { order: Order, reply: Reply<Result<Summed, Refusal>> },
}

/// Why an update does not count, or not yet.
#[derive(Debug)]
pub(crate) enum Unfit {
    /// It is no update to the base: that is final.
    Refused(Refusal),
    /// The server could not look at it. It is not to blame.
    Unjudged(Refusal),
}

impl Unfit {
    pub(crate) fn into_refusal(self) -> Refusal {
        match self {
            Unfit::Refused(refusal) | Unfit::Unjudged(refusal) => refusal,
        }
    }
}

pub(crate) struct Aggregator {
    aggregation: Arc<Aggregation>,
    tools: Tools,
    /// Updates judged at the same time: each walks a whole update.
    judges: Arc<Semaphore>,
    checked: u64,
    aggregated: u64,
}

/// Facts of updates judged since the last aggregation. Lost with a restart and then computed again.
pub(crate) type Facts = Arc<Mutex<BTreeMap<Digest, UpdateFacts>>>;

const JUDGES: usize = 1;
impl Role for Aggregator {
    type Msg = AggregatorMsg;
    type Args = AggregatorArgs;
    const KIND: &'static str = "aggregator";

    async fn start(args: AggregatorArgs, _ctx: &Context<AggregatorMsg>) -> Result<Self, Failure> {
        let judges = Arc::new(Semaphore::new(JUDGES));
        let aggregation = Arc::new(args.rules.of_job(&args.spec)?);
        let AggregatorArgs { blobs, spec, memory, scratch, .. } = args;
        let tools = Tools { blobs, facts: Facts::default(), coding: coding(&spec), memory, scratch };
        Ok(Self { aggregation, tools, judges, checked: 0, aggregated: 0 })
    }

    async fn handle(&mut self, msg: AggregatorMsg, ctx: &Context<AggregatorMsg>) -> Result<Next, Failure> {
        let (tools, judges) = (self.tools.clone(), self.judges.clone());
        match msg {
            AggregatorMsg::Check { base, update, extra, weight, numbers, owner, reply } => {
                self.checked += 1;
                // before a whole update is read
                let reported = check_weight(weight).and_then(|()| self.aggregation.check_numbers(&numbers));
                if let Err(e) = reported {
                    reply.send(Err(Unfit::Refused(Refusal::new(e.code(), e.to_string()))));
                    return Ok(Next::Continue);
                }
                ctx.run(async move {
                    let _permit = judges.acquire().await;
                    reply.send(check(&tools, base, (update, extra), &owner).await);
                });
            }
            AggregatorMsg::Aggregate { order, reply } => {
                self.aggregated += 1;
                let aggregation = self.aggregation.clone();
                ctx.run(async move { reply.send(sum::sum(tools, &aggregation, order).await) });
            }
        }
        Ok(Next::Continue)
    }

    fn observe(&self) -> Value {
        json!({"checked": self.checked, "aggregated": self.aggregated, "rule": self.aggregation.rule().name(), "judging": JUDGES - self.judges.available_permits()})
    }
}

/// How the job's updates are to be written.
pub(crate) fn coding(spec: &JobSpec) -> Option<Coding> {
    spec.compression.as_ref()?.update.map(|update| update.coding)
}

async fn check(
    Tools { blobs, facts, coding, .. }: &Tools,
    base: BlobRef,
    (update, extra): (BlobRef, Option<BlobRef>),
    owner: &Owner,
) -> Result<(), Unfit> {
    for blob in std::iter::once(update).chain(extra) {
        blobs.retain(blob.digest, owner).await.map_err(|e| Unfit::Unjudged(stored(&e)))?;
    }
    Step::new("aggregator", &"check").reach("after-retain");
    let verdict = match judge_extra(blobs, extra).await {
        Ok(()) => judge(blobs, base, base.digest, update, *coding).await,
        Err(unfit) => Err(unfit),
    };
    match verdict {
        Ok(found) => {
            lock(facts).insert(update.digest, found);
            Ok(())
        }
        Err(Unfit::Refused(refusal)) => {
            for blob in std::iter::once(update).chain(extra) {
                if let Err(error) = blobs.release(blob.digest, owner).await {
                    tracing::warn!(%error, digest = %blob.digest, "blob not released");
                }
            }
            Err(Unfit::Refused(refusal))
        }
        // it stays until it is looked at again, or the run ends
        Err(unjudged) => Err(unjudged),
    }
}

/// What the job's extender will read must be a zip that is safe to read.
async fn judge_extra(blobs: &Arc<dyn BlobStore>, extra: Option<BlobRef>) -> Result<(), Unfit> {
    let Some(extra) = extra else { return Ok(()) };
    let bytes = blobs.open(extra.digest).await.map_err(|e| Unfit::Unjudged(stored(&e)))?;
    let limits = Limits::of_data(Limits::default().bytes);
    let checked = move || Ok(nsfl_package::check(&bytes, &limits).map_err(|e| e.refusal("what the script put")));
    blocking(checked).await.map_err(Unfit::Unjudged)?.map(drop).map_err(Unfit::Refused)
}

/// Whether `update` is one to `base`, of the tensors that `model` has, written so.
pub(crate) async fn judge(
    blobs: &Arc<dyn BlobStore>,
    model: BlobRef,
    base: Digest,
    update: BlobRef,
    coding: Option<Coding>,
) -> Result<UpdateFacts, Unfit> {
    let whole = blobs.open(model.digest).await.map_err(|e| Unfit::Unjudged(stored(&e)))?;
    let bytes = blobs.open(update.digest).await.map_err(|e| Unfit::Unjudged(stored(&e)))?;
    let store = blobs.clone();
    let looked = blocking(move || {
        let layout = match WeightsView::parse(&whole) {
            Ok(layout) => layout,
            // the server's own model
            Err(error) => return Ok(Err(Unfit::Unjudged(tensor(&error)))),
        };
        let facts = Update::parse(&bytes).and_then(|update| {
            update.check_order(base, coding.as_ref())?;
            update.check(layout.layout())
        });
        if facts.is_ok() {
            store.forget(&bytes);
        }
        Ok(facts.map_err(|e| Unfit::Refused(compressed(&e))))
    });
    looked.await.map_err(Unfit::Unjudged)?
}

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    match nsfl_actor::blocking(work).await {
        Ok(result) => result,
        Err(failure) => Err(Refusal::new(Code::Internal, format!("the aggregator's work broke off: {failure}"))),
    }
}

pub(crate) fn lock(facts: &Facts) -> std::sync::MutexGuard<'_, BTreeMap<Digest, UpdateFacts>> {
    facts.lock().expect("nothing panics while it holds this lock")
}

pub(crate) fn stored(error: &StoreError) -> Refusal {
    Refusal::new(error.code(), Failure::from_error(error).to_string())
}

/// An accepted update that is not there was found damaged by another reader and set aside: its client is to be asked again.
pub(crate) fn member(error: &StoreError) -> Refusal {
    match error {
        StoreError::NotFound(_) => Refusal::new(Code::WrongDigest, format!("{error}: it was found damaged")),
        other => stored(other),
    }
}

pub(crate) fn compressed(error: &CompressError) -> Refusal {
    Refusal::new(error.code(), Failure::from_error(error).to_string())
}

pub(crate) fn tensor(error: &TensorError) -> Refusal {
    Refusal::new(error.code(), Failure::from_error(error).to_string())
}
