//! Blobs: verified, limited, and resumed at the offset.

use crate::support::*;
use bytes::Bytes;
use nsfl_store::memory::MemoryBlobStore;
use nsfl_store::{BlobStore, StoreError};
use nsfl_transport::{BlobError, Liveness};
use nsfl_types::{BlobRef, Code};
use std::sync::atomic::Ordering;

const MIB: usize = 1 << 20;

/// Bytes no two chunks of which are alike.
fn noise(len: usize) -> Bytes {
    let mut state = 1_u64;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_le_bytes()
    };
    (0..len.div_ceil(8)).flat_map(next).take(len).collect()
}

#[tokio::test]
async fn a_blob_goes_up_and_comes_down_whole() {
    let p = pair(Liveness::default()).await;
    for len in [0, 1, 3 * MIB + 17] {
        let bytes = noise(len);
        let blob = BlobRef::of(&bytes);
        soon(p.blobs.put(blob, bytes.clone())).await.unwrap();
        assert_eq!(p.gateway.store.open(blob.digest).await.unwrap(), bytes);
        assert_eq!(p.blobs.stat(blob.digest).await.unwrap(), blob.len);
        let store = MemoryBlobStore::default();
        soon(p.blobs.get(blob, &store, "site-1", &owner())).await.unwrap();
        assert_eq!(store.open(blob.digest).await.unwrap(), bytes);
    }
}

#[tokio::test]
async fn an_upload_cut_on_its_way_goes_on_at_the_offset() {
    let p = pair(Liveness::default()).await;
    let bytes = noise(8 * MIB);
    let blob = BlobRef::of(&bytes);
    p.proxy.cut_after(6 * MIB as i64);
    soon(p.blobs.put(blob, bytes.clone())).await.unwrap();
    assert_eq!(p.gateway.store.open(blob.digest).await.unwrap(), bytes);
    assert!(p.proxy.passed() < 13 * MIB as u64, "{} bytes for 8 MiB: it began anew", p.proxy.passed());
}

#[tokio::test]
async fn a_download_cut_on_its_way_goes_on_at_the_offset() {
    let p = pair(Liveness::default()).await;
    let blob = nsfl_store::put_bytes(&p.gateway.store, noise(8 * MIB), &owner()).await.unwrap();
    p.proxy.cut_after(6 * MIB as i64);
    let store = MemoryBlobStore::default();
    soon(p.blobs.get(blob, &store, "site-1", &owner())).await.unwrap();
    assert_eq!(store.stat(blob.digest).await.unwrap(), Some(blob.len));
    assert!(p.proxy.passed() < 13 * MIB as u64, "{} bytes for 8 MiB: it began anew", p.proxy.passed());
}

#[tokio::test]
async fn an_upload_given_up_halfway_leaves_what_the_server_has_for_the_next() {
    let p = pair(Liveness::default()).await;
    let bytes = noise(16 * MIB);
    let blob = BlobRef::of(&bytes);
    {
        let put = p.blobs.put(blob, bytes.clone());
        tokio::pin!(put);
        let some_held = async {
            while p.gateway.store.held("site-1", blob.digest).await.unwrap() < MIB as u64 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            () = soon(some_held) => {}
            done = &mut put => panic!("too fast to be given up: {done:?}"),
        }
    }
    let held = p.blobs.stat(blob.digest).await.unwrap();
    assert!(held >= MIB as u64);
    soon(p.blobs.put(blob, bytes.clone())).await.unwrap();
    assert_eq!(p.gateway.store.open(blob.digest).await.unwrap(), bytes);
}

#[tokio::test]
async fn what_the_server_does_not_want_is_refused_with_its_code() {
    let p = pair(Liveness::default()).await;
    let code = |result: Result<(), BlobError>| match result {
        Err(BlobError::Refused(refusal)) => refusal.code,
        other => panic!("a refusal was expected, not {other:?}"),
    };
    let bytes = noise(MIB);
    let other = BlobRef { len: bytes.len() as u64, ..BlobRef::of(b"other") };
    assert_eq!(code(soon(p.blobs.put(other, bytes.clone())).await), Code::WrongDigest);
    assert_eq!(p.gateway.store.held("site-1", other.digest).await.unwrap(), 0);
    assert_eq!(p.gateway.refusal().await.1, Code::WrongDigest);

    let huge = Bytes::from(vec![0; 64 * MIB + 1]);
    let huge_ref = BlobRef { len: huge.len() as u64, ..BlobRef::of(b"huge") };
    assert_eq!(code(soon(p.blobs.put(huge_ref, huge)).await), Code::TooLarge);

    p.gateway.forbidden.store(true, Ordering::Relaxed);
    assert_eq!(code(soon(p.blobs.put(BlobRef::of(&bytes), bytes)).await), Code::BlobRefused);

    let store = MemoryBlobStore::default();
    let unknown = BlobRef::of(b"unknown");
    assert_eq!(code(soon(p.blobs.get(unknown, &store, "site-1", &owner())).await), Code::NotFound);
}

#[tokio::test]
async fn a_download_with_the_wrong_bytes_is_not_kept() {
    let p = pair(Liveness::default()).await;
    let wanted = BlobRef::of(b"wanted");
    *p.gateway.forged.lock().unwrap() = Some(Bytes::from_static(b"forged"));
    let store = MemoryBlobStore::default();
    let got = soon(p.blobs.get(wanted, &store, "site-1", &owner())).await;
    assert!(matches!(got, Err(BlobError::Store(StoreError::WrongDigest { .. }))), "{got:?}");
    assert_eq!(store.held("site-1", wanted.digest).await.unwrap(), 0);
}

#[tokio::test]
async fn a_download_over_an_idle_connection_that_died_dials_again() {
    let p = pair(Liveness::default()).await;
    let blob = nsfl_store::put_bytes(&p.gateway.store, noise(MIB), &owner()).await.unwrap();
    for _ in 0..3 {
        let store = MemoryBlobStore::default();
        soon(p.blobs.get(blob, &store, "site-1", &owner())).await.unwrap();
        p.proxy.cut();
    }
}
