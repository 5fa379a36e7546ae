//! How a tensor's section is built, and how long its parts are. Decided by the tensor and the coding alone.

use crate::head;
use nsfl_tensor::{DType, Layout, TensorSpec};
use nsfl_types::{Coding, Digest, Values};
use std::ops::Range;

/// Elements of a page: places in it fit in a `u16`.
pub(crate) const PAGE: usize = 1 << 16;
/// Bytes of a scale, and of a page's count.
pub(crate) const WORD: usize = 4;
/// Bytes of a place in a page.
pub(crate) const PLACE: usize = 2;

/// What a tensor's section is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Form {
    /// The tensor's bytes.
    Plain,
    /// Values in another form, all of them or some.
    Coded { kept: Option<usize>, values: Values },
}

impl Form {
    pub(crate) fn of(spec: &TensorSpec, coding: &Coding) -> Self {
        let elements = spec.elements();
        if !spec.dtype.is_float() || spec.is_statistic() || elements == 0 {
            return Self::Plain;
        }
        let narrow = spec.dtype.size() <= 2 && matches!(coding.values, Values::F16 | Values::Bf16);
        let values = if narrow { Values::Whole } else { coding.values };
        match (coding.top_k, values) {
            (None, Values::Whole) => Self::Plain,
            (share, values) => Self::Coded { kept: share.map(|share| share.of(elements)), values },
        }
    }
}

/// The pages of so many elements.
pub(crate) fn pages(elements: usize) -> impl Iterator<Item = Range<usize>> {
    (0..elements).step_by(PAGE).map(move |start| start..elements.min(start + PAGE))
}

/// Whether one scale is for all of a tensor.
pub(crate) fn scales_tensor(values: Values) -> bool {
    matches!(values, Values::Qsgd { bucket: None, .. })
}

/// Bytes of a run of `count` values, no more than a page's.
pub(crate) fn run_len(values: Values, dtype: DType, count: usize) -> usize {
    match values {
        Values::Whole => count * dtype.size(),
        Values::F16 | Values::Bf16 => count * 2,
        Values::Qsgd { bits, bucket, .. } => {
            let scales = bucket.map_or(0, |bucket| count.div_ceil(bucket.get()));
            (count * bits.count()).div_ceil(8) + scales * WORD
        }
    }
}

/// Bytes of a section without top-k; `None` when it is beyond what can be addressed.
pub(crate) fn dense_len(spec: &TensorSpec, values: Values) -> Option<usize> {
    let (full, rest) = (spec.elements() / PAGE, spec.elements() % PAGE);
    let pages = full.checked_mul(run_len(values, spec.dtype, PAGE))?;
    let scale = if scales_tensor(values) { WORD } else { 0 };
    pages.checked_add(run_len(values, spec.dtype, rest) + scale)
}

/// Bytes of weights of this layout when they are compressed; `None` with top-k, where it depends on the values.
#[must_use]
pub fn compressed_len(layout: &Layout, coding: &Coding) -> Option<u64> {
    let head = head::bytes(Digest::from_bytes([0; 32]), coding, layout).len();
    let section = |spec: &TensorSpec| match Form::of(spec, coding) {
        Form::Plain => Some(spec.range.len()),
        Form::Coded { kept: None, values } => dense_len(spec, values),
        Form::Coded { kept: Some(_), .. } => None,
    };
    layout.tensors().iter().try_fold(head, |sum, spec| sum.checked_add(section(spec)?)).map(|len| len as u64)
}

/// The tensors of what coding loses: those that are not written whole.
#[must_use]
pub fn lost_layout(layout: &Layout, coding: &Coding) -> Layout {
    let coded = layout.tensors().iter().filter(|spec| Form::of(spec, coding) != Form::Plain);
    let items = coded.map(|spec| (spec.name.clone(), spec.dtype, spec.shape.clone()));
    Layout::new(items).expect("some tensors of a checked layout")
}
