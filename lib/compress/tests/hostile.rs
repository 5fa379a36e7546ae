//! Bytes that no client of ours has written: refused with a code, never a panic, never more memory than they are long.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use nsfl_compress::{CompressError, Compressed, Update, is_compressed};
use nsfl_tensor::{DType, Layout, WeightsView};
use nsfl_types::{Bits, Code, Digest, Norm, Values};
use proptest::prelude::*;
use support::{base, both, coding, codings, file, qsgd, single};

fn layout(len: usize) -> Layout {
    Layout::new([("w".to_owned(), DType::F32, vec![len])]).unwrap()
}

/// Everything that is done with an update. Values of unchecked bytes are nobody's concern; a panic is.
fn judged(bytes: &[u8], model: &Layout) -> Result<(), CompressError> {
    let update = Update::parse(bytes)?;
    let mut buffer = Vec::new();
    for (index, spec) in update.layout().tensors().iter().enumerate() {
        let end = spec.range.len().min(1 << 16);
        update.read(index, 0..end, &mut buffer);
        update.read(index, end / 2 / spec.dtype.size() * spec.dtype.size()..end, &mut buffer);
    }
    update.check(model).map(drop)
}

fn sample(which: usize, len: usize) -> Vec<u8> {
    let given: Vec<f64> = (0..len).map(|i| (i % 13) as f64 - 6.0).collect();
    both(&single(&given), &codings()[which % codings().len()], 1).unwrap().0
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn changed_bytes_are_refused_or_finite_and_never_a_panic(
        which in 0_usize..45, len in 1_usize..90, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = sample(which, len);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = judged(&bytes, &layout(len)).is_ok();
    }

    #[test]
    fn bytes_behind_a_right_head_are_refused_or_finite_and_never_a_panic(
        which in 0_usize..45, len in 1_usize..90, body in prop::collection::vec(any::<u8>(), 0..400), exact: bool,
    ) {
        let mut bytes = sample(which, len);
        let section = Compressed::parse(&bytes).unwrap().section(0).len();
        bytes.truncate(bytes.len() - section);
        let end = if exact { body.len().min(section) } else { body.len() };
        bytes.extend_from_slice(&body[..end]);
        let _ = judged(&bytes, &layout(len)).is_ok();
    }

    #[test]
    fn bytes_without_a_head_are_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(judged(&bytes, &layout(1)).is_err());
        bytes.splice(..0, *b"NSFLCMP\x01");
        prop_assert!(judged(&bytes, &layout(1)).is_err());
    }
}

#[test]
fn a_file_that_is_cut_off_anywhere_or_goes_on_is_refused() {
    for which in 0..codings().len() {
        let mut bytes = sample(which, 40);
        for len in 0..bytes.len() {
            let error = judged(&bytes[..len], &layout(40)).unwrap_err();
            assert_eq!(error.code(), Code::BadUpdate, "{error}");
        }
        bytes.push(0);
        assert!(judged(&bytes, &layout(40)).unwrap_err().to_string().contains("their head says"));
    }
}

#[test]
fn what_is_wrong_is_said_by_the_codes_of_updates_that_are_not_compressed() {
    let given: Vec<f64> = (0..40).map(f64::from).collect();
    let kept = both(&single(&given), &coding(Some(0.1), Values::Whole), 1).unwrap().0;
    let start = kept.len() - Compressed::parse(&kept).unwrap().section(0).len();
    let with = |at: usize, bytes: &[u8]| {
        let mut changed = kept.clone();
        changed[start + at..start + at + bytes.len()].copy_from_slice(bytes);
        let error = judged(&changed, &layout(40)).unwrap_err();
        (error.code(), error.to_string())
    };
    // count, four places, four values
    assert!(judged(&kept, &layout(40)).is_ok());
    assert_eq!(with(4, &37_u16.to_le_bytes()).1, "tensor 'w' holds a place twice or out of order");
    assert_eq!(
        with(10, &40_u16.to_le_bytes()),
        (Code::BadUpdate, "tensor 'w' holds a place beyond its end".to_owned())
    );
    assert_eq!(with(0, &41_u32.to_le_bytes()).1, "tensor 'w' holds more values than it has");
    assert_eq!(with(12, &f32::NAN.to_le_bytes()).0, Code::NotFinite);
    let quantised = both(&single(&given), &coding(None, qsgd(Bits::Eight, None, Norm::Max)), 1).unwrap().0;
    let start = quantised.len() - 44;
    for (at, byte, code) in [(3, 0x7f, Code::BadUpdate), (2, 0x80, Code::BadUpdate), (4, 0x80, Code::BadUpdate)] {
        let mut changed = quantised.clone();
        changed[start + at] = byte;
        match judged(&changed, &layout(40)) {
            Ok(()) => assert_ne!(at, 4),
            Err(error) => assert!([code, Code::NotFinite].contains(&error.code()), "{error}"),
        }
    }
    let mut infinite = quantised.clone();
    infinite[start..start + 4].copy_from_slice(&f32::INFINITY.to_le_bytes());
    assert_eq!(judged(&infinite, &layout(40)).unwrap_err().code(), Code::NotFinite);
    assert_eq!(judged(&quantised, &layout(41)).unwrap_err().code(), Code::WrongShape);
    let other = file(&[("v", DType::F32, given.clone())]);
    let other = WeightsView::parse(&other).unwrap().layout().clone();
    assert_eq!(judged(&quantised, &other).unwrap_err().code(), Code::WrongNames);
    let mut newer = quantised.clone();
    newer[7] = 2;
    assert!(is_compressed(&newer));
    assert!(judged(&newer, &layout(40)).unwrap_err().to_string().contains("version 2 of the format"));
}

#[test]
fn an_update_to_another_model_or_of_another_coding_is_refused() {
    let asked = coding(Some(0.1), Values::F16);
    let bytes = both(&single(&[1.0; 20]), &asked, 1).unwrap().0;
    let update = Update::parse(&bytes).unwrap();
    assert!(update.check_order(base(), Some(&asked)).is_ok());
    assert_eq!(update.check_order(Digest::of(b"another"), Some(&asked)).unwrap_err().code(), Code::WrongBase);
    let error = update.check_order(base(), Some(&coding(Some(0.2), Values::F16))).unwrap_err();
    assert_eq!(error.to_string(), "the update is written as top 0.1, f16; the job asks for top 0.2, f16");
    assert_eq!(update.check_order(base(), None).unwrap_err().code(), Code::BadUpdate);
    let whole = single(&[1.0; 20]);
    let whole = Update::parse(&whole).unwrap();
    assert!(whole.check_order(base(), None).is_ok() && whole.check_order(base(), Some(&asked)).is_err());
}

#[test]
fn a_head_that_promises_more_than_there_is_takes_no_memory() {
    let huge = Layout::new([("w".to_owned(), DType::F32, vec![1 << 55])]).unwrap();
    for coding in codings() {
        let json = serde_json::json!({"base": base(), "coding": coding}).to_string();
        let json = format!("{json:<0$}", json.len().next_multiple_of(8));
        let mut bytes = [b"NSFLCMP\x01".as_slice(), &(json.len() as u64).to_le_bytes(), json.as_bytes()].concat();
        bytes.extend(huge.header_bytes());
        bytes.extend([0; 64]);
        assert_eq!(judged(&bytes, &huge).unwrap_err().code(), Code::BadUpdate, "{coding}");
    }
}
