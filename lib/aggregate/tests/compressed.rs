//! Every rule makes of compressed updates, bit for bit, what it makes of the files that they stand for.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{One, With, file, ones, rule, run};
use nsfl_compress::{Compressed, Part, Task, compress, decompress};
use nsfl_tensor::{DType, WeightsView};
use nsfl_types::{Bits, Bucket, Coding, Digest, Norm, Share, Values};
use serde_json::json;
use std::convert::Infallible;

/// Some blocks and two pages.
const LEN: usize = 70_001;

fn update(member: usize) -> Vec<u8> {
    let wave = |i: usize| ((i * (7 + member) + member * 31) % 1009) as f64 / 1009.0 - 0.5;
    let (w, b): (Vec<f64>, Vec<f64>) = ((0..LEN).map(wave).collect(), (0..5).map(wave).collect());
    file(&[("b", DType::F64, &b), ("bn.running_var", DType::F32, &b), ("w", DType::F32, &w)])
}

fn compressed(file: &[u8], coding: &Coding) -> Vec<u8> {
    let view = WeightsView::parse(file).unwrap();
    let task = Task { layout: view.layout(), base: Digest::of(b""), coding, seed: 1, lost: false };
    let mut out = Vec::new();
    let read = |tensor, at, block: &mut [u8]| {
        block.copy_from_slice(&view.tensor(tensor)[at..at + block.len()]);
        Ok::<_, Infallible>(())
    };
    let written = compress(&task, read, |part| {
        if let Part::Compressed(bytes) = part {
            out.extend_from_slice(bytes);
        }
        Ok(())
    });
    written.unwrap();
    out
}

fn whole(compressed: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    let Ok(()) = decompress(&Compressed::parse(compressed).unwrap(), |block| {
        file.extend_from_slice(block);
        Ok::<_, Infallible>(())
    });
    file
}

#[test]
fn a_rule_sees_compressed_updates_as_the_files_they_stand_for() {
    let qsgd = |bits, bucket| Values::Qsgd { bits, bucket, norm: Norm::Max };
    let share = Some(Share::try_from(0.05).unwrap());
    let base = file(&[
        ("b", DType::F64, &[1.0; 5]),
        ("bn.running_var", DType::F32, &[1.0; 5]),
        ("w", DType::F32, &[0.5; LEN]),
    ]);
    for coding in [
        Coding { top_k: None, values: Values::Bf16 },
        Coding { top_k: None, values: qsgd(Bits::Four, None) },
        Coding { top_k: share, values: qsgd(Bits::Eight, Some(Bucket::DEFAULT)) },
    ] {
        let packed: Vec<Vec<u8>> = (0..7).map(|member| compressed(&update(member), &coding)).collect();
        let files: Vec<Vec<u8>> = packed.iter().map(|update| whole(update)).collect();
        assert!(packed[0].len() * 10 < files[0].len() * 6, "{coding}");
        for (name, params) in [
            ("fedavg", json!({})),
            ("fedadam", json!({})),
            ("qfedavg", json!({"local_learning_rate": 0.1})),
            ("median", json!({})),
            ("trimmed_mean", json!({"f": 1, "pre": [{"name": "nnm", "f": 1}]})),
            ("krum", json!({"f": 1})),
            ("centered_clipping", json!({})),
        ] {
            let members = |updates: &[Vec<u8>]| -> Vec<One> {
                let numbers = json!({"initial_loss": 1.0});
                ones(updates.to_vec()).into_iter().map(|one| One { numbers: numbers.clone(), ..one }).collect()
            };
            // small blocks too
            for memory in [usize::MAX, 2_000_000] {
                let with = With { memory, ..With::default() };
                let of = |updates: &[Vec<u8>]| run(&rule(name, &params), &base, None, &members(updates), with).unwrap();
                let (a, b) = (of(&packed), of(&files));
                assert!(a.model == b.model && a.state == b.state, "{name} {params} of {coding}");
            }
        }
    }
}
