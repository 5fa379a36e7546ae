//! Weights files as the builtin trainers read and write them: all F32, checked against the layout they expect.

use crate::TaskError;
use nsfl_tensor::{Layout, WeightsView, check_update};
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

/// The bytes of a weights file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, TaskError> {
    std::fs::read(path).map_err(|source| TaskError::File { path: path.to_owned(), action: "read", source })
}

/// Values of an F32 file with exactly this layout, tensor by tensor, all finite.
pub(crate) fn values(path: &Path, bytes: &[u8], layout: &Layout) -> Result<Vec<Vec<f32>>, TaskError> {
    let failed = |source| TaskError::Weights { path: path.to_owned(), source };
    let view = WeightsView::parse(bytes).map_err(failed)?;
    check_update(layout, &view).map_err(failed)?;
    let tensor = |i| view.tensor(i).as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    Ok((0..layout.tensors().len()).map(tensor).collect())
}

/// Writes an F32 file: `fill` writes the next block of values wherever the layout is at.
pub(crate) fn write(path: &Path, layout: &Layout, mut fill: impl FnMut(&mut [f32])) -> Result<(), TaskError> {
    const BLOCK: usize = 16 * 1024;
    let stream = || {
        let mut file = BufWriter::with_capacity(256 * 1024, File::create(path)?);
        file.write_all(&layout.header_bytes())?;
        let (mut values, mut bytes) = (vec![0.0; BLOCK], vec![0; 4 * BLOCK]);
        let mut left = layout.data_len() / 4;
        while left > 0 {
            let n = left.min(BLOCK);
            fill(&mut values[..n]);
            bytes.as_chunks_mut().0.iter_mut().zip(&values[..n]).for_each(|(b, v)| *b = v.to_le_bytes());
            file.write_all(&bytes[..4 * n])?;
            left -= n;
        }
        file.flush()
    };
    let mut stream = stream;
    stream().map_err(|source| TaskError::File { path: path.to_owned(), action: "written", source })
}
