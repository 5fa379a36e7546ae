//! An update as it came, compressed or not: who reads it does not see the difference.

use crate::{CompressError, Compressed, is_compressed};
use nsfl_tensor::{Layout, UpdateFacts, WeightsView, check_update};
use nsfl_types::{Coding, Digest};
use std::ops::Range;

/// An update in someone else's memory.
#[derive(Debug, Clone)]
pub enum Update<'a> {
    /// A safetensors file.
    Whole(WeightsView<'a>),
    /// A compressed one.
    Compressed(Compressed<'a>),
}

impl<'a> Update<'a> {
    /// Reads the head of either. Values are not looked at.
    ///
    /// # Errors
    /// Bytes that are neither.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, CompressError> {
        if is_compressed(bytes) {
            return Compressed::parse(bytes).map(Self::Compressed);
        }
        Ok(WeightsView::parse(bytes).map(Self::Whole)?)
    }

    /// Names, types and shapes.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        match self {
            Self::Whole(view) => view.layout(),
            Self::Compressed(compressed) => compressed.layout(),
        }
    }

    /// Whether reading takes a buffer.
    #[must_use]
    pub fn is_compressed(&self) -> bool {
        matches!(self, Self::Compressed(_))
    }

    /// Bytes of the `index`-th tensor of the layout, whole elements: as they stand in the file, or decoded into `buffer`.
    #[inline]
    pub fn read<'b>(&'b self, index: usize, range: Range<usize>, buffer: &'b mut Vec<u8>) -> &'b [u8] {
        match self {
            Self::Whole(view) => &view.tensor(index)[range],
            Self::Compressed(compressed) => compressed.read(index, range, buffer),
        }
    }

    /// The bytes in the file that hold the `index`-th tensor.
    #[must_use]
    pub fn section(&self, index: usize) -> &'a [u8] {
        match self {
            Self::Whole(view) => view.tensor(index),
            Self::Compressed(compressed) => compressed.section(index),
        }
    }

    /// Checks that it was made from this model and is written as asked for.
    ///
    /// # Errors
    /// An update to another model, or of another coding.
    pub fn check_order(&self, base: Digest, coding: Option<&Coding>) -> Result<(), CompressError> {
        let own = match self {
            Self::Whole(_) => None,
            Self::Compressed(compressed) if compressed.base() != base => {
                return Err(CompressError::Base { expected: base, got: compressed.base() });
            }
            Self::Compressed(compressed) => Some(compressed.coding()),
        };
        if own == coding {
            return Ok(());
        }
        let named = |coding: Option<&Coding>| coding.map_or_else(|| "whole values".to_owned(), ToString::to_string);
        Err(CompressError::Coding { expected: named(coding), got: named(own) })
    }

    /// Checks that it has the tensors of this model, and only finite values.
    ///
    /// # Errors
    /// The first thing that is wrong, with the tensor's name.
    pub fn check(&self, base: &Layout) -> Result<UpdateFacts, CompressError> {
        match self {
            Self::Whole(view) => Ok(check_update(base, view)?),
            Self::Compressed(compressed) => compressed.check(base),
        }
    }
}

impl<'a> From<WeightsView<'a>> for Update<'a> {
    fn from(view: WeightsView<'a>) -> Self {
        Self::Whole(view)
    }
}
