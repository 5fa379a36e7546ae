//! Compression as a stream: what is compressed is read page by page, as often as it takes, and never held.

use crate::CompressError;
use crate::error::shown;
use crate::form::{Form, PAGE, pages, scales_tensor};
use crate::head;
use crate::quantise::{Chances, ScaleOf};
use crate::run::Run;
use crate::select::Cut;
use nsfl_tensor::{BLOCK_BYTES, Layout, StreamError, TensorError, TensorSpec, change_block, check_block, numbers};
use nsfl_types::{Coding, Digest, Norm, Values, seed_for};
use std::ops::Range;

/// What is to be compressed.
#[derive(Debug, Clone, Copy)]
pub struct Task<'a> {
    /// Its tensors.
    pub layout: &'a Layout,
    /// The model it is an update to, or is made from.
    pub base: Digest,
    /// How.
    pub coding: &'a Coding,
    /// Decides how values are rounded.
    pub seed: u64,
    /// Whether what is lost is wanted.
    pub lost: bool,
}

/// A part of what comes of it, in order of each kind.
#[derive(Debug, Clone, Copy)]
pub enum Part<'a> {
    /// Of the compressed file.
    Compressed(&'a [u8]),
    /// Of the safetensors file, in the layout of [`crate::lost_layout`], of what the compressed file lacks.
    Lost(&'a [u8]),
}

/// Compresses a file. `read` fills a block from a tensor, given by its index, and the offset in it: the same each time.
///
/// # Errors
/// A value that is not finite or beyond the coding (what was written is then to be thrown away), or an error of `read` or
/// `write`.
pub fn compress<E>(
    task: &Task<'_>,
    read: impl FnMut(usize, usize, &mut [u8]) -> Result<(), E>,
    mut write: impl FnMut(Part<'_>) -> Result<(), E>,
) -> Result<(), StreamError<CompressError, E>> {
    let file_head = head::bytes(task.base, task.coding, task.layout);
    write(Part::Compressed(&file_head)).map_err(StreamError::Write)?;
    if task.lost {
        let layout = crate::lost_layout(task.layout, task.coding);
        write(Part::Lost(&layout.header_bytes())).map_err(StreamError::Write)?;
    }
    let buffers = (Vec::new(), Vec::new(), Vec::new());
    let mut writer = Writer { task, read, write, bytes: buffers.0, values: buffers.1, out: buffers.2 };
    for (tensor, spec) in task.layout.tensors().iter().enumerate() {
        match Form::of(spec, task.coding) {
            Form::Plain => writer.plain(tensor, spec)?,
            Form::Coded { kept, values } => writer.coded(tensor, spec, kept, values)?,
        }
    }
    Ok(())
}

struct Writer<'a, R, W> {
    task: &'a Task<'a>,
    read: R,
    write: W,
    /// A page as it is.
    bytes: Vec<u8>,
    values: Vec<f64>,
    /// What is written of it.
    out: Vec<u8>,
}

type Written<T, E> = Result<T, StreamError<CompressError, E>>;

impl<R, W, E> Writer<'_, R, W>
where
    R: FnMut(usize, usize, &mut [u8]) -> Result<(), E>,
    W: FnMut(Part<'_>) -> Result<(), E>,
{
    fn plain(&mut self, tensor: usize, spec: &TensorSpec) -> Written<(), E> {
        for start in (0..spec.range.len()).step_by(BLOCK_BYTES) {
            self.fill(tensor, spec, start..spec.range.len().min(start + BLOCK_BYTES))?;
            (self.write)(Part::Compressed(&self.bytes)).map_err(StreamError::Write)?;
        }
        Ok(())
    }

    fn coded(&mut self, tensor: usize, spec: &TensorSpec, kept: Option<usize>, values: Values) -> Written<(), E> {
        let elements = spec.elements();
        let mut cut = match kept {
            None => None,
            Some(k) => Some(Cut::after(spec.dtype, k, |see| {
                pages(elements).try_for_each(|page| {
                    self.load(tensor, spec, page)?;
                    see(&self.values);
                    Ok(())
                })
            })?),
        };
        let (scale, counts) = self.survey(tensor, spec, cut, values)?;
        let mut start = Vec::new();
        if scales_tensor(values) {
            start.extend_from_slice(&scale.to_le_bytes());
        }
        if cut.is_some() {
            start.extend(counts.iter().flat_map(|count| count.to_le_bytes()));
        }
        (self.write)(Part::Compressed(&start)).map_err(StreamError::Write)?;
        let run = Run { values, dtype: spec.dtype, scale };
        let mut chances = Chances::new(seed_for(self.task.seed, &["compress", &spec.name]));
        for (number, page) in pages(elements).enumerate() {
            self.load(tensor, spec, page.clone())?;
            let places = cut.as_mut().map(|cut| places(cut, &self.values));
            if places.as_ref().is_some_and(|places| counts.get(number) != Some(&count(places))) {
                return Err(StreamError::Content(CompressError::Changed { tensor: shown(&spec.name) }));
            }
            self.page(spec, &run, page, places.as_deref(), &mut chances)?;
        }
        Ok(())
    }

    /// What must be known of a tensor before its first page is written: its scale, and how many values each page has.
    fn survey(
        &mut self,
        tensor: usize,
        spec: &TensorSpec,
        cut: Option<Cut>,
        values: Values,
    ) -> Written<(f32, Vec<u32>), E> {
        let norm = if let Values::Qsgd { norm, bucket: None, .. } = values { Some(norm) } else { None };
        if cut.is_none() && norm.is_none() {
            return Ok((0.0, Vec::new()));
        }
        let (mut cut, mut counts, mut scale) = (cut, Vec::new(), ScaleOf::new(norm.unwrap_or(Norm::Max)));
        for page in pages(spec.elements()) {
            self.load(tensor, spec, page)?;
            match &mut cut {
                None => scale.add(&self.values),
                Some(cut) => {
                    let taken = places(cut, &self.values);
                    let kept: Vec<f64> = taken.iter().map(|place| self.values[usize::from(*place)]).collect();
                    scale.add(&kept);
                    counts.push(count(&taken));
                }
            }
        }
        let too_large = |at| StreamError::Content(too_large(spec, scale.largest(), at, values));
        let scale = if norm.is_some() { scale.finish().map_err(too_large)? } else { 0.0 };
        Ok((scale, counts))
    }

    /// Writes a page that is loaded, and what it loses.
    fn page(
        &mut self,
        spec: &TensorSpec,
        run: &Run,
        page: Range<usize>,
        places: Option<&[u16]>,
        chances: &mut Chances,
    ) -> Written<(), E> {
        self.out.clear();
        let kept: Vec<f64>;
        let values = match places {
            None => &self.values,
            Some(places) => {
                self.out.extend(places.iter().flat_map(|place| place.to_le_bytes()));
                kept = places.iter().map(|place| self.values[usize::from(*place)]).collect();
                &kept
            }
        };
        let start = self.out.len();
        run.encode(values, chances, &mut self.out).map_err(|at| {
            let place = places.map_or(at, |places| usize::from(places[at]));
            StreamError::Content(too_large(spec, values[at], page.start + place, run.values))
        })?;
        (self.write)(Part::Compressed(&self.out)).map_err(StreamError::Write)?;
        if !self.task.lost {
            return Ok(());
        }
        let mut read = vec![0.0; values.len()];
        run.decode(&self.out[start..], 0, &mut read);
        let decoded = match places {
            None => read,
            Some(places) => {
                let mut all = vec![0.0; page.len()];
                places.iter().zip(read).for_each(|(place, value)| all[usize::from(*place)] = value);
                all
            }
        };
        let (mut written, mut lost) = (vec![0; self.bytes.len()], vec![0; self.bytes.len()]);
        numbers::store(spec.dtype, &decoded, &mut written);
        change_block(spec.dtype, &written, &self.bytes, None, &mut lost);
        (self.write)(Part::Lost(&lost)).map_err(StreamError::Write)
    }

    /// Loads elements of a float tensor.
    fn load(&mut self, tensor: usize, spec: &TensorSpec, elements: Range<usize>) -> Written<(), E> {
        let size = spec.dtype.size();
        self.values.resize(elements.len(), 0.0);
        self.fill(tensor, spec, elements.start * size..elements.end * size)?;
        numbers::load(spec.dtype, &self.bytes, &mut self.values);
        Ok(())
    }

    /// Reads bytes of a tensor. Floats are finite.
    fn fill(&mut self, tensor: usize, spec: &TensorSpec, range: Range<usize>) -> Written<(), E> {
        self.bytes.resize(range.len(), 0);
        (self.read)(tensor, range.start, &mut self.bytes).map_err(StreamError::Write)?;
        let checked = check_block(spec.dtype, &self.bytes);
        checked.map(drop).map_err(|index| {
            let index = index + range.start / spec.dtype.size();
            StreamError::Content(TensorError::NotFinite { tensor: shown(&spec.name), index }.into())
        })
    }
}

/// Where in a page the values are that the cut takes.
#[allow(clippy::cast_possible_truncation, reason = "a page has as many places as a u16")]
fn places(cut: &mut Cut, values: &[f64]) -> Vec<u16> {
    debug_assert!(values.len() <= PAGE, "no more than a page");
    (0..values.len()).filter(|place| cut.takes(values[*place])).map(|place| place as u16).collect()
}

#[allow(clippy::cast_possible_truncation, reason = "no more than a page has")]
fn count(places: &[u16]) -> u32 {
    places.len() as u32
}

fn too_large(spec: &TensorSpec, value: f64, index: usize, values: Values) -> CompressError {
    let coding = match values {
        Values::F16 => "f16",
        Values::Bf16 => "bf16",
        Values::Whole | Values::Qsgd { .. } => "a scale in single precision",
    };
    CompressError::TooLarge { tensor: shown(&spec.name), value, index, coding: coding.to_owned() }
}
