//! How fast updates are compressed and read again: 10 million parameters from memory, on one core, in GB of weights a second.
//! `cargo bench -p nsfl-compress`.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a stopwatch"
)]

use nsfl_compress::{Compressed, Part, Task, compress};
use nsfl_tensor::{DType, Layout, WeightsView};
use nsfl_types::{Bits, Bucket, Coding, Digest, Norm, Share, Values};
use std::convert::Infallible;
use std::hint::black_box;
use std::time::Instant;

const PARAMETERS: usize = 10_000_000;

fn main() {
    let layout = Layout::new([("w".to_owned(), DType::F32, vec![PARAMETERS])]).unwrap();
    let file = weights(&layout);
    let view = WeightsView::parse(&file).unwrap();
    let qsgd = |bits| Values::Qsgd { bits, bucket: Some(Bucket::DEFAULT), norm: Norm::Max };
    let (share, all) = (Some(Share::try_from(0.01).unwrap()), None);
    println!("{PARAMETERS} parameters; GB of weights a second, one core");
    println!("  {:44} {:>9} {:>9} {:>9} {:>9}", "", "compress", "and lost", "check", "of size");
    for (top_k, values) in [
        (all, Values::F16),
        (all, Values::Bf16),
        (all, qsgd(Bits::Eight)),
        (all, qsgd(Bits::Four)),
        (share, Values::Whole),
        (share, qsgd(Bits::Eight)),
    ] {
        let coding = Coding { top_k, values };
        let task = |lost| Task { layout: &layout, base: Digest::of(b""), coding: &coding, seed: 1, lost };
        let (write, compressed) = best(|| made(&task(false), &view));
        let (both, _) = best(|| made(&task(true), &view));
        let (check, _) = best(|| Compressed::parse(&compressed).unwrap().check(&layout).unwrap());
        let (gb, of) = (file.len() as f64 / 1e9, compressed.len() as f64 / file.len() as f64);
        let rates = [write, both, check].map(|seconds| gb / seconds);
        println!("  {:44} {:9.2} {:9.2} {:9.2} {:8.1}%", coding.to_string(), rates[0], rates[1], rates[2], of * 100.0);
    }
}

fn made(task: &Task<'_>, view: &WeightsView<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(PARAMETERS * 4);
    let read = |tensor, at, block: &mut [u8]| {
        block.copy_from_slice(&view.tensor(tensor)[at..at + block.len()]);
        Ok::<_, Infallible>(())
    };
    let write = |part: Part<'_>| {
        match part {
            Part::Compressed(bytes) => out.extend_from_slice(bytes),
            Part::Lost(bytes) => _ = black_box(bytes),
        }
        Ok(())
    };
    compress(task, read, write).unwrap();
    out
}

/// The shortest of some repetitions, in seconds, and the last result.
fn best<T>(mut work: impl FnMut() -> T) -> (f64, T) {
    let mut timed = || {
        let start = Instant::now();
        let result = work();
        (start.elapsed().as_secs_f64(), result)
    };
    let first = timed();
    (1..3).fold(first, |best, _| {
        let next = timed();
        (best.0.min(next.0), next.1)
    })
}

fn weights(layout: &Layout) -> Vec<u8> {
    let mut file = layout.header_bytes();
    let mut state = 1_u32;
    for _ in 0..layout.data_len() / 4 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        file.extend_from_slice(&((f64::from(state) / f64::from(u32::MAX) - 0.5) as f32).to_le_bytes());
    }
    file
}
