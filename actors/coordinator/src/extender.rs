//! The extender of one job: has the functions of the user's script called in a Python process of its own, a fresh one
//! for each broadcast and each round, so that nothing is kept that a restart would lose. It decides nothing.

mod process;
mod round;

use nsfl_actor::{Context, Failure, Next, Reply, Role};
use nsfl_store::{BlobStore, Owner};
use nsfl_types::{BlobRef, Cause, Code, ExtenderSpec, Metrics, Refusal};
use nsfl_workflow::Member;
use serde_json::{Map, Value, json};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How extenders are run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtenderConfig {
    /// Whether jobs may have one.
    pub enabled: bool,
    /// The interpreter.
    pub python: OsString,
    /// Time for a broadcast, or for all of a round's updates together.
    pub timeout: Duration,
    /// Address space of its process, in bytes.
    pub memory_bytes: u64,
}

#[derive(Clone)]
pub(crate) struct ExtenderArgs {
    pub(crate) blobs: Arc<dyn BlobStore>,
    pub(crate) config: ExtenderConfig,
    pub(crate) spec: ExtenderSpec,
    /// Where its processes work.
    pub(crate) workspace: PathBuf,
}

/// What a call needs beside its own arguments.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// The script's zip.
    pub(crate) package: BlobRef,
    pub(crate) round: u32,
    /// Decides what is random in the script.
    pub(crate) seed: u64,
    /// Whose is what comes of it.
    pub(crate) owner: Owner,
}

/// A round's updates and what the rule made of them.
#[derive(Debug, Clone)]
pub(crate) struct Combine {
    pub(crate) base: BlobRef,
    /// Sorted by client.
    pub(crate) members: Vec<Member>,
    pub(crate) result: BlobRef,
}

/// What the script says of a round.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Combined {
    /// The next model in place of the rule's.
    pub(crate) model: Option<BlobRef>,
    /// For the next broadcast: a JSON object.
    pub(crate) parameters: Option<String>,
    pub(crate) metrics: Metrics,
}

/// Why a call came to nothing.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) refusal: Refusal,
    pub(crate) cause: Option<Box<Cause>>,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.refusal.fmt(f)
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, cause: None }
    }
}

impl Fault {
    pub(crate) fn new(reason: String, cause: Option<Cause>) -> Self {
        let refusal = Refusal::new(Code::ExtenderFailed, format!("the job's extender failed: {reason}"));
        Self { refusal, cause: cause.map(Cause::bounded).map(Box::new) }
    }
}

#[derive(Debug)]
pub(crate) enum ExtenderMsg {
    /// What to send along with a round's tasks, as a stored zip; none when there is nothing.
    Broadcast { call: Call, params: Map<String, Value>, reply: Reply<Result<Option<BlobRef>, Fault>> },
    /// What to make of a round's updates.
    Combine { call: Call, combine: Combine, reply: Reply<Result<Combined, Fault>> },
}

pub(crate) struct Extender {
    args: ExtenderArgs,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    calls: AtomicU64,
    failed: AtomicU64,
    running: AtomicU64,
}

impl Role for Extender {
    type Msg = ExtenderMsg;
    type Args = ExtenderArgs;
    const KIND: &'static str = "extender";

    async fn start(args: ExtenderArgs, _: &Context<ExtenderMsg>) -> Result<Self, Failure> {
        Ok(Self { args, counts: Arc::default() })
    }

    /// The work ends with this actor, and the process with the work.
    async fn handle(&mut self, msg: ExtenderMsg, ctx: &Context<ExtenderMsg>) -> Result<Next, Failure> {
        let (args, counts) = (self.args.clone(), Arc::clone(&self.counts));
        ctx.run(async move {
            counts.calls.fetch_add(1, Ordering::Relaxed);
            counts.running.fetch_add(1, Ordering::Relaxed);
            let ok = match msg {
                ExtenderMsg::Broadcast { call, params, reply } => {
                    let answer = round::broadcast(&args, &call, params).await;
                    let ok = answer.is_ok();
                    reply.send(answer);
                    ok
                }
                ExtenderMsg::Combine { call, combine, reply } => {
                    let answer = round::combine(&args, &call, combine).await;
                    let ok = answer.is_ok();
                    reply.send(answer);
                    ok
                }
            };
            counts.running.fetch_sub(1, Ordering::Relaxed);
            counts.failed.fetch_add(u64::from(!ok), Ordering::Relaxed);
        });
        Ok(Next::Continue)
    }

    fn observe(&self) -> Value {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counts { calls, failed, running } = &*self.counts;
        json!({"calls": count(calls), "failed": count(failed), "running": count(running)})
    }
}
