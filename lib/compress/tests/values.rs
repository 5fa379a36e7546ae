//! What comes back of compressed weights: values checked by hand, what every coding promises, and what is lost and given back.
#![allow(clippy::unwrap_used, clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a test")]

mod support;

use nsfl_compress::{Compressed, Update, compressed_len, lost_layout};
use nsfl_tensor::{BLOCK_BYTES, DType, WeightsView};
use nsfl_types::{Bits, Code, Norm, Values};
use proptest::prelude::*;
use support::{both, coding, codings, file, qsgd, read, single, values};

const BATCH: [f64; 4] = [0.1, 0.2, 0.3, 4.5];

#[test]
fn values_are_those_that_one_calculates_by_hand() {
    let of = |given: &[f64], top_k, form| values(&read(&both(&single(given), &coding(top_k, form), 1).unwrap().0), "w");
    assert_eq!(of(&[1.0, -2.0, 65504.0], None, Values::F16), [1.0, -2.0, 65504.0]);
    // ten bits behind the point, seven bits behind the point
    assert_eq!(of(&[1.0 + 1.0 / 1024.0, 1.0 + 1.0 / 4096.0], None, Values::F16), [1.0 + 1.0 / 1024.0, 1.0]);
    assert_eq!(of(&[1.0 + 1.0 / 128.0, 1.0 + 1.0 / 512.0], None, Values::Bf16), [1.0 + 1.0 / 128.0, 1.0]);
    assert_eq!(of(&[0.5, -4.0, 0.0, 3.0, -0.5, 1.0], Some(0.5), Values::Whole), [0.0, -4.0, 0.0, 3.0, 0.0, 1.0]);
    // steps of 2, and of 1
    let by_tensor = qsgd(Bits::Four, None, Norm::Max);
    assert_eq!(of(&[14.0, -2.0, 0.0, 6.0, -14.0], None, by_tensor), [14.0, -2.0, 0.0, 6.0, -14.0]);
    assert_eq!(of(&[127.0, -5.0, 1.0], None, qsgd(Bits::Eight, Some(16), Norm::Max)), [127.0, -5.0, 1.0]);
    // each bucket of 16 has its own scale
    let two: Vec<f64> = (0..20).map(|i| if i < 16 { 7.0 } else { 0.7 }).collect();
    let back = of(&two, None, qsgd(Bits::Four, Some(16), Norm::Max));
    assert!(back.iter().zip(&two).all(|(a, b)| (a - b).abs() < 1e-7), "{back:?}");
    // the two largest, of which the scale is 8
    assert_eq!(of(&[1.0, -8.0, 0.5, 8.0], Some(0.5), by_tensor), [0.0, -8.0, 0.0, 8.0]);
}

#[test]
fn integers_and_running_statistics_are_written_as_they_are() {
    let file = file(&[
        ("bn.running_var", DType::F32, BATCH.to_vec()),
        ("bn.num_batches_tracked", DType::U8, vec![7.0]),
        ("w", DType::F32, BATCH.to_vec()),
        ("empty", DType::F32, vec![]),
    ]);
    for coding in codings() {
        let (compressed, lost) = both(&file, &coding, 1).unwrap();
        let back = read(&compressed);
        assert_eq!(values(&back, "bn.running_var"), values(&file, "bn.running_var"), "{coding}");
        let view = WeightsView::parse(&lost).unwrap();
        let names: Vec<_> = view.layout().tensors().iter().map(|spec| spec.name.as_str()).collect();
        let whole = coding.top_k.is_none() && coding.values == Values::Whole;
        assert_eq!(names, if whole { vec![] } else { vec!["w"] }, "{coding}");
        assert_eq!(*view.layout(), lost_layout(WeightsView::parse(&file).unwrap().layout(), &coding));
        let update = Update::parse(&compressed).unwrap();
        assert_eq!(update.layout(), WeightsView::parse(&file).unwrap().layout());
        assert!(update.check(update.layout()).is_ok(), "{coding}");
    }
}

#[test]
fn what_a_coding_cannot_say_is_refused_with_its_place() {
    let says = |given: &[f64], form| {
        let error = both(&file(&[("w", DType::F64, given.to_vec())]), &coding(None, form), 1).unwrap_err();
        assert_eq!(error.code(), Code::NotFinite);
        error.to_string()
    };
    assert_eq!(says(&[0.0, 7e4], Values::F16), "tensor 'w' holds 7e4 at index 1, more than f16 can say");
    let scale = "tensor 'w' holds 1e300 at index 2, more than a scale in single precision can say";
    assert_eq!(says(&[0.0, 1.0, 1e300], qsgd(Bits::Four, None, Norm::L2)), scale);
    assert_eq!(says(&[0.0, 1.0, 1e300], qsgd(Bits::Eight, Some(16), Norm::Max)), scale);
    for coding in codings() {
        let error = both(&single(&[0.0, f64::NAN]), &coding, 1).unwrap_err();
        assert_eq!(error.to_string(), "tensor 'w' holds a value that is not finite at index 1", "{coding}");
    }
}

/// Values over several pages, with ties, zeros and extremes among them.
fn many() -> Vec<f64> {
    let wave = |i: usize| (i % 977) as f64 - 488.0;
    (0..150_001).map(|i| if i % 5 == 0 { 0.0 } else { wave(i) * if i % 40_000 == 7 { 1e2 } else { 1e-3 } }).collect()
}

#[test]
fn any_part_of_a_tensor_is_decoded_by_itself_across_pages_and_buckets() {
    let file = single(&many());
    for coding in codings() {
        let (compressed, _) = both(&file, &coding, 3).unwrap();
        let whole = read(&compressed);
        let (view, parsed) = (WeightsView::parse(&whole).unwrap(), Compressed::parse(&compressed).unwrap());
        let mut buffer = vec![1, 2, 3];
        for range in
            [0..4, 4..8, 65_532..65_540, 261_000..262_148, 262_144..262_148, 262_140..262_145 + 3, 600_000..600_004]
        {
            let range = range.start / 4 * 4..range.end / 4 * 4;
            assert_eq!(
                parsed.read(0, range.clone(), &mut buffer),
                &view.tensor(0)[range.clone()],
                "{coding} {range:?}"
            );
        }
        if let Some(len) = compressed_len(view.layout(), &coding) {
            assert_eq!(len, compressed.len() as u64, "{coding}");
        }
    }
    assert!(BLOCK_BYTES < 600_000, "several blocks");
}

#[test]
fn top_k_sends_the_largest_of_each_tensor_and_loses_the_rest() {
    let given = many();
    let (compressed, lost) = both(&single(&given), &coding(Some(0.01), Values::Whole), 1).unwrap();
    let (sent, lost) = (values(&read(&compressed), "w"), values(&lost, "w"));
    assert_eq!(sent.iter().filter(|value| **value != 0.0).count(), 1501);
    let least = sent.iter().filter(|value| **value != 0.0).fold(f64::MAX, |least, value| least.min(value.abs()));
    assert!(lost.iter().all(|value| value.abs() <= least));
    // two bytes for a place, four for a value, four for a page, and the head
    assert!(compressed.len() < 1501 * 6 + 3 * 4 + 400, "{}", compressed.len());
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_other_ones() {
    let file = single(&many());
    let quantised = coding(Some(0.1), qsgd(Bits::Eight, Some(512), Norm::Max));
    let of = |seed| both(&file, &quantised, seed).unwrap();
    assert_eq!(of(1), of(1));
    assert_ne!(of(1), of(2));
}

proptest! {
    #[test]
    fn what_is_sent_and_what_is_lost_are_together_what_was_given(
        given in prop::collection::vec(-1e3_f64..1e3, 1..300), which in 0_usize..45, seed: u64,
    ) {
        let coding = codings()[which % codings().len()];
        let given: Vec<f64> = given.into_iter().map(|value| f64::from(value as f32)).collect();
        let (compressed, lost) = both(&single(&given), &coding, seed).unwrap();
        let sent = values(&read(&compressed), "w");
        if coding.top_k.is_some() || coding.values != Values::Whole {
            for ((sent, lost), given) in sent.iter().zip(values(&lost, "w")).zip(&given) {
                prop_assert!((sent + lost - given).abs() <= 1e3 * 2_f64.powi(-22), "{sent} + {lost} ≠ {given}");
            }
        } else {
            prop_assert_eq!(sent, given);
        }
    }

    #[test]
    fn a_quantised_value_is_off_by_less_than_a_step(
        given in prop::collection::vec(-1e3_f64..1e3, 1..300), four: bool, l2: bool, tensor: bool, seed: u64,
    ) {
        let (bits, norm) = (if four { Bits::Four } else { Bits::Eight }, if l2 { Norm::L2 } else { Norm::Max });
        let sent = values(&read(&both(&single(&given), &coding(None, qsgd(bits, (!tensor).then_some(16), norm)), seed).unwrap().0), "w");
        let size = if tensor { given.len() } else { 16 };
        for (given, sent) in given.chunks(size).zip(sent.chunks(size)) {
            let max = given.iter().fold(0.0_f64, |max, value| max.max(value.abs()));
            let scale = if l2 { given.iter().map(|v| v * v).sum::<f64>().sqrt() } else { max };
            let step = scale / f64::from(bits.steps()) * 1.000_001;
            prop_assert!(given.iter().zip(sent).all(|(a, b)| (a - b).abs() <= step && b.abs() <= scale * 1.000_001));
        }
    }
}

#[test]
fn the_mean_of_a_quantised_value_over_seeds_is_the_value() {
    let given = [1.0, -0.37, 0.001, 0.8125, -0.06, 0.0];
    for (bits, norm) in [(Bits::Four, Norm::Max), (Bits::Four, Norm::L2), (Bits::Eight, Norm::Max)] {
        for bucket in [None, Some(16)] {
            const SEEDS: u64 = 4000;
            let mut sums = [0.0; 6];
            for seed in 0..SEEDS {
                let sent = values(
                    &read(&both(&single(&given), &coding(None, qsgd(bits, bucket, norm)), seed).unwrap().0),
                    "w",
                );
                sums.iter_mut().zip(sent).for_each(|(sum, value)| *sum += value);
            }
            // a step is at most 0.21; its deviation half of that, over √4000, five times
            let bound = 0.21 / 2.0 / (SEEDS as f64).sqrt() * 5.0;
            for (sum, given) in sums.iter().zip(given) {
                assert!((sum / SEEDS as f64 - given).abs() < bound, "{} for {given}", sum / SEEDS as f64);
            }
        }
    }
}

#[test]
fn with_error_feedback_what_was_sent_over_rounds_is_the_sum_of_all_but_a_bounded_rest() {
    const N: usize = 200;
    for coding in [
        coding(Some(0.1), Values::Whole),
        coding(Some(0.1), qsgd(Bits::Eight, Some(16), Norm::Max)),
        coding(None, qsgd(Bits::Four, Some(16), Norm::Max)),
    ] {
        let change = |round: usize| -> Vec<f64> {
            (0..N).map(|i| f64::from((((i * 31 + round * 17) % 101) as f32 - 50.0) / 100.0)).collect()
        };
        let (mut left, mut sent, mut all) = (vec![0.0; N], vec![0.0; N], vec![0.0; N]);
        let mut worst = 0.0_f64;
        for round in 0..60 {
            let given: Vec<f64> = change(round).iter().zip(&left).map(|(a, b)| a + b).collect();
            let (compressed, lost) = both(&single(&given), &coding, round as u64).unwrap();
            left = values(&lost, "w");
            sent.iter_mut().zip(values(&read(&compressed), "w")).for_each(|(sum, value)| *sum += value);
            all.iter_mut().zip(change(round)).for_each(|(sum, value)| *sum += value);
            let apart = sent.iter().zip(&all).zip(&left).map(|((sent, all), left)| (sent + left - all).abs());
            assert!(apart.fold(0.0, f64::max) < 1e-4, "nothing is lost but what is kept");
            worst = worst.max(left.iter().map(|value| value.abs()).fold(0.0, f64::max));
        }
        // ten rounds of the largest change, for a tenth is sent of each
        assert!(worst < 0.5 * 10.0, "{coding}: {worst}");
    }
}
