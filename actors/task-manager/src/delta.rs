//! The result of a train task: local minus global, written to the client's store block by block. The global model is a
//! file mapping. The local weights are read, not mapped: who could write them could also cut them short, and reading a
//! mapped file that was cut would kill this process.

use crate::compressed::Wanted;
use crate::trainer::Assignment;
use bytes::BytesMut;
use nsfl_actor::{Waiter, blocking};
use nsfl_fault_point::Step;
use nsfl_store::{BlobStore, BlobWriter, StoreError};
use nsfl_tensor::{StreamError, TensorError, WeightsHead, WeightsView, write_delta_from};
use nsfl_trainer::script::open;
use nsfl_types::{BlobRef, Code, Refusal};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Bytes handed to the store at once.
const CHUNK: usize = 1 << 20;

/// Makes the update of the weights in `folder`, compressed if the job asks for it, and stores it, owned by the task.
pub(crate) async fn store(task: &Assignment, folder: &Path, name: &str) -> Result<BlobRef, Refusal> {
    let unread = |e: io::Error| Refusal::new(Code::BadUpdate, format!("the trainer's weights: {e}"));
    let opened = open(folder, Path::new(name)).map_err(unread)?;
    let (local, len) = opened.ok_or_else(|| Refusal::new(Code::BadUpdate, "the trainer wrote no weights"))?;
    let wanted = task.work.compression.as_ref().map(|compression| Wanted::of(task, compression)).transpose()?;
    let base = task.blobs.open(task.base.digest).await.map_err(|e| bad_store(&e))?;
    let writer = task.blobs.create().await.map_err(|e| bad_store(&e))?;
    let (waiter, store) = (Waiter::new(), task.blobs.clone());
    let written = blocking(move || {
        let mut out = Out { writer, waiter: &waiter, buffer: BytesMut::with_capacity(CHUNK) };
        let local = Local::new(local, len)?;
        match wanted {
            None => write(store.as_ref(), &base, &local, &mut out)?,
            Some(wanted) => wanted.write(store.as_ref(), &base, &local, &mut out)?,
        }
        store.forget(&base);
        out.finish()
    });
    let delta = written.await.map_err(|e| Refusal::new(Code::Internal, format!("the update was not made: {e}")))??;
    let step = Step::new("executor", &"delta");
    step.reach("before-commit");
    let blob = delta.commit(&task.owner()).await.map_err(|e| bad_store(&e))?;
    step.reach("after-commit");
    Ok(blob)
}

/// The weights that a trainer has left.
pub(crate) struct Local {
    file: File,
    pub(crate) head: WeightsHead,
}

impl Local {
    fn new(file: File, len: u64) -> Result<Self, Refusal> {
        let head = head(&file, len)?;
        Ok(Self { file, head })
    }

    /// Fills a block from a tensor, given by its index, and the offset in it.
    pub(crate) fn read(&self, tensor: usize, at: usize, block: &mut [u8]) -> Result<(), Refusal> {
        let place = (self.head.start(tensor) + at) as u64;
        self.file.read_exact_at(block, place).map_err(|e| unreadable(&e))
    }
}

/// Takes the update's bytes, and hands them to the store in larger pieces. For the blocking pool only.
pub(crate) struct Out<'a> {
    writer: Box<dyn BlobWriter>,
    waiter: &'a Waiter,
    buffer: BytesMut,
}

impl Out<'_> {
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        if !self.buffer.is_empty() && self.buffer.len() + bytes.len() > CHUNK {
            self.flush()?;
            self.buffer.reserve(CHUNK);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Refusal> {
        self.waiter.wait(self.writer.write(self.buffer.split().freeze())).map_err(|e| bad_store(&e))
    }

    fn finish(mut self) -> Result<Box<dyn BlobWriter>, Refusal> {
        self.flush()?;
        Ok(self.writer)
    }
}

/// Writes `local − base`, both safetensors files. Blocks its thread. Of `base`, a blob of `store`, little stays resident.
///
/// # Errors
/// Weights that are not the model's or not finite, or what the store says.
fn write(store: &dyn BlobStore, base: &[u8], local: &Local, out: &mut Out<'_>) -> Result<(), Refusal> {
    let weights = WeightsView::parse(base).map_err(|e| bad_content(&e))?;
    let read = |start, block: &mut [u8]| local.file.read_exact_at(block, start as u64).map_err(|e| unreadable(&e));
    let mut written = 0;
    let made = write_delta_from(&weights, &local.head, read, |block| {
        written += block.len();
        if written >= CHUNK {
            written = 0;
            store.forget(base);
        }
        out.write(block)
    });
    made.map(drop).map_err(|error| match error {
        StreamError::Content(content) => bad_content(&content),
        StreamError::Write(refusal) => refusal,
    })
}

/// The head of the local weights, with a hint at what is often handed over in place of them.
fn head(local: &File, len: u64) -> Result<WeightsHead, Refusal> {
    let mut prefix = [0; WeightsHead::PREFIX];
    let begin = prefix.len().min(usize::try_from(len).unwrap_or(usize::MAX));
    local.read_exact_at(&mut prefix[..begin], 0).map_err(|e| unreadable(&e))?;
    let refused = |error: TensorError| {
        if prefix.starts_with(b"PK\x03\x04") || prefix[0] == 0x80 {
            let what = "the trainer's weights are a pickle or a zip (torch.save?): safetensors is expected";
            return Refusal::new(Code::BadUpdate, what);
        }
        bad_content(&error)
    };
    let length = WeightsHead::length(prefix, len).map_err(refused)?;
    let mut head = vec![0; length];
    local.read_exact_at(&mut head, 0).map_err(|e| unreadable(&e))?;
    WeightsHead::parse(&head, len).map_err(refused)
}

fn unreadable(error: &io::Error) -> Refusal {
    Refusal::new(Code::BadUpdate, format!("the trainer's weights were not read: {error}"))
}

pub(crate) fn bad_content(error: &TensorError) -> Refusal {
    Refusal::new(error.code(), format!("the trainer's weights: {error}"))
}

fn bad_store(error: &StoreError) -> Refusal {
    Refusal::new(error.code(), format!("the result was not stored: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nsfl_store::Owner;
    use nsfl_store::memory::MemoryBlobStore;
    use nsfl_tensor::{DType, Layout};
    use nsfl_types::Code;

    fn model(values: impl ExactSizeIterator<Item = f32>) -> Vec<u8> {
        let mut file = Layout::new([("w".to_owned(), DType::F32, vec![values.len()])]).unwrap().header_bytes();
        values.for_each(|value| file.extend_from_slice(&value.to_le_bytes()));
        file
    }

    async fn delta(base: Vec<u8>, local: Vec<u8>) -> Result<Vec<u8>, Refusal> {
        let store = std::sync::Arc::new(MemoryBlobStore::default());
        let (writer, at) = (store.create().await.unwrap(), store.clone());
        let waiter = Waiter::new();
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, &local).unwrap();
        let len = local.len() as u64;
        let written = blocking(move || {
            let mut out = Out { writer, waiter: &waiter, buffer: BytesMut::new() };
            write(at.as_ref(), &base, &Local::new(file, len)?, &mut out)?;
            out.finish()
        });
        let writer = written.await.unwrap()?;
        let blob = writer.commit(&Owner::new("me").unwrap()).await.unwrap();
        Ok(store.open(blob.digest).await.unwrap().to_vec())
    }

    #[tokio::test]
    async fn a_delta_of_several_chunks_is_whole_and_in_order() {
        let len = 5 * CHUNK / 8;
        let base = model((0..len).map(|i| i as f32));
        let local = model((0..len).map(|i| i as f32 + (i % 5) as f32));
        assert!(delta(base, local).await.unwrap() == model((0..len).map(|i| (i % 5) as f32)));
    }

    #[tokio::test]
    async fn weights_that_fit_no_delta_are_refused_by_their_code() {
        let base = || model([1.0, 2.0].into_iter());
        let code = async |local: Vec<u8>| delta(base(), local).await.unwrap_err().code;
        assert_eq!(code(model([f32::NAN, 0.0].into_iter())).await, Code::NotFinite);
        assert_eq!(code(model([1.0].into_iter())).await, Code::WrongShape);
        for bytes in [&b"no weights"[..], b"", b"short", b"\x80\x02}q", b"PK\x03\x04 archive/data.pkl"] {
            assert_eq!(code(bytes.to_vec()).await, Code::BadUpdate);
        }
        let pickle = delta(base(), b"PK\x03\x04 archive/data.pkl".to_vec()).await.unwrap_err();
        assert!(pickle.reason.contains("torch.save"), "{}", pickle.reason);
    }
}
