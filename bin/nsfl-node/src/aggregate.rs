//! `aggregate`: the rules on files, for audits and tests. The files are read into memory; what is made is not held.

use crate::cli::AggregateArgs;
use crate::exit;
use anyhow::{Context as _, anyhow, bail};
use nsfl_aggregate::{Aggregation, Block, Member, MemberFacts, Round, Sink, Sources, aggregate_round, check_weight};
use nsfl_compress::Update;
use nsfl_tensor::{Layout, StreamError, WeightsView, write_delta};
use nsfl_types::{Digest, Metrics};
use serde_json::{Map, Value};
use std::convert::Infallible;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use tempfile::NamedTempFile;

pub(crate) fn main(args: &AggregateArgs) -> anyhow::Result<()> {
    let count = args.updates.len();
    let weights = if args.weights.is_empty() { vec![1.0; count] } else { args.weights.clone() };
    if weights.len() != count {
        bail!(usage(format!("--weights: {} weights for {count} updates", weights.len())));
    }
    let (params, numbers) = told(args)?;
    let aggregation = Aggregation::parse(&args.rule, &params, 1.0).map_err(|e| usage(e.to_string()))?;
    let file = read(&args.base)?;
    let base = parse(&file, &args.base)?;
    let mut updates = Vec::with_capacity(count);
    for path in &args.updates {
        let bytes = read(path)?;
        updates.push(if args.absolute { delta(&base, &parse(&bytes, path)?, path)? } else { bytes });
    }
    let updates: Vec<Update<'_>> =
        updates.iter().zip(&args.updates).map(|(bytes, path)| update(bytes, path)).collect::<Result<_, _>>()?;
    let mut members = Vec::with_capacity(count);
    for (i, (update, numbers)) in updates.iter().zip(numbers).enumerate() {
        let named = |error: String| anyhow!("{}: {error}", args.updates[i].display());
        if let Update::Compressed(compressed) = update {
            // however it is written, but to this model
            update.check_order(Digest::of(&file), Some(compressed.coding())).map_err(|e| named(e.to_string()))?;
        }
        let facts = update.check(base.layout()).map_err(|e| named(e.to_string()))?;
        check_weight(weights[i])
            .and_then(|()| aggregation.check_numbers(&numbers))
            .map_err(|e| named(e.to_string()))?;
        let facts = MemberFacts { weight: weights[i], facts };
        // the canonical order is that of the command line
        members.push(Member { id: format!("{i:020}"), facts, numbers });
    }
    let kept = aggregation.state_layout(base.layout())?;
    if kept.is_none() && (args.state.is_some() || args.state_out.is_some()) {
        bail!(usage(format!("{} keeps no state: leave out --state and --state-out", args.rule)));
    }
    let state = args.state.as_deref().map(|path| Ok::<_, anyhow::Error>((read(path)?, path))).transpose()?;
    let state = state.as_ref().map(|(bytes, path)| parse(bytes, path)).transpose()?;
    if let (Some(state), Some(kept)) = (&state, &kept)
        && let Err(error) = kept.check_same(state.layout())
    {
        bail!("the state is not one of {} for this model: {error}", args.rule);
    }
    let clients = args.clients.unwrap_or(count);
    let round = Round { model: base.layout(), members: &members, clients, seed: args.seed };
    let sources = Sources { base: &base, state: state.as_ref(), updates: &updates };
    let mut files = Files::new(&args.out, args.state_out.as_deref().zip(kept))?;
    match aggregate_round(&aggregation, &round, sources, args.memory_mb << 20, &mut files) {
        Ok(_) => files.keep(&args.out, args.state_out.as_deref()),
        Err(StreamError::Content(error)) => Err(error.into()),
        Err(StreamError::Write(error)) => Err(error).context("cannot write the result"),
    }
}

/// Parameters of the rule, and of each update what it came with. A list among the parameters that has the name of a number
/// which updates come with is one such number of each update.
fn told(args: &AggregateArgs) -> anyhow::Result<(Map<String, Value>, Vec<Metrics>)> {
    let count = args.updates.len();
    let mut params: Map<String, Value> =
        serde_json::from_str(&args.params).map_err(|e| usage(format!("--params: {e}")))?;
    let mut numbers = match &args.numbers {
        None => vec![Metrics::default(); count],
        Some(text) => serde_json::from_str(text).map_err(|e| usage(format!("--numbers: {e}")))?,
    };
    if numbers.len() != count {
        bail!(usage(format!("--numbers: {} objects for {count} updates", numbers.len())));
    }
    for name in ["local_steps", "momentum", "mu", "local_learning_rate", "initial_loss", "staleness"] {
        if !params.get(name).is_some_and(Value::is_array) {
            continue;
        }
        let list = params.remove(name).unwrap_or_default();
        let values: Vec<f64> = serde_json::from_value(list).map_err(|e| usage(format!("--params: {name}: {e}")))?;
        if values.len() != count {
            bail!(usage(format!("--params: {name}: {} numbers for {count} updates", values.len())));
        }
        for (of, value) in numbers.iter_mut().zip(values) {
            of.0.insert(name.to_owned(), value);
        }
    }
    Ok((params, numbers))
}

fn usage(message: String) -> anyhow::Error {
    exit::coded(exit::CONFIG, message)
}

pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

pub(crate) fn parse<'a>(bytes: &'a [u8], path: &Path) -> anyhow::Result<WeightsView<'a>> {
    WeightsView::parse(bytes).map_err(|e| anyhow::Error::from(e).context(path.display().to_string()))
}

fn update<'a>(bytes: &'a [u8], path: &Path) -> anyhow::Result<Update<'a>> {
    Update::parse(bytes).map_err(|e| anyhow::Error::from(e).context(path.display().to_string()))
}

fn delta(base: &WeightsView<'_>, local: &WeightsView<'_>, path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut out = Vec::new();
    let written = write_delta(base, local, |bytes| {
        out.extend_from_slice(bytes);
        Ok::<(), Infallible>(())
    });
    match written {
        Ok(_) => Ok(out),
        Err(StreamError::Content(error)) => bail!("{}: {error}", path.display()),
        Err(StreamError::Write(never)) => match never {},
    }
}

/// The results, under other names until they are whole.
struct Files {
    model: BufWriter<NamedTempFile>,
    kept: Option<(NamedTempFile, Layout, u64)>,
}

impl Files {
    fn new(out: &Path, kept: Option<(&Path, Layout)>) -> anyhow::Result<Self> {
        let kept = match kept {
            None => None,
            Some((path, layout)) => {
                let file = beside(path)?;
                let head = layout.header_bytes();
                file.as_file().write_all_at(&head, 0)?;
                let len = (head.len() + layout.data_len()) as u64;
                file.as_file().set_len(len)?;
                Some((file, layout, head.len() as u64))
            }
        };
        Ok(Self { model: BufWriter::new(beside(out)?), kept })
    }

    fn keep(self, out: &Path, state_out: Option<&Path>) -> anyhow::Result<()> {
        let model = self.model.into_inner().map_err(|e| anyhow!("cannot write {}: {e}", out.display()))?;
        if let (Some((file, ..)), Some(path)) = (self.kept, state_out) {
            persist(file, path)?;
        }
        persist(model, out)
    }
}

impl Sink for Files {
    type Error = std::io::Error;

    fn model(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.model.write_all(bytes)
    }

    fn state(&mut self, block: &Block, bytes: &[u8]) -> std::io::Result<()> {
        let Some((file, layout, head)) = &self.kept else { return Ok(()) };
        let place = layout.tensors()[block.tensor].range.start + block.range.start;
        file.as_file().write_all_at(bytes, head + place as u64)
    }
}

fn beside(path: &Path) -> anyhow::Result<NamedTempFile> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    NamedTempFile::new_in(folder).with_context(|| format!("cannot write to {}", folder.display()))
}

fn persist(file: NamedTempFile, path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    file.as_file().sync_all()?;
    let _: File = file.persist(path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}
