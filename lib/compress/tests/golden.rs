//! The format does not change under those who have written it: golden files, one for each kind of section.
#![allow(clippy::unwrap_used, clippy::cast_precision_loss, reason = "a test")]

mod support;

use nsfl_tensor::DType;
use nsfl_types::{Bits, Norm, Values};
use std::path::Path;
use support::{both, coding, file, qsgd, read, values};

#[test]
fn files_of_version_1_are_still_these_bytes_and_are_still_read() {
    let wave = |n: usize| (0..n).map(|i| ((i * 29 % 64) as f64 - 31.0) / 8.0).collect::<Vec<f64>>();
    let model = file(&[
        ("a.weight", DType::F32, wave(40)),
        ("b.running_mean", DType::F32, wave(3)),
        ("c.weight", DType::Bf16, wave(5)),
        ("n", DType::U8, vec![3.0]),
    ]);
    for (name, coding, near, count) in [
        ("f16", coding(None, Values::F16), 0.01, 40),
        ("qsgd8", coding(None, qsgd(Bits::Eight, Some(16), Norm::Max)), 0.05, 40),
        ("qsgd4-tensor-l2", coding(None, qsgd(Bits::Four, None, Norm::L2)), 3.0, 40),
        ("top-bf16", coding(Some(0.2), Values::Bf16), 0.05, 8),
        ("top-qsgd8", coding(Some(0.2), qsgd(Bits::Eight, Some(512), Norm::Max)), 0.05, 8),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.1.nsflc"));
        let (compressed, _) = both(&model, &coding, 7).unwrap();
        let golden = std::fs::read(&path).unwrap_or_default();
        assert!(
            compressed == golden,
            "{name}: the format changed: raise its version and keep the reader of the old one"
        );
        let back = read(&golden);
        assert_eq!(values(&back, "b.running_mean"), wave(3));
        let found = values(&back, "a.weight").iter().zip(wave(40)).filter(|(a, b)| (**a - b).abs() < near).count();
        assert!(found >= count, "{name}: {found} values are near what they were");
    }
}
