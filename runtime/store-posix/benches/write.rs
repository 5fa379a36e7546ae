//! How fast a blob of 100 MB is hashed, written and made durable. Prints figures; decides nothing.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a bench prints, and a panic is its answer")]

use bytes::Bytes;
use nsfl_store::{BlobStore, Owner};
use nsfl_store_posix::{PosixBlobStore, PosixConfig};
use nsfl_types::Digest;
use std::path::Path;
use std::time::Instant;

const PIECE: usize = 512 << 10;
const LEN: usize = 200 * PIECE;

fn main() {
    // `cargo test --all-targets` runs this too, and has no use for figures.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let bytes = Bytes::from((0..LEN).map(|n| ((n * 31) >> 3) as u8).collect::<Vec<_>>());
    for _ in 0..3 {
        let start = Instant::now();
        std::hint::black_box(Digest::of(&bytes));
        report("hash only", start);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    for (name, fsync) in [("write, no fsync", false), ("write and fsync", true)] {
        for _ in 0..3 {
            let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
            let start = runtime.block_on(write(folder.path(), &bytes, fsync));
            report(name, start);
        }
    }
}

async fn write(root: &Path, bytes: &Bytes, fsync: bool) -> Instant {
    let config = PosixConfig { root: root.to_owned(), max_blob_bytes: u64::MAX, fsync };
    let store = PosixBlobStore::open(config).unwrap();
    let start = Instant::now();
    let mut writer = store.create().await.unwrap();
    for at in (0..LEN).step_by(PIECE) {
        writer.write(bytes.slice(at..at + PIECE)).await.unwrap();
    }
    writer.commit(&Owner::new("bench").unwrap()).await.unwrap();
    start
}

fn report(name: &str, start: Instant) {
    let seconds = start.elapsed().as_secs_f64();
    println!("{name}: {:.0} ms, {:.0} MB/s", seconds * 1e3, LEN as f64 / seconds / 1e6);
}
