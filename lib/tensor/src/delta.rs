//! A client's update: local minus global, written as a stream so that no model is held twice. Neither clipped nor weighed.

use crate::error::shown;
use crate::{
    BLOCK_BYTES, Bf16, DType, F16, F32, F64, Float, Layout, StreamError, TensorError, UpdateFacts, WeightsHead,
    WeightsView, check_block,
};

/// Writes `local − base` as a safetensors file: its head, then blocks in canonical order. Floats are subtracted
/// and rounded once; integer tensors are copied from `local`, for they are combined by their maximum.
///
/// # Errors
/// Other tensors than the base has, a difference that is not finite (what was written is then to be thrown away),
/// or the sink's own error.
pub fn write_delta<E>(
    base: &WeightsView<'_>,
    local: &WeightsView<'_>,
    write: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<UpdateFacts, StreamError<TensorError, E>> {
    let read = |tensor, offset, block: &mut [u8]| {
        block.copy_from_slice(&local.tensor(tensor)[offset..offset + block.len()]);
        Ok(())
    };
    blocks(base, local.layout(), read, write)
}

/// The same with local weights that are read block by block: `read` fills a block from this place of their file.
///
/// # Errors
/// As `write_delta`; an error of `read` counts as the sink's.
pub fn write_delta_from<E>(
    base: &WeightsView<'_>,
    local: &WeightsHead,
    mut read: impl FnMut(usize, &mut [u8]) -> Result<(), E>,
    write: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<UpdateFacts, StreamError<TensorError, E>> {
    let read = |tensor, offset, block: &mut [u8]| read(local.start(tensor) + offset, block);
    blocks(base, local.layout(), read, write)
}

/// `read` fills a block from a tensor, given by its index, and the offset in it.
fn blocks<E>(
    base: &WeightsView<'_>,
    local: &Layout,
    mut read: impl FnMut(usize, usize, &mut [u8]) -> Result<(), E>,
    mut write: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<UpdateFacts, StreamError<TensorError, E>> {
    let layout = base.layout();
    layout.check_same(local).map_err(StreamError::Content)?;
    write(&layout.header_bytes()).map_err(StreamError::Write)?;
    let mut facts = UpdateFacts::zero(layout.tensors().len());
    let len = BLOCK_BYTES.min(layout.data_len());
    let (mut local, mut out) = (vec![0; len], vec![0; len]);
    for (i, spec) in layout.tensors().iter().enumerate() {
        for (n, base) in base.tensor(i).chunks(BLOCK_BYTES).enumerate() {
            let (local, out) = (&mut local[..base.len()], &mut out[..base.len()]);
            read(i, n * BLOCK_BYTES, local).map_err(StreamError::Write)?;
            change_block(spec.dtype, base, local, None, out);
            let max = check_block(spec.dtype, out).map_err(|index| {
                let index = index + n * BLOCK_BYTES / spec.dtype.size();
                StreamError::Content(TensorError::NotFinite { tensor: shown(&spec.name), index })
            })?;
            facts.raise(i, max);
            write(out).map_err(StreamError::Write)?;
        }
    }
    Ok(facts)
}

/// `local − base`, with `more` added if it is given, of blocks of one length: floats are rounded once, other types are
/// copied from `local`.
pub fn change_block(dtype: DType, base: &[u8], local: &[u8], more: Option<&[u8]>, out: &mut [u8]) {
    match dtype {
        DType::F32 => change::<F32, 4>(base, local, more, out),
        DType::F64 => change::<F64, 8>(base, local, more, out),
        DType::F16 => change::<F16, 2>(base, local, more, out),
        DType::Bf16 => change::<Bf16, 2>(base, local, more, out),
        _ => out.copy_from_slice(local),
    }
}

fn change<F: Float<N>, const N: usize>(base: &[u8], local: &[u8], more: Option<&[u8]>, out: &mut [u8]) {
    let (base, local, out) = (base.as_chunks().0, local.as_chunks().0, out.as_chunks_mut().0);
    let all = out.iter_mut().zip(local.iter().zip(base));
    match more {
        None => all.for_each(|(out, (local, base))| *out = F::store(F::load(*local) - F::load(*base))),
        Some(more) => all.zip(more.as_chunks().0).for_each(|((out, (local, base)), more)| {
            *out = F::store(F::load(*local) - F::load(*base) + F::load(*more));
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Layout, check_update};
    use std::convert::Infallible;

    fn model(values: &[f32], count: i64) -> Vec<u8> {
        let tensors = [("n".to_owned(), DType::I64, vec![]), ("w".to_owned(), DType::F32, vec![values.len()])];
        let mut file = Layout::new(tensors).unwrap().header_bytes();
        file.extend_from_slice(&count.to_le_bytes());
        values.iter().for_each(|v| file.extend_from_slice(&v.to_le_bytes()));
        file
    }

    fn delta(base: &[u8], local: &[u8]) -> Result<(Vec<u8>, UpdateFacts), StreamError<TensorError, Infallible>> {
        let mut file = Vec::new();
        let views = (WeightsView::parse(base).unwrap(), WeightsView::parse(local).unwrap());
        let facts = write_delta(&views.0, &views.1, |block| {
            file.extend_from_slice(block);
            Ok(())
        })?;
        Ok((file, facts))
    }

    #[test]
    fn a_delta_is_local_minus_base_across_block_borders_and_keeps_counters() {
        let len = BLOCK_BYTES / 4 + 3;
        let base: Vec<f32> = (0..len).map(|i| i as f32 * 0.1).collect();
        let local: Vec<f32> = base.iter().enumerate().map(|(i, b)| b + (i % 7) as f32).collect();
        let (base_file, local_file) = (model(&base, 5), model(&local, 9));
        let (file, facts) = delta(&base_file, &local_file).unwrap();
        let expected: Vec<f32> = local.iter().zip(&base).map(|(l, b)| l - b).collect();
        assert!(file == model(&expected, 9));
        let view = WeightsView::parse(&file).unwrap();
        assert_eq!(check_update(view.layout(), &view).unwrap(), facts);

        let file_len = local_file.len() as u64;
        let head_len = WeightsHead::length(*local_file.first_chunk().unwrap(), file_len).unwrap();
        let head = WeightsHead::parse(&local_file[..head_len], file_len).unwrap();
        let mut streamed = Vec::new();
        let read = |start: usize, block: &mut [u8]| {
            block.copy_from_slice(&local_file[start..start + block.len()]);
            Ok::<_, Infallible>(())
        };
        let write = |block: &[u8]| {
            streamed.extend_from_slice(block);
            Ok(())
        };
        assert_eq!(write_delta_from(&WeightsView::parse(&base_file).unwrap(), &head, read, write).unwrap(), facts);
        assert!(streamed == file, "read block by block it is the same");
    }

    #[test]
    fn a_delta_that_overflows_is_refused_with_its_index_in_the_tensor() {
        let len = BLOCK_BYTES / 4 + 3;
        let mut local = vec![0.0; len];
        local[len - 1] = 3e38;
        let base: Vec<f32> = local.iter().map(|v| -v).collect();
        let e = delta(&model(&base, 0), &model(&local, 0)).unwrap_err();
        assert_eq!(e.to_string(), format!("tensor 'w' holds a value that is not finite at index {}", len - 1));
    }
}
