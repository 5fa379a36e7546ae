//! The update of a train task, compressed as the job asks: the change of the weights, with what the last update lost, is read
//! as often as it takes and never held. What this one loses is written beside it, for the next.

use crate::delta::{self, Local, Out};
use crate::residual::{Residuals, Version};
use crate::trainer::Assignment;
use nsfl_compress::{CompressError, Part, Task, compress, lost_layout};
use nsfl_messages::wire::Compression;
use nsfl_store::BlobStore;
use nsfl_tensor::{StreamError, WeightsHead, WeightsView, change_block};
use nsfl_types::{Code, Digest, Refusal, UpdateCoding};
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::FileExt as _;

/// How an update is to be compressed, and whose it is.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    coding: UpdateCoding,
    model: Digest,
    seed: u64,
    own: Version,
    counted: Option<Version>,
    residuals: Residuals,
}

impl Wanted {
    pub(crate) fn of(task: &Assignment, compression: &Compression) -> Result<Self, Refusal> {
        let bad = |e| Refusal::new(Code::BadDocument, format!("the job's compression: {e}"));
        Ok(Self {
            coding: serde_json::from_str(&compression.coding).map_err(bad)?,
            model: task.model,
            seed: task.work.seed,
            own: (task.key.round, task.key.attempt),
            counted: compression.counted,
            residuals: Residuals::of(&task.residuals, &task.key),
        })
    }

    /// Writes the compressed update. Blocks its thread. Of `base`, a blob of `store`, little stays resident.
    pub(crate) fn write(
        &self,
        store: &dyn BlobStore,
        base: &[u8],
        local: &Local,
        out: &mut Out<'_>,
    ) -> Result<(), Refusal> {
        let weights = WeightsView::parse(base).map_err(|e| delta::bad_content(&e))?;
        weights.layout().check_same(local.head.layout()).map_err(|e| delta::bad_content(&e))?;
        let UpdateCoding { ref coding, error_feedback } = self.coding;
        let task = Task { layout: weights.layout(), base: self.model, coding, seed: self.seed, lost: error_feedback };
        let before = if error_feedback { self.before(&weights)? } else { None };
        let mut lost = match error_feedback {
            true => Some(BufWriter::with_capacity(1 << 20, self.residuals.create(self.own).map_err(|e| unkept(&e))?)),
            false => None,
        };
        let (mut own, mut more) = (Vec::new(), Vec::new());
        let read = |tensor: usize, at: usize, block: &mut [u8]| {
            let spec = &weights.layout().tensors()[tensor];
            own.resize(block.len(), 0);
            local.read(tensor, at, &mut own)?;
            let more = match &before {
                Some(before) => before.read(tensor, at, block.len(), &mut more)?,
                None => None,
            };
            let base = &weights.tensor(tensor)[at..at + block.len()];
            change_block(spec.dtype, base, &own, more, block);
            store.forget(base);
            Ok(())
        };
        let written = compress(&task, read, |part| match (part, &mut lost) {
            (Part::Compressed(bytes), _) => out.write(bytes),
            (Part::Lost(bytes), Some(lost)) => lost.write_all(bytes).map_err(|e| unkept(&e)),
            (Part::Lost(_), None) => Ok(()),
        });
        written.map_err(|error| match error {
            StreamError::Content(content) => bad_content(&content),
            StreamError::Write(refusal) => refusal,
        })?;
        if let Some(lost) = lost {
            let file = lost.into_inner().map_err(|e| unkept(e.error()))?;
            self.residuals.keep(&file, self.own, self.counted).map_err(|e| unkept(&e))?;
        }
        Ok(())
    }

    /// What the update that was counted last has lost. One that is not here, or not readable, is told of and begun anew.
    fn before(&self, weights: &WeightsView<'_>) -> Result<Option<Before>, Refusal> {
        let Some(counted) = self.counted else { return Ok(None) };
        let Some((file, len)) = self.residuals.open(counted).map_err(|e| unkept(&e))? else {
            tracing::warn!(round = counted.0, "what the last update lost is not here: error feedback begins anew");
            return Ok(None);
        };
        let head = read_head(&file, len).map_err(|e| unkept(&e))?;
        let expected = lost_layout(weights.layout(), &self.coding.coding);
        let Some(head) = head.filter(|head| *head.layout() == expected) else {
            tracing::warn!(round = counted.0, "what the last update lost is not readable: error feedback begins anew");
            return Ok(None);
        };
        let of = |name: &str| expected.tensors().iter().position(|spec| spec.name == name).map(|i| head.start(i));
        let starts = weights.layout().tensors().iter().map(|spec| of(&spec.name)).collect();
        Ok(Some(Before { file, starts }))
    }
}

/// What an earlier update has lost: of each tensor, where it is in the file.
struct Before {
    file: File,
    starts: Vec<Option<usize>>,
}

impl Before {
    fn read<'b>(
        &self,
        tensor: usize,
        at: usize,
        len: usize,
        buffer: &'b mut Vec<u8>,
    ) -> Result<Option<&'b [u8]>, Refusal> {
        let Some(start) = self.starts[tensor] else { return Ok(None) };
        buffer.resize(len, 0);
        self.file.read_exact_at(buffer, (start + at) as u64).map_err(|e| unkept(&e))?;
        Ok(Some(buffer))
    }
}

fn read_head(file: &File, len: u64) -> io::Result<Option<WeightsHead>> {
    let mut prefix = [0; WeightsHead::PREFIX];
    if len < prefix.len() as u64 {
        return Ok(None);
    }
    file.read_exact_at(&mut prefix, 0)?;
    let Ok(length) = WeightsHead::length(prefix, len) else { return Ok(None) };
    let mut head = vec![0; length];
    file.read_exact_at(&mut head, 0)?;
    Ok(WeightsHead::parse(&head, len).ok())
}

fn bad_content(error: &CompressError) -> Refusal {
    Refusal::new(error.code(), format!("the trainer's weights: {error}"))
}

fn unkept(error: &io::Error) -> Refusal {
    let code = if error.kind() == io::ErrorKind::StorageFull { Code::DiskFull } else { Code::Store };
    Refusal::new(code, format!("what compression loses of the update was not kept: {error}"))
}
