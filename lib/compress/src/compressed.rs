//! Compressed bytes, parsed: any part of a tensor is decoded by itself. Borrows, and never panics whatever the bytes are.

use crate::CompressError;
use crate::error::shown;
use crate::form::{Form, PAGE, PLACE, WORD, dense_len, pages, run_len, scales_tensor};
use crate::head::{self, Head};
use crate::run::{NoRun, Run, is_scale, within, word};
use nsfl_tensor::{BLOCK_BYTES, Layout, TensorError, TensorSpec, UpdateFacts, check_block, numbers};
use nsfl_types::{Coding, Digest, Values};
use std::ops::Range;

/// Values decoded at once.
const TILE: usize = 256;

/// A compressed file in someone else's memory.
#[derive(Debug, Clone)]
pub struct Compressed<'a> {
    head: Head,
    layout: Layout,
    bytes: &'a [u8],
    sections: Vec<Section>,
}

/// Where a tensor is.
#[derive(Debug, Clone)]
struct Section {
    range: Range<usize>,
    run: Option<Run>,
    /// With top-k, of each page: where it begins and how many values it has.
    pages: Vec<(usize, usize)>,
    /// Of the first page.
    start: usize,
}

impl<'a> Compressed<'a> {
    /// Reads the head and finds the sections. Values are not looked at.
    ///
    /// # Errors
    /// A head of another version or none, sections that do not fit the file.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, CompressError> {
        let (head, layout, mut at) = head::parse(bytes)?;
        let mut sections = Vec::with_capacity(layout.tensors().len());
        for spec in layout.tensors() {
            let section = section(bytes, at, spec, &head.coding)?;
            at = section.range.end;
            sections.push(section);
        }
        if at != bytes.len() {
            return Err(CompressError::Length { expected: at as u64, got: bytes.len() as u64 });
        }
        Ok(Self { head, layout, bytes, sections })
    }

    /// The model it is an update to, or is made from.
    #[must_use]
    pub fn base(&self) -> Digest {
        self.head.base
    }

    /// How it is written.
    #[must_use]
    pub fn coding(&self) -> &Coding {
        &self.head.coding
    }

    /// The tensors that it stands for.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Its bytes that hold the `index`-th tensor, for advice to the page cache.
    #[must_use]
    pub fn section(&self, index: usize) -> &'a [u8] {
        &self.bytes[self.sections[index].range.clone()]
    }

    /// Bytes of the `index`-th tensor, whole elements: as they stand in the file, or decoded into `buffer`.
    pub fn read<'b>(&'b self, index: usize, range: Range<usize>, buffer: &'b mut Vec<u8>) -> &'b [u8] {
        let (section, spec) = (&self.sections[index], &self.layout.tensors()[index]);
        let Some(run) = &section.run else { return &self.section(index)[range] };
        buffer.clear();
        buffer.resize(range.len(), 0);
        let size = spec.dtype.size();
        let wanted = range.start / size..range.end / size;
        for number in wanted.start / PAGE..wanted.end.div_ceil(PAGE) {
            let page = number * PAGE..spec.elements().min((number + 1) * PAGE);
            let from = page.start.max(wanted.start) - wanted.start;
            let inside = within(&wanted, &page);
            let out = &mut buffer[from * size..(from + inside.len()) * size];
            match section.pages.get(number) {
                None => {
                    let begin = section.start + number * run_len(run.values, spec.dtype, PAGE);
                    let bytes = self.bytes.get(begin..section.range.end).unwrap_or_default();
                    dense(run, bytes, inside, out);
                }
                Some((begin, count)) => {
                    let bytes = self.bytes.get(*begin..section.range.end).unwrap_or_default();
                    sparse(run, bytes, *count, inside, out);
                }
            }
        }
        buffer
    }

    /// Checks every section and every value, and finds the largest of each tensor.
    ///
    /// # Errors
    /// Other tensors than `base` has; a section that no client of ours has written; a value that is not finite.
    pub fn check(&self, base: &Layout) -> Result<UpdateFacts, CompressError> {
        base.check_same(&self.layout)?;
        let mut facts = UpdateFacts::zero(self.sections.len());
        let mut buffer = Vec::new();
        for (index, spec) in self.layout.tensors().iter().enumerate() {
            self.check_section(index, spec)?;
            for start in (0..spec.range.len()).step_by(BLOCK_BYTES) {
                let block = self.read(index, start..spec.range.len().min(start + BLOCK_BYTES), &mut buffer);
                let max = check_block(spec.dtype, block).map_err(|at| TensorError::NotFinite {
                    tensor: shown(&spec.name),
                    index: at + start / spec.dtype.size(),
                })?;
                facts.raise(index, max);
            }
        }
        Ok(facts)
    }

    fn check_section(&self, index: usize, spec: &TensorSpec) -> Result<(), CompressError> {
        let section = &self.sections[index];
        let Some(run) = &section.run else { return Ok(()) };
        let bad = |problem| CompressError::section(&spec.name, problem);
        let no_run = |no_run| match no_run {
            NoRun::Scale => CompressError::Scale { tensor: shown(&spec.name) },
            NoRun::Numbers => bad("holds a number of steps that there is not"),
        };
        if !is_scale(run.scale) {
            return Err(no_run(NoRun::Scale));
        }
        let mut at = section.start;
        for (number, page) in pages(spec.elements()).enumerate() {
            let count = match section.pages.get(number) {
                None => page.len(),
                Some((begin, count)) => {
                    let places = &self.bytes[*begin..*begin + count * PLACE];
                    let mut places = places.as_chunks::<PLACE>().0.iter().map(|place| u16::from_le_bytes(*place));
                    if !places.clone().zip(places.clone().skip(1)).all(|(a, b)| a < b) {
                        return Err(bad("holds a place twice or out of order"));
                    }
                    if places.next_back().is_some_and(|last| usize::from(last) >= page.len()) {
                        return Err(bad("holds a place beyond its end"));
                    }
                    at = begin + count * PLACE;
                    *count
                }
            };
            let end = at + run_len(run.values, spec.dtype, count);
            run.check(&self.bytes[at..end], count).map_err(no_run)?;
            at = end;
        }
        Ok(())
    }
}

/// The section of a tensor, which begins at `start`.
fn section(bytes: &[u8], start: usize, spec: &TensorSpec, coding: &Coding) -> Result<Section, CompressError> {
    let left = bytes.len() - start;
    let too_short = |len: Option<usize>| CompressError::Length {
        expected: len.and_then(|len| len.checked_add(start)).map_or(u64::MAX, |end| end as u64),
        got: bytes.len() as u64,
    };
    let fits = |len: Option<usize>| len.filter(|len| *len <= left).ok_or_else(|| too_short(len));
    let Form::Coded { kept, values } = Form::of(spec, coding) else {
        let len = fits(Some(spec.range.len()))?;
        return Ok(Section { range: start..start + len, run: None, pages: Vec::new(), start });
    };
    let scale_len = if scales_tensor(values) { WORD } else { 0 };
    let run =
        |from: usize| Run { values, dtype: spec.dtype, scale: if scale_len > 0 { word(&bytes[from..]) } else { 0.0 } };
    let Some(k) = kept else {
        let len = fits(dense_len(spec, values))?;
        let run = Some(run(start));
        return Ok(Section { range: start..start + len, run, pages: Vec::new(), start: start + scale_len });
    };
    let (pages, at) = kept_pages(bytes, start + scale_len, spec, values, k, &too_short)?;
    let run = Some(run(start));
    Ok(Section { range: start..at, run, pages, start: start + scale_len })
}

/// The pages of a section with top-k, whose counts begin at `start`, and where it ends.
fn kept_pages(
    bytes: &[u8],
    start: usize,
    spec: &TensorSpec,
    values: Values,
    k: usize,
    too_short: &dyn Fn(Option<usize>) -> CompressError,
) -> Result<(Vec<(usize, usize)>, usize), CompressError> {
    let table = spec.elements().div_ceil(PAGE).saturating_mul(WORD);
    let counts = bytes.get(start..).and_then(|rest| rest.get(..table)).ok_or_else(|| too_short(Some(table)))?;
    let (mut at, mut sum, mut found) = (start + table, 0_usize, Vec::with_capacity(table / WORD));
    for (page, count) in pages(spec.elements()).zip(counts.as_chunks::<WORD>().0) {
        let count = u32::from_le_bytes(*count) as usize;
        if count > page.len() {
            return Err(CompressError::section(&spec.name, "holds more values than it has"));
        }
        found.push((at, count));
        at += count * PLACE + run_len(values, spec.dtype, count);
        sum += count;
        if at > bytes.len() {
            return Err(too_short(Some(at)));
        }
    }
    if sum != k {
        return Err(CompressError::section(&spec.name, "holds more or fewer values than its share"));
    }
    Ok((found, at))
}

/// Decodes elements of a page that holds all of them.
fn dense(run: &Run, page: &[u8], elements: Range<usize>, out: &mut [u8]) {
    let size = run.dtype.size();
    let mut tile = [0.0; TILE];
    for (first, out) in elements.step_by(TILE).zip(out.chunks_mut(TILE * size)) {
        let tile = &mut tile[..out.len() / size];
        run.decode(page, first, tile);
        numbers::store(run.dtype, tile, out);
    }
}

/// Decodes elements of a page that holds some of them, into zeros.
fn sparse(run: &Run, page: &[u8], count: usize, elements: Range<usize>, out: &mut [u8]) {
    let size = run.dtype.size();
    let (places, bytes) = page.split_at((count * PLACE).min(page.len()));
    let places = places.as_chunks::<PLACE>().0;
    let before = |end: usize| places.partition_point(|place| usize::from(u16::from_le_bytes(*place)) < end);
    let wanted = before(elements.start)..before(elements.end);
    let (mut tile, mut decoded) = ([0.0; TILE], [0; TILE * 8]);
    for (first, places) in wanted.clone().step_by(TILE).zip(places.get(wanted).unwrap_or_default().chunks(TILE)) {
        let tile = &mut tile[..places.len()];
        let decoded = &mut decoded[..places.len() * size];
        run.decode(bytes, first, tile);
        numbers::store(run.dtype, tile, decoded);
        for (place, value) in places.iter().zip(decoded.chunks(size)) {
            let place = usize::from(u16::from_le_bytes(*place)).wrapping_sub(elements.start);
            if let Some(out) = place.checked_mul(size).and_then(|at| out.get_mut(at..)?.get_mut(..size)) {
                out.copy_from_slice(value);
            }
        }
    }
}

/// Writes the safetensors file that a compressed one stands for: its head, then blocks in canonical order.
///
/// # Errors
/// Those of `write`.
pub fn decompress<E>(from: &Compressed<'_>, mut write: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
    write(&from.layout.header_bytes())?;
    let mut buffer = Vec::new();
    for (index, spec) in from.layout.tensors().iter().enumerate() {
        for start in (0..spec.range.len()).step_by(BLOCK_BYTES) {
            write(from.read(index, start..spec.range.len().min(start + BLOCK_BYTES), &mut buffer))?;
        }
    }
    Ok(())
}
