//! `aggregate`: the rules on files, for audits and tests. The files are mapped, and their pages given back once they are read;
//! what is made is not held.

use crate::cli::AggregateArgs;
use crate::exit;
use anyhow::{Context as _, anyhow, bail};
use nsfl_aggregate::{Behind, Block, Member, MemberFacts, Round, Rules, Sink, Sources, aggregate_round, check_weight};
use nsfl_compress::Update;
use nsfl_store_posix::MappedFile;
use nsfl_tensor::{Layout, StreamError, WeightsView, write_delta};
use nsfl_types::{Digest, Metrics};
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use tempfile::NamedTempFile;

pub(crate) fn main(args: &AggregateArgs, rules: &Rules) -> anyhow::Result<()> {
    let count = args.updates.len();
    let weights = if args.weights.is_empty() { vec![1.0; count] } else { args.weights.clone() };
    if weights.len() != count {
        bail!(usage(format!("--weights: {} weights for {count} updates", weights.len())));
    }
    let (params, numbers) = told(args)?;
    let aggregation = rules.parse(&args.rule, &params, 1.0).map_err(|e| usage(e.to_string()))?;
    let base_file = mapped(&args.base)?;
    let base = parse(&base_file, &args.base)?;
    let kept = aggregation.state_layout(base.layout())?;
    if kept.is_none() && (args.state.is_some() || args.state_out.is_some()) {
        bail!(usage(format!("{} keeps no state: leave out --state and --state-out", args.rule)));
    }
    let state_file = args.state.as_deref().map(|path| Ok::<_, anyhow::Error>((mapped(path)?, path))).transpose()?;
    let state = state_file.as_ref().map(|(file, path)| parse(file, path)).transpose()?;
    if let (Some(state), Some(kept)) = (&state, &kept)
        && let Err(error) = kept.check_same(state.layout())
    {
        bail!("the state is not one of {} for this model: {error}", args.rule);
    }
    let mut files = Vec::with_capacity(count);
    for path in &args.updates {
        files.push(if args.absolute { difference(&base, path, &args.out)? } else { mapped(path)? });
    }
    let (mut updates, mut members) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let whole = Digest::of(base_file.as_ref());
    base_file.let_go(base_file.as_ref());
    for (i, (file, numbers)) in files.iter().zip(numbers).enumerate() {
        let named = |error: String| anyhow!("{}: {error}", args.updates[i].display());
        let update = Update::parse(file.as_ref()).map_err(|e| named(e.to_string()))?;
        if let Update::Compressed(compressed) = &update {
            // however it is written, but to this model
            update.check_order(whole, Some(compressed.coding())).map_err(|e| named(e.to_string()))?;
        }
        let facts = update.check(base.layout()).map_err(|e| named(e.to_string()))?;
        file.let_go(file.as_ref());
        check_weight(weights[i])
            .and_then(|()| aggregation.check_numbers(&numbers))
            .map_err(|e| named(e.to_string()))?;
        let facts = MemberFacts { weight: weights[i], facts };
        // the canonical order is that of the command line
        members.push(Member { id: format!("{i:020}"), facts, numbers });
        updates.push(update);
    }
    let clients = args.clients.unwrap_or(count);
    let round = Round { model: base.layout(), members: &members, clients, seed: args.seed };
    let sources = Sources { base: &base, state: state.as_ref(), updates: &updates };
    let read: Vec<&MappedFile> =
        files.iter().chain([&base_file]).chain(state_file.as_ref().map(|(file, _)| file)).collect();
    let out = Files::new(&args.out, args.state_out.as_deref().zip(kept))?;
    let mut results = Results { files: out, sources, read: &read, behind: Behind::default() };
    match aggregate_round(&aggregation, &round, sources, args.memory_mb << 20, &mut results) {
        Ok(_) => {}
        Err(StreamError::Content(error)) => return Err(error.into()),
        Err(StreamError::Write(error)) => return Err(error).context("cannot write the result"),
    }
    for file in &read {
        if !file.is_unchanged()? {
            bail!("a file was changed while it was read: nothing is written");
        }
    }
    results.files.keep(&args.out, args.state_out.as_deref())
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

/// Nobody may write to it meanwhile; that is said in the command's help.
fn mapped(path: &Path) -> anyhow::Result<MappedFile> {
    let mapped = File::open(path).and_then(MappedFile::new);
    mapped.with_context(|| format!("cannot read {}", path.display()))
}

fn parse<'a>(file: &'a MappedFile, path: &Path) -> anyhow::Result<WeightsView<'a>> {
    WeightsView::parse(file.as_ref()).map_err(|e| anyhow::Error::from(e).context(path.display().to_string()))
}

/// Whole weights less the base, in a file without a name beside the result.
fn difference(base: &WeightsView<'_>, path: &Path, out: &Path) -> anyhow::Result<MappedFile> {
    let local = mapped(path)?;
    let mut delta = BufWriter::new(tempfile::tempfile_in(folder(out)).context("cannot write differences")?);
    match write_delta(base, &parse(&local, path)?, |bytes| delta.write_all(bytes)) {
        Ok(_) => {}
        Err(StreamError::Content(error)) => bail!("{}: {error}", path.display()),
        Err(StreamError::Write(error)) => return Err(error).context("cannot write differences"),
    }
    let file = delta.into_inner().map_err(|e| anyhow!("cannot write differences: {e}"))?;
    Ok(MappedFile::new(file)?)
}

/// Takes what is made, and gives back the pages of what it was made from.
struct Results<'a> {
    files: Files,
    sources: Sources<'a>,
    read: &'a [&'a MappedFile],
    behind: Behind,
}

impl Sink for Results<'_> {
    type Error = std::io::Error;

    fn model(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.files.model.write_all(bytes)
    }

    fn state(&mut self, block: &Block, bytes: &[u8]) -> std::io::Result<()> {
        let Some((file, layout, head)) = &self.files.kept else { return Ok(()) };
        let place = layout.tensors()[block.tensor].range.start + block.range.start;
        file.as_file().write_all_at(bytes, head + place as u64)
    }

    fn done(&mut self, block: Block) {
        let read = self.read;
        self.behind.pass(self.sources, &block, |bytes| read.iter().for_each(|file| file.let_go(bytes)));
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

fn beside(path: &Path) -> anyhow::Result<NamedTempFile> {
    let folder = folder(path);
    NamedTempFile::new_in(folder).with_context(|| format!("cannot write to {}", folder.display()))
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn persist(file: NamedTempFile, path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    file.as_file().sync_all()?;
    let _: File = file.persist(path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}
