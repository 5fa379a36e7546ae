//! The format does not change under those who have written it: golden files, one for each kind of section.
#![allow(clippy::unwrap_used, clippy::cast_precision_loss, reason = "a test")]

mod support;

use nsfl_tensor::DType;
use nsfl_types::{Bits, Norm, Values};
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
    for (golden, coding, near, count) in [
        (include_bytes!("golden/f16.1.nsflc").as_slice(), coding(None, Values::F16), 0.01, 40),
        (
            include_bytes!("golden/qsgd8.1.nsflc").as_slice(),
            coding(None, qsgd(Bits::Eight, Some(16), Norm::Max)),
            0.05,
            40,
        ),
        (
            include_bytes!("golden/qsgd4-tensor-l2.1.nsflc").as_slice(),
            coding(None, qsgd(Bits::Four, None, Norm::L2)),
            3.0,
            40,
        ),
        (include_bytes!("golden/top-bf16.1.nsflc").as_slice(), coding(Some(0.2), Values::Bf16), 0.05, 8),
        (
            include_bytes!("golden/top-qsgd8.1.nsflc").as_slice(),
            coding(Some(0.2), qsgd(Bits::Eight, Some(512), Norm::Max)),
            0.05,
            8,
        ),
    ] {
        let (compressed, _) = both(&model, &coding, 7).unwrap();
        assert!(
            compressed == golden,
            "{coding}: the format changed: raise its version and keep the reader of the old one"
        );
        let back = read(golden);
        assert_eq!(values(&back, "b.running_mean"), wave(3));
        let found = values(&back, "a.weight").iter().zip(wave(40)).filter(|(a, b)| (**a - b).abs() < near).count();
        assert!(found >= count, "{coding}: {found} values are near what they were");
    }
}
