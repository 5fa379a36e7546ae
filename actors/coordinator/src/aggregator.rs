//! The aggregator of one job: judges updates when they arrive and makes the next model when a round closes.
//! Keeps nothing: a sum is a function of the member set over stored, memory-mapped updates, whoever computes it.

use bytes::{Bytes, BytesMut};
use nsfl_actor::{Context, Failure, Next, Reply, Role, Waiter};
use nsfl_aggregate::{AggregateError, FedAvg, MemberFacts, Plan, Scaffold, aggregate, check_weight};
use nsfl_fault_point::Step;
use nsfl_package::Limits;
use nsfl_store::{BlobStore, BlobWriter, Owner, StoreError};
use nsfl_tensor::{Layout, StreamError, TensorError, UpdateFacts, WeightsView, check_update};
use nsfl_types::{BlobRef, Code, Digest, Refusal};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::sync::Semaphore;

#[derive(Clone)]
pub(crate) struct AggregatorArgs {
    pub(crate) blobs: Arc<dyn BlobStore>,
}

#[derive(Debug)]
pub(crate) enum AggregatorMsg {
    /// Judge an update to `base`; keep it, and what came with it, under `owner` when it is good.
    Check {
        base: BlobRef,
        update: BlobRef,
        extra: Option<BlobRef>,
        weight: f64,
        owner: Owner,
        reply: Reply<Result<(), Refusal>>,
    },
    /// Make the next model from `base` and the members' (update, weight); keep it under `owner`.
    Aggregate {
        base: BlobRef,
        members: Vec<(BlobRef, f64)>,
        rule: Rule,
        owner: Owner,
        reply: Reply<Result<BlobRef, Refusal>>,
    },
}

/// The rule of a round.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rule {
    FedAvg(FedAvg),
    Scaffold(Scaffold),
}

impl Rule {
    fn plan(&self, base: &Layout, members: &[MemberFacts]) -> Result<Plan, AggregateError> {
        match self {
            Rule::FedAvg(rule) => rule.plan(base, members),
            Rule::Scaffold(rule) => rule.plan(base, members),
        }
    }
}

pub(crate) struct Aggregator {
    blobs: Arc<dyn BlobStore>,
    /// Facts of updates judged since the last aggregation. Lost with a restart and then computed again.
    facts: Facts,
    /// Updates judged at the same time: each walks a whole update.
    judges: Arc<Semaphore>,
    checked: u64,
    aggregated: u64,
}

type Facts = Arc<Mutex<BTreeMap<Digest, UpdateFacts>>>;

const JUDGES: usize = 1;
/// Finished weights are handed to the store in pieces of this size.
const PIECE: usize = 1 << 20;
/// Pages of the inputs are given back after this many bytes of all together, but not after less than `LEAST` of each.
const FORGET: usize = 16 << 20;
const LEAST: usize = 256 << 10;

impl Role for Aggregator {
    type Msg = AggregatorMsg;
    type Args = AggregatorArgs;
    const KIND: &'static str = "aggregator";

    async fn start(args: AggregatorArgs, _ctx: &Context<AggregatorMsg>) -> Result<Self, Failure> {
        let judges = Arc::new(Semaphore::new(JUDGES));
        Ok(Self { blobs: args.blobs, facts: Facts::default(), judges, checked: 0, aggregated: 0 })
    }

    async fn handle(&mut self, msg: AggregatorMsg, ctx: &Context<AggregatorMsg>) -> Result<Next, Failure> {
        let (blobs, facts, judges) = (self.blobs.clone(), self.facts.clone(), self.judges.clone());
        match msg {
            AggregatorMsg::Check { base, update, extra, weight, owner, reply } => {
                self.checked += 1;
                ctx.run(async move {
                    let _permit = judges.acquire().await;
                    reply.send(check(blobs, facts, base, (update, extra), weight, &owner).await);
                });
            }
            AggregatorMsg::Aggregate { base, members, rule, owner, reply } => {
                self.aggregated += 1;
                ctx.run(async move { reply.send(next_model(blobs, facts, rule, base, members, owner).await) });
            }
        }
        Ok(Next::Continue)
    }

    fn observe(&self) -> Value {
        json!({"checked": self.checked, "aggregated": self.aggregated, "judging": JUDGES - self.judges.available_permits()})
    }
}

async fn check(
    blobs: Arc<dyn BlobStore>,
    facts: Facts,
    base: BlobRef,
    (update, extra): (BlobRef, Option<BlobRef>),
    weight: f64,
    owner: &Owner,
) -> Result<(), Refusal> {
    check_weight(weight).map_err(|e| Refusal::new(e.code(), e.to_string()))?;
    for blob in std::iter::once(update).chain(extra) {
        blobs.retain(blob.digest, owner).await.map_err(|e| stored(&e))?;
    }
    Step::new("aggregator", &"check").reach("after-retain");
    let verdict = match judge_extra(&blobs, extra).await {
        Ok(()) => judge(&blobs, base, update).await,
        Err(refusal) => Err(refusal),
    };
    match verdict {
        Ok(found) => {
            lock(&facts).insert(update.digest, found);
            Ok(())
        }
        Err(refusal) => {
            for blob in std::iter::once(update).chain(extra) {
                blobs.release(blob.digest, owner).await.map_err(|e| stored(&e))?;
            }
            Err(refusal)
        }
    }
}

/// What the job's extender will read must be a zip that is safe to read.
async fn judge_extra(blobs: &Arc<dyn BlobStore>, extra: Option<BlobRef>) -> Result<(), Refusal> {
    let Some(extra) = extra else { return Ok(()) };
    let bytes = blobs.open(extra.digest).await.map_err(|e| stored(&e))?;
    let limits = Limits::of_data(Limits::default().bytes);
    blocking(move || match nsfl_package::check(&bytes, &limits) {
        Ok(_) => Ok(()),
        Err(e) => Err(e.refusal("what the script put")),
    })
    .await
}

/// Whether `update` is one to `base`.
pub(crate) async fn judge(blobs: &Arc<dyn BlobStore>, base: BlobRef, update: BlobRef) -> Result<UpdateFacts, Refusal> {
    let base = blobs.open(base.digest).await.map_err(|e| stored(&e))?;
    let bytes = blobs.open(update.digest).await.map_err(|e| stored(&e))?;
    let store = blobs.clone();
    blocking(move || {
        let layout = WeightsView::parse(&base).map_err(|e| tensor(&e))?;
        let view = WeightsView::parse(&bytes).map_err(|e| tensor(&e))?;
        let facts = check_update(layout.layout(), &view).map_err(|e| tensor(&e))?;
        store.forget(&bytes);
        Ok(facts)
    })
    .await
}

async fn next_model(
    blobs: Arc<dyn BlobStore>,
    facts: Facts,
    rule: Rule,
    base: BlobRef,
    members: Vec<(BlobRef, f64)>,
    owner: Owner,
) -> Result<BlobRef, Refusal> {
    let mut planned = Vec::with_capacity(members.len());
    let mut updates = Vec::with_capacity(members.len());
    for (update, weight) in &members {
        let opened = blobs.open(update.digest).await.map_err(|e| member(&e))?;
        let known = lock(&facts).get(&update.digest).cloned();
        let found = match known {
            Some(found) => found,
            None => judge(&blobs, base, *update).await?,
        };
        planned.push(MemberFacts { weight: *weight, facts: found });
        updates.push(opened);
    }
    let base = blobs.open(base.digest).await.map_err(|e| stored(&e))?;
    let writer = blobs.create().await.map_err(|e| stored(&e))?;
    let waiter = Waiter::new();
    let store = blobs.clone();
    let model = blocking(move || {
        let mut sink = Sink { waiter: &waiter, writer, piece: BytesMut::with_capacity(PIECE) };
        sum(store.as_ref(), &rule, &base, &updates, &planned, &mut sink)?;
        sink.commit(&owner).map_err(|e| stored(&e))
    })
    .await?;
    Step::new("aggregator", &"aggregate").reach("model-stored");
    lock(&facts).clear();
    Ok(model)
}

fn sum(
    store: &dyn BlobStore,
    rule: &Rule,
    base: &Bytes,
    updates: &[Bytes],
    members: &[MemberFacts],
    sink: &mut Sink<'_>,
) -> Result<(), Refusal> {
    let base = WeightsView::parse(base).map_err(|e| tensor(&e))?;
    let views: Vec<WeightsView<'_>> =
        updates.iter().map(|u| WeightsView::parse(u)).collect::<Result<_, _>>().map_err(|e| tensor(&e))?;
    let plan = rule.plan(base.layout(), members).map_err(|e| Refusal::new(e.code(), e.to_string()))?;
    let tensors = base.layout().tensors();
    let stride = (FORGET / (views.len() + 1)).max(LEAST);
    let mut done = 0;
    let after_block = |block: nsfl_aggregate::Block| {
        let whole = tensors[block.tensor].range.len();
        if block.range.start == 0 {
            done = 0;
        }
        if block.range.end - done >= stride || block.range.end == whole {
            for view in views.iter().chain([&base]) {
                store.forget(&view.tensor(block.tensor)[done..block.range.end]);
            }
            done = block.range.end;
        }
    };
    match aggregate(&plan, &base, &views, |bytes| sink.write(bytes), after_block) {
        Ok(()) => Ok(()),
        Err(StreamError::Content(error)) => Err(Refusal::new(error.code(), error.to_string())),
        Err(StreamError::Write(error)) => Err(stored(&error)),
    }
}

/// Collects blocks into larger pieces for the store. Runs on a blocking thread.
struct Sink<'a> {
    waiter: &'a Waiter,
    writer: Box<dyn BlobWriter>,
    piece: BytesMut,
}

impl Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        let piece = self.piece.split().freeze();
        self.waiter.wait(self.writer.write(piece))
    }

    fn commit(mut self, owner: &Owner) -> Result<BlobRef, StoreError> {
        self.flush()?;
        self.waiter.wait(self.writer.commit(owner))
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Refusal> + Send + 'static) -> Result<T, Refusal> {
    match nsfl_actor::blocking(work).await {
        Ok(result) => result,
        Err(failure) => Err(Refusal::new(Code::Internal, format!("the aggregator's work broke off: {failure}"))),
    }
}

fn lock(facts: &Facts) -> std::sync::MutexGuard<'_, BTreeMap<Digest, UpdateFacts>> {
    facts.lock().expect("nothing panics while it holds this lock")
}

fn stored(error: &StoreError) -> Refusal {
    Refusal::new(error.code(), Failure::from_error(error).to_string())
}

/// An accepted update that is not there was found damaged by another reader and set aside: its client is to be asked again.
fn member(error: &StoreError) -> Refusal {
    match error {
        StoreError::NotFound(_) => Refusal::new(Code::WrongDigest, format!("{error}: it was found damaged")),
        other => stored(other),
    }
}

fn tensor(error: &TensorError) -> Refusal {
    Refusal::new(error.code(), Failure::from_error(error).to_string())
}
