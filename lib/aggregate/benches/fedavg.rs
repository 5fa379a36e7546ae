//! How fast the rules are beside the memory they read: 20 updates of 10 million parameters from memory, as from the page
//! cache, on one core and on two, and FedAvg beside a NumPy loop over the same files. `cargo bench -p nsfl-aggregate`; with names of
//! rules after `--`, only those. `PYTHON` names a Python that has NumPy.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a stopwatch"
)]

use nsfl_aggregate::{
    Aggregation, Block, Geometry, Member, MemberFacts, Pass, Plan, Round, Rules, Sources, Survey, Worker, blocks,
};
use nsfl_compress::Update;
use nsfl_tensor::{BLOCK_BYTES, DType, Layout, UpdateFacts, WeightsView, check_update, write_delta};
use nsfl_types::Metrics;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::hint::black_box;
use std::process::Command;
use std::time::Instant;

const CLIENTS: usize = 20;
const CORES: usize = 2;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    if wanted.is_empty() {
        simple("from memory", 10_000_000, 5);
        simple("from cache", 50_000, 500);
    }
    rules(10_000_000, &wanted);
    if wanted.is_empty() {
        numpy(10_000_000);
    }
}

/// A round of FedAvg here and in NumPy, of the same files, which both have read before.
fn numpy(parameters: usize) {
    let (layout, files) = files(parameters);
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<_> = (0..files.len()).map(|i| folder.path().join(format!("{i}.safetensors"))).collect();
    paths.iter().zip(&files).for_each(|(path, file)| std::fs::write(path, file).unwrap());
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/mean.py");
    let output = Command::new(&python).args([script, "5"]).args(&paths).output().unwrap();
    let Some(theirs) = String::from_utf8_lossy(&output.stdout).trim().parse::<f64>().ok() else {
        println!("no NumPy to compare with: PYTHON=<one that has it> cargo bench -p nsfl-aggregate");
        println!("{}", String::from_utf8_lossy(&output.stderr));
        return;
    };
    let base = &WeightsView::parse(&files[0]).unwrap();
    let updates: Vec<Update<'_>> = files[1..].iter().map(|f| Update::parse(f).unwrap()).collect();
    let updates = updates.as_slice();
    let members = members(&layout, updates);
    let round = Round { model: &layout, members: &members, clients: CLIENTS, seed: 1 };
    let aggregation = rule("fedavg", &json!({}));
    let sources = Sources { base, state: None, updates };
    let per = parameters as f64 * CLIENTS as f64 / 1e9;
    println!("fedavg beside a NumPy loop, {parameters} parameters, {CLIENTS} clients; ns per parameter and client");
    println!("  NumPy   {:.3}", theirs / per);
    for cores in [1, CORES] {
        let ours = best(5, || whole(&aggregation, &round, sources, cores)).0;
        println!("  {cores} core(s) {:.3}, NumPy takes {:.2} times as long", ours / per, theirs / ours);
    }
}

/// What a round of the simplest rule takes, on one core.
fn simple(place: &str, parameters: usize, repeats: usize) {
    let (layout, files) = files(parameters);
    let views: Vec<_> = files.iter().map(|f| WeightsView::parse(f).unwrap()).collect();
    let (base, updates) = (&views[0], &views[1..]);
    println!("{parameters} parameters, {CLIENTS} clients, {place}; ns per parameter and client, one core");
    let per = parameters as f64 * CLIENTS as f64 / 1e9;

    let (time, facts) = best(repeats, || updates.iter().map(|u| check_update(&layout, u).unwrap()).collect::<Vec<_>>());
    println!("  check   {:.3}", time / per);

    let delta = |update| write_delta(base, update, |_| Ok::<_, Infallible>(())).is_ok();
    let (time, _) = best(repeats, || updates.iter().all(delta));
    println!("  delta   {:.3}", time / per);

    let members: Vec<Member> = facts.into_iter().enumerate().map(|(i, facts)| member(i, facts)).collect();
    let updates: Vec<Update<'_>> = updates.iter().cloned().map(Into::into).collect();
    let round = Round { model: &layout, members: &members, clients: CLIENTS, seed: 1 };
    let (aggregation, sources) = (rule("fedavg", &json!({})), Sources { base, state: None, updates: &updates });
    let (time, _) = best(repeats, || whole(&aggregation, &round, sources, 1));
    println!("  fedavg  {:.3}", time / per);
}

/// Every rule, whole rounds: survey where the rule asks for one, plan, blocks.
fn rules(parameters: usize, wanted: &[String]) {
    let (layout, files) = files(parameters);
    let base = &WeightsView::parse(&files[0]).unwrap();
    let updates: Vec<Update<'_>> = files[1..].iter().map(|f| Update::parse(f).unwrap()).collect();
    let updates = updates.as_slice();
    let members = members(&layout, updates);
    let round = Round { model: &layout, members: &members, clients: CLIENTS, seed: 1 };
    let per = parameters as f64 * CLIENTS as f64 / 1e9;
    println!("{parameters} parameters, {CLIENTS} clients, from memory; ns per parameter and client");
    println!("  {:42} {:>9} {:>9}", "", "one core", "two cores");
    let reading = |cores| best(3, || read(&files[1..], cores)).0 / per;
    println!("  {:42} {:9.3} {:9.3}", "reading the updates, nothing else", reading(1), reading(CORES));
    let f = json!({"f": 3});
    for (name, params) in [
        ("fedavg", json!({})),
        ("fedavgm", json!({})),
        ("fedadam", json!({})),
        ("fednova", json!({})),
        ("feddyn", json!({})),
        ("qfedavg", json!({"local_learning_rate": 0.1})),
        ("fedbuff", json!({"k": 20})),
        ("median", json!({})),
        ("trimmed_mean", f.clone()),
        ("krum", f.clone()),
        ("multikrum", f.clone()),
        ("bulyan", f.clone()),
        ("geometric_median", json!({})),
        ("centered_clipping", json!({})),
        ("trimmed_mean", json!({"f": 3, "pre": [{"name": "nnm", "f": 3}]})),
        ("fedavg", json!({"pre": [{"name": "clipping", "max_norm": 1.0}]})),
    ] {
        if !wanted.is_empty() && !wanted.iter().any(|w| w == name) {
            continue;
        }
        let aggregation = rule(name, &params);
        let sources = Sources { base, state: None, updates };
        let time = |cores| best(3, || whole(&aggregation, &round, sources, cores)).0 / per;
        let label = if params.get("pre").is_some() { format!("{name} {params}") } else { name.to_owned() };
        println!("  {label:42} {:9.3} {:9.3}", time(1), time(CORES));
    }
}

fn members(layout: &Layout, updates: &[Update<'_>]) -> Vec<Member> {
    updates.iter().enumerate().map(|(i, update)| member(i, update.check(layout).unwrap())).collect()
}

fn member(i: usize, facts: UpdateFacts) -> Member {
    let numbers = Metrics([("local_steps".to_owned(), 5.0), ("initial_loss".to_owned(), 1.0)].into());
    Member { id: format!("c{i:02}"), facts: MemberFacts { weight: 100.0 + i as f64, facts }, numbers }
}

fn rule(name: &str, params: &Value) -> Aggregation {
    Rules::default().parse(name, params.as_object().unwrap(), 1.0).unwrap()
}

/// A round in contiguous parts of the model, one a core.
fn whole(aggregation: &Aggregation, round: &Round<'_>, sources: Sources<'_>, cores: usize) -> Vec<u8> {
    let geometry = (aggregation.pass() > Pass::None).then(|| survey(aggregation, round, sources, cores));
    let plan = aggregation.plan(round, geometry.as_ref()).unwrap();
    let cut: Vec<Block> = blocks(round.model, BLOCK_BYTES).collect();
    let parts = in_parts(&cut, cores, |part| make(&plan, sources, part));
    parts.concat()
}

fn survey(aggregation: &Aggregation, round: &Round<'_>, sources: Sources<'_>, cores: usize) -> Geometry {
    let cut: Vec<Block> = blocks(round.model, BLOCK_BYTES).collect();
    let parts = in_parts(&cut, cores, |part| {
        let mut survey = Survey::new(aggregation, round, sources, usize::MAX).unwrap();
        part.iter().for_each(|block| survey.add(block).unwrap());
        survey
    });
    let mut parts = parts.into_iter();
    let mut survey = parts.next().unwrap();
    parts.for_each(|other| survey.merge(&other).unwrap());
    survey.finish()
}

/// The last block alone is kept: what would be written is not the rule's cost.
fn make(plan: &Plan, sources: Sources<'_>, part: &[Block]) -> Vec<u8> {
    let mut worker = Worker::new(plan, sources, usize::MAX).unwrap();
    for block in part {
        worker.run(block).unwrap();
        black_box(worker.model());
    }
    worker.model().to_vec()
}

fn in_parts<T: Send>(cut: &[Block], cores: usize, work: impl Fn(&[Block]) -> T + Sync) -> Vec<T> {
    let work = &work;
    std::thread::scope(|scope| {
        let size = cut.len().div_ceil(cores);
        let threads: Vec<_> = cut.chunks(size).map(|part| scope.spawn(move || work(part))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Reads every byte once, as fast as a core can.
fn read(files: &[Vec<u8>], cores: usize) -> u64 {
    let sum = |part: &[u8]| {
        let mut lanes = [0_u64; 16];
        for words in part.as_chunks::<8>().0.as_chunks::<16>().0 {
            for (lane, word) in lanes.iter_mut().zip(words) {
                *lane = lane.wrapping_add(u64::from_le_bytes(*word));
            }
        }
        lanes.iter().fold(0_u64, |a, b| a.wrapping_add(*b))
    };
    std::thread::scope(|scope| {
        let part = |core: usize| {
            move || {
                let of = |file: &Vec<u8>| sum(&file[file.len() / cores * core..file.len() / cores * (core + 1)]);
                files.iter().map(of).fold(0_u64, u64::wrapping_add)
            }
        };
        let threads: Vec<_> = (0..cores).map(|core| scope.spawn(part(core))).collect();
        black_box(threads.into_iter().map(|thread| thread.join().unwrap()).fold(0, u64::wrapping_add))
    })
}

/// The shortest of some repetitions, in seconds, and the last result.
fn best<T>(repeats: usize, mut work: impl FnMut() -> T) -> (f64, T) {
    let mut timed = || {
        let start = Instant::now();
        let result = work();
        (start.elapsed().as_secs_f64(), result)
    };
    let first = timed();
    (1..repeats).fold(first, |best, _| {
        let next = timed();
        (best.0.min(next.0), next.1)
    })
}

fn files(parameters: usize) -> (Layout, Vec<Vec<u8>>) {
    let layout = Layout::new([("w".to_owned(), DType::F32, vec![parameters])]).unwrap();
    let files = (0..=CLIENTS).map(|i| weights(&layout, i as u32)).collect();
    (layout, files)
}

fn weights(layout: &Layout, seed: u32) -> Vec<u8> {
    let mut file = layout.header_bytes();
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    for _ in 0..layout.data_len() / 4 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        file.extend_from_slice(&((f64::from(state) / f64::from(u32::MAX) - 0.5) as f32).to_le_bytes());
    }
    file
}
