//! Makes a round's result: the next model and, for a rule that keeps something from round to round, its next state. Both go
//! into the blob store block by block; nothing is held but one worker's blocks.

use crate::aggregator::{Facts, Unfit, blocking, compressed, judge, lock, member, stored, tensor};
use bytes::{Bytes, BytesMut};
use nsfl_actor::Waiter;
use nsfl_aggregate::{Aggregation, Behind, Block, MemberFacts, Round, Sink, Sources, aggregate_round};
use nsfl_compress::Update;
use nsfl_fault_point::Step;
use nsfl_store::{BlobStore, BlobWriter, Owner};
use nsfl_tensor::{Layout, StreamError, WeightsView};
use nsfl_types::{BlobRef, Code, Coding, Metrics, Refusal};
use nsfl_workflow::Member;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a sum is made from.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    /// The round it makes.
    pub(crate) round: u32,
    /// The model the updates are to.
    pub(crate) base: BlobRef,
    /// What the rule kept, if it keeps anything and has before.
    pub(crate) state: Option<BlobRef>,
    pub(crate) members: Vec<Member>,
    /// N, all clients of the job.
    pub(crate) clients: usize,
    pub(crate) seed: u64,
    /// Whose the next model is.
    pub(crate) models: Owner,
    /// Whose the next state is.
    pub(crate) states: Owner,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Summed {
    pub(crate) model: BlobRef,
    pub(crate) state: Option<BlobRef>,
}

/// What sums are made with.
#[derive(Clone)]
pub(crate) struct Tools {
    pub(crate) blobs: Arc<dyn BlobStore>,
    pub(crate) facts: Facts,
    /// How updates are to be written.
    pub(crate) coding: Option<Coding>,
    pub(crate) memory: usize,
    pub(crate) scratch: PathBuf,
}

/// Results are handed to the store in pieces of this size.
const PIECE: usize = 1 << 20;

/// What a rule may ask of a member: what it reported, and what only the server knows.
pub(crate) fn numbers(mut reported: Metrics, staleness: u32) -> Metrics {
    reported.0.insert("staleness".to_owned(), f64::from(staleness));
    reported
}

/// The whole round: the same of the same order, whoever makes it.
pub(crate) async fn sum(tools: Tools, aggregation: &Arc<Aggregation>, order: Order) -> Result<Summed, Refusal> {
    let (mut members, mut updates) = (Vec::new(), Vec::new());
    for Member { client, update, begun, staleness } in order.members {
        let Some(blob) = update.blob else { continue };
        let opened = tools.blobs.open(blob.digest).await.map_err(|e| member(&e))?;
        // the older model itself may have gone: its tensors are this one's
        let to = begun.as_ref().map_or(order.base, |begun| begun.base);
        let known = lock(&tools.facts).get(&blob.digest).cloned();
        let facts = match known {
            Some(found) => found,
            None => {
                judge(&tools.blobs, order.base, to.digest, blob, tools.coding).await.map_err(Unfit::into_refusal)?
            }
        };
        let facts = MemberFacts { weight: update.weight, facts };
        // a client may have one to an older model and one to this
        let id =
            begun.map_or_else(|| client.to_string(), |begun| format!("{client}@{}.{}", begun.round, begun.attempt));
        members.push(nsfl_aggregate::Member { id, facts, numbers: numbers(update.metrics, staleness) });
        updates.push(opened);
    }
    let base = tools.blobs.open(order.base.digest).await.map_err(|e| stored(&e))?;
    let state = match order.state {
        Some(state) => Some(tools.blobs.open(state.digest).await.map_err(|e| stored(&e))?),
        None => None,
    };
    let model_writer = tools.blobs.create().await.map_err(|e| stored(&e))?;
    let (waiter, aggregation) = (Waiter::new(), aggregation.clone());
    let Tools { blobs, facts, memory, scratch, .. } = tools;
    let (clients, seed, models, states) = (order.clients, order.seed, order.models, order.states);
    let summed = blocking(move || {
        let views = Views::parse(&base, state.as_ref(), &updates)?;
        let layout =
            aggregation.state_layout(views.base.layout()).map_err(|e| Refusal::new(e.code(), e.to_string()))?;
        let kept = layout.map(|layout| Kept::new(&scratch, layout)).transpose().map_err(|e| unwritten(&e))?;
        let model = Pieces::new(model_writer, &waiter);
        let mut out = Out { store: blobs.as_ref(), views: &views, model, kept, behind: Behind::default() };
        let round = Round { model: views.base.layout(), members: &members, clients, seed };
        match aggregate_round(&aggregation, &round, views.sources(), memory, &mut out) {
            Ok(_) => {}
            Err(StreamError::Content(error)) => return Err(Refusal::new(error.code(), error.to_string())),
            Err(StreamError::Write(refusal)) => return Err(refusal),
        }
        let state = match out.kept {
            Some(kept) => {
                let writer = waiter.wait(blobs.create()).map_err(|e| stored(&e))?;
                let state = kept.commit(Pieces::new(writer, &waiter), &states)?;
                Step::new("aggregator", &"aggregate").reach("state-stored");
                Some(state)
            }
            None => None,
        };
        Ok(Summed { model: out.model.commit(&models)?, state })
    })
    .await?;
    Step::new("aggregator", &"aggregate").reach("model-stored");
    lock(&facts).clear();
    Ok(summed)
}

struct Views<'a> {
    base: WeightsView<'a>,
    state: Option<WeightsView<'a>>,
    updates: Vec<Update<'a>>,
}

impl<'a> Views<'a> {
    fn parse(base: &'a Bytes, state: Option<&'a Bytes>, updates: &'a [Bytes]) -> Result<Self, Refusal> {
        let parsed = |bytes: &'a Bytes| WeightsView::parse(bytes).map_err(|e| tensor(&e));
        let (base, state) = (parsed(base)?, state.map(parsed).transpose()?);
        let updates = updates.iter().map(|bytes| Update::parse(bytes).map_err(|e| compressed(&e)));
        Ok(Self { base, state, updates: updates.collect::<Result<_, _>>()? })
    }

    fn sources(&self) -> Sources<'_> {
        Sources { base: &self.base, state: self.state.as_ref(), updates: &self.updates }
    }
}

/// Takes a round's results, and gives back the pages of what it was made from.
struct Out<'a> {
    store: &'a dyn BlobStore,
    views: &'a Views<'a>,
    model: Pieces<'a>,
    kept: Option<Kept>,
    behind: Behind,
}

impl Sink for Out<'_> {
    type Error = Refusal;

    fn model(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.model.write(bytes)
    }

    fn state(&mut self, block: &Block, bytes: &[u8]) -> Result<(), Refusal> {
        self.kept.as_ref().map_or(Ok(()), |kept| kept.write(block, bytes).map_err(|e| unwritten(&e)))
    }

    fn done(&mut self, block: Block) {
        self.behind.pass(self.views.sources(), &block, |bytes| self.store.forget(bytes));
    }
}

/// The next state, whose blocks do not come in the order of its file: a file without a name until it is whole.
struct Kept {
    file: File,
    layout: Layout,
    head: u64,
    len: u64,
}

impl Kept {
    fn new(scratch: &Path, layout: Layout) -> std::io::Result<Self> {
        std::fs::create_dir_all(scratch)?;
        let file = tempfile::tempfile_in(scratch)?;
        let head = layout.header_bytes();
        file.write_all_at(&head, 0)?;
        let len = (head.len() + layout.data_len()) as u64;
        file.set_len(len)?;
        Ok(Self { file, layout, head: head.len() as u64, len })
    }

    fn write(&self, block: &Block, bytes: &[u8]) -> std::io::Result<()> {
        let place = self.layout.tensors()[block.tensor].range.start + block.range.start;
        self.file.write_all_at(bytes, self.head + place as u64)
    }

    fn commit(self, mut out: Pieces<'_>, owner: &Owner) -> Result<BlobRef, Refusal> {
        let mut at = 0;
        while at < self.len {
            #[allow(clippy::cast_possible_truncation, reason = "no more than a piece")]
            let mut piece = BytesMut::zeroed((self.len - at).min(PIECE as u64) as usize);
            self.file.read_exact_at(&mut piece, at).map_err(|e| unwritten(&e))?;
            at += piece.len() as u64;
            out.write(&piece)?;
        }
        out.commit(owner)
    }
}

/// Collects blocks into larger pieces for the store. Runs on a blocking thread.
pub(crate) struct Pieces<'a> {
    waiter: &'a Waiter,
    writer: Box<dyn BlobWriter>,
    piece: BytesMut,
}

impl<'a> Pieces<'a> {
    pub(crate) fn new(writer: Box<dyn BlobWriter>, waiter: &'a Waiter) -> Self {
        Self { waiter, writer, piece: BytesMut::with_capacity(PIECE) }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Refusal> {
        let piece = self.piece.split().freeze();
        self.waiter.wait(self.writer.write(piece)).map_err(|e| stored(&e))
    }

    pub(crate) fn commit(mut self, owner: &Owner) -> Result<BlobRef, Refusal> {
        self.flush()?;
        self.waiter.wait(self.writer.commit(owner)).map_err(|e| stored(&e))
    }
}

fn unwritten(error: &std::io::Error) -> Refusal {
    let code = if error.kind() == std::io::ErrorKind::StorageFull { Code::DiskFull } else { Code::Store };
    Refusal::new(code, format!("cannot write what the rule keeps to scratch: {error}"))
}
