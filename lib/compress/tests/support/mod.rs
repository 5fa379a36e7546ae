//! Files of a few tensors, compressed and read again.

#![allow(dead_code, unreachable_pub, reason = "each test program uses its part")]

use nsfl_compress::{CompressError, Compressed, Part, Task, compress, decompress};
use nsfl_tensor::{DType, Layout, StreamError, WeightsView, numbers};
use nsfl_types::{Bits, Bucket, Coding, Digest, Norm, Share, Values};
use std::convert::Infallible;

pub fn base() -> Digest {
    Digest::of(b"the model")
}

pub fn coding(top_k: Option<f64>, values: Values) -> Coding {
    Coding { top_k: top_k.map(|share| Share::try_from(share).unwrap()), values }
}

pub fn qsgd(bits: Bits, bucket: Option<u32>, norm: Norm) -> Values {
    Values::Qsgd { bits, bucket: bucket.map(|bucket| Bucket::try_from(bucket).unwrap()), norm }
}

/// Every coding that there is.
pub fn codings() -> Vec<Coding> {
    let mut values = vec![Values::Whole, Values::F16, Values::Bf16];
    for bits in [Bits::Four, Bits::Eight] {
        for norm in [Norm::Max, Norm::L2] {
            values.extend([None, Some(16), Some(512)].map(|bucket| qsgd(bits, bucket, norm)));
        }
    }
    [None, Some(0.1), Some(0.7)].into_iter().flat_map(|top| values.iter().map(move |v| coding(top, *v))).collect()
}

pub fn file(tensors: &[(&str, DType, Vec<f64>)]) -> Vec<u8> {
    let items = tensors.iter().map(|(name, dtype, values)| ((*name).to_owned(), *dtype, vec![values.len()]));
    let layout = Layout::new(items).unwrap();
    let mut bytes = layout.header_bytes();
    for spec in layout.tensors() {
        let (_, dtype, values) = tensors.iter().find(|tensor| tensor.0 == spec.name).unwrap();
        let start = bytes.len();
        bytes.resize(start + spec.range.len(), 0);
        if dtype.is_float() {
            numbers::store(*dtype, values, &mut bytes[start..]);
        } else {
            bytes[start..].iter_mut().zip(values).for_each(|(byte, value)| *byte = *value as u8);
        }
    }
    bytes
}

pub fn single(values: &[f64]) -> Vec<u8> {
    file(&[("w", DType::F32, values.to_vec())])
}

/// A tensor's values.
pub fn values(file: &[u8], name: &str) -> Vec<f64> {
    let view = WeightsView::parse(file).unwrap();
    let index = view.layout().tensors().iter().position(|spec| spec.name == name).unwrap();
    let spec = &view.layout().tensors()[index];
    let mut values = vec![0.0; spec.elements()];
    numbers::load(spec.dtype, view.tensor(index), &mut values);
    values
}

/// Compressed, and what that loses.
pub fn both(file: &[u8], coding: &Coding, seed: u64) -> Result<(Vec<u8>, Vec<u8>), CompressError> {
    let view = WeightsView::parse(file).unwrap();
    let (mut compressed, mut lost) = (Vec::new(), Vec::new());
    let task = Task { layout: view.layout(), base: base(), coding, seed, lost: true };
    let read = |tensor, at, block: &mut [u8]| {
        block.copy_from_slice(&view.tensor(tensor)[at..at + block.len()]);
        Ok::<_, Infallible>(())
    };
    let written = compress(&task, read, |part| {
        match part {
            Part::Compressed(bytes) => compressed.extend_from_slice(bytes),
            Part::Lost(bytes) => lost.extend_from_slice(bytes),
        }
        Ok(())
    });
    match written {
        Ok(()) => Ok((compressed, lost)),
        Err(StreamError::Content(error)) => Err(error),
        Err(StreamError::Write(never)) => match never {},
    }
}

pub fn read(compressed: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    let Ok(()) = decompress(&Compressed::parse(compressed).unwrap(), |block| {
        file.extend_from_slice(block);
        Ok::<_, Infallible>(())
    });
    file
}
