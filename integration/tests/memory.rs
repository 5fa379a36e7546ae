//! What aggregating many large updates takes of memory, in real: `nsfl-node aggregate` over 200 updates of 40 MB. Counted is what the
//! process has of its own; printed beside it is all that is resident, with the page cache's pages of the mapped files, of which the
//! kernel maps as many as it likes around each read.
//!
//! The updates are ten different files under twenty names each: every name is mapped for itself.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test ends at the first surprise, and prints what it measured"
)]

use nsfl_integration::binary;
use nsfl_tensor::{DType, Layout};
use serde_json::{Value, json};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PARAMETERS: usize = 10_000_000;
const FILES: usize = 10;
const UPDATES: usize = 200;
const MODEL_MB: f64 = PARAMETERS as f64 * 4.0 / 1e6;
/// `--memory-mb`.
const BOUND_MB: usize = 256;

fn weights(path: &Path, seed: u32) {
    let shape = |n: usize| vec![n / 1000, 1000];
    let tensors = [("a", PARAMETERS / 5), ("b", PARAMETERS / 2), ("c", PARAMETERS * 3 / 10)];
    let layout = Layout::new(tensors.map(|(name, n)| (name.to_owned(), DType::F32, shape(n)))).unwrap();
    let mut file = BufWriter::new(std::fs::File::create(path).unwrap());
    file.write_all(&layout.header_bytes()).unwrap();
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    for _ in 0..PARAMETERS {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let value = (f64::from(state) / f64::from(u32::MAX) - 0.5) as f32;
        file.write_all(&value.to_le_bytes()).unwrap();
    }
}

/// The most of its own and the most resident, in MB, and what it took.
fn peak(folder: &Path, updates: &[PathBuf], rule: &str, params: &Value) -> (f64, f64, Duration) {
    let began = Instant::now();
    let mut child = Command::new(binary("nsfl-node").unwrap())
        .args([
            "aggregate",
            "--rule",
            rule,
            "--params",
            &params.to_string(),
            "--memory-mb",
            &BOUND_MB.to_string(),
            "--base",
        ])
        .args([&folder.join("base"), Path::new("--out"), &folder.join("out")])
        .args(updates)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let (mut own, mut resident) = (0.0, 0.0);
    let ended = loop {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let megabytes = |name: &str| {
            let line =
                text.lines().find_map(|line| line.strip_prefix(name)).and_then(|line| line.trim().strip_suffix(" kB"));
            line.and_then(|kib| kib.parse::<f64>().ok()).map_or(0.0, |kib| kib * 1024.0 / 1e6)
        };
        (own, resident) = (f64::max(own, megabytes("RssAnon:")), f64::max(resident, megabytes("VmHWM:")));
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    assert!(ended.success(), "{rule}: {ended}");
    (own, resident, began.elapsed())
}

#[test]
#[ignore = "writes 440 MB and reads some 16 GB of page cache: by hand, with --no-capture for the figures"]
fn two_hundred_updates_of_40_mb_take_less_than_three_models_of_own_memory_for_sums_and_the_set_bound_for_others() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    weights(&folder.join("base"), 99);
    let update = |i: usize| {
        let (file, name) = (folder.join(format!("file-{}", i % FILES)), folder.join(format!("u{i}")));
        if i < FILES {
            weights(&file, i as u32);
        }
        std::fs::hard_link(file, &name).unwrap();
        name
    };
    let updates: Vec<PathBuf> = (0..UPDATES).map(update).collect();
    for (rule, params, most) in [
        ("fedavg", json!({}), 3.0 * MODEL_MB),
        ("fedadam", json!({}), 3.0 * MODEL_MB),
        ("median", json!({}), BOUND_MB as f64),
        ("krum", json!({"f": 20}), BOUND_MB as f64),
    ] {
        let (own, resident, took) = peak(folder, &updates, rule, &params);
        let seconds = took.as_secs_f64();
        println!(
            "{rule:8} {own:6.1} MB of its own, {most:.0} allowed; with pages of files {resident:.0} MB; {seconds:.1} s"
        );
        assert!(own > 0.0 && own < most, "{rule}: {own:.1} MB, {most:.0} allowed");
    }
}
