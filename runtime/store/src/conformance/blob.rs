//! What every blob store must do.

use crate::{BlobStore, Owner, StoreError, SweepReport, put_bytes};
use bytes::Bytes;
use nsfl_types::{BlobRef, Digest};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const MAX: u64 = 4 << 20;
const HOUR: Duration = Duration::from_secs(3600);

/// Checks a blob store. `open` makes a store in the folder given that takes blobs of at most so many bytes.
pub async fn blob_store<S: BlobStore>(open: impl AsyncFn(&Path, u64) -> S) {
    let fresh = async || {
        let folder = tempfile::tempdir().unwrap();
        (open(folder.path(), MAX).await, folder)
    };
    what_was_written_in_pieces_is_read_whole(&fresh().await.0).await;
    an_empty_blob_is_a_blob(&fresh().await.0).await;
    a_dropped_writer_goes_on_where_it_stopped(&fresh().await.0).await;
    two_writers_of_the_same_blob_do_not_meet(&fresh().await.0).await;
    a_writer_that_begins_again_takes_over_from_its_elder(&fresh().await.0).await;
    bytes_of_another_digest_or_length_are_refused_and_removed(&fresh().await.0).await;
    more_bytes_than_announced_or_allowed_are_refused(&fresh().await.0).await;
    a_blob_already_whole_only_gains_an_owner(&fresh().await.0).await;
    a_new_blob_that_was_dropped_is_gone(&fresh().await.0).await;
    sweep_removes_what_nobody_owns(&fresh().await.0).await;
    a_whole_blob_swept_before_it_is_owned_is_not_found(&fresh().await.0).await;
    sweep_removes_partials_that_nobody_writes(&fresh().await.0).await;
    releasing_an_owner_releases_those_under_it_by_whole_names(&fresh().await.0).await;
    what_is_not_there_is_not_found(&fresh().await.0).await;
    an_exported_blob_is_a_file_of_its_own_and_imports_again(&fresh().await.0).await;
    let (store, _folder) = fresh().await;
    readers_share_the_bytes_and_outlive_the_blob(Arc::new(store)).await;
}

/// Checks that blobs, owners and partials are there after the store was closed and opened again.
pub async fn blob_store_persists<S: BlobStore>(open: impl AsyncFn(&Path, u64) -> S) {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), MAX).await;
    let owned = put_bytes(&store, content(1, 100), &owner("a")).await.unwrap();
    let freed = put_bytes(&store, content(2, 100), &owner("b")).await.unwrap();
    store.release(freed.digest, &owner("b")).await.unwrap();
    let bytes = content(3, 3_000_000);
    let blob = BlobRef::of(&bytes);
    let mut writer = store.begin("x", blob).await.unwrap();
    writer.write(bytes.slice(..2_000_000)).await.unwrap();
    drop(writer);
    assert_eq!(store.held("x", blob.digest).await.unwrap(), 2_000_000);
    drop(store);

    let store = open(folder.path(), MAX).await;
    let mut writer = store.begin("x", blob).await.unwrap();
    assert_eq!(writer.offset(), 2_000_000);
    writer.write(bytes.slice(2_000_000..)).await.unwrap();
    writer.commit(&owner("a")).await.unwrap();
    assert_eq!(store.open(blob.digest).await.unwrap(), bytes);
    assert_eq!(store.sweep(HOUR).await.unwrap(), SweepReport { blobs: 1, partials: 0, bytes: 100 });
    assert_eq!(store.stat(owned.digest).await.unwrap(), Some(100));
}

async fn what_was_written_in_pieces_is_read_whole(store: &dyn BlobStore) {
    let bytes = content(1, 3_000_001);
    let mut writer = store.create().await.unwrap();
    for (index, piece) in [0..1, 1..1, 1..700_000, 700_000..2_900_000, 2_900_000..3_000_001].into_iter().enumerate() {
        writer.write(bytes.slice(piece.clone())).await.unwrap();
        assert_eq!(writer.offset(), piece.end as u64, "after piece {index}");
    }
    assert_eq!(writer.commit(&owner("a")).await.unwrap(), BlobRef::of(&bytes));
    assert_eq!(store.open(Digest::of(&bytes)).await.unwrap(), bytes);
    assert_eq!(store.stat(Digest::of(&bytes)).await.unwrap(), Some(3_000_001));
}

async fn an_empty_blob_is_a_blob(store: &dyn BlobStore) {
    let blob = put_bytes(store, Bytes::new(), &owner("a")).await.unwrap();
    assert_eq!(blob, BlobRef::of(b""));
    assert_eq!(store.open(blob.digest).await.unwrap(), Bytes::new());
    let writer = store.begin("x", blob).await.unwrap();
    assert_eq!(writer.commit(&owner("b")).await.unwrap(), blob);
}

async fn a_dropped_writer_goes_on_where_it_stopped(store: &dyn BlobStore) {
    let bytes = content(1, 1_000_000);
    let blob = BlobRef::of(&bytes);
    let mut from = 0;
    for to in [10, 10, 300_000, 999_999] {
        let mut writer = store.begin("x", blob).await.unwrap();
        assert_eq!(writer.offset(), from as u64);
        writer.write(bytes.slice(from..to)).await.unwrap();
        drop(writer);
        assert_eq!(store.held("x", blob.digest).await.unwrap(), to as u64);
        assert_eq!(store.stat(blob.digest).await.unwrap(), None);
        from = to;
    }
    let mut writer = store.begin("x", blob).await.unwrap();
    writer.write(bytes.slice(from..)).await.unwrap();
    assert_eq!(writer.commit(&owner("a")).await.unwrap(), blob);
    assert_eq!(store.open(blob.digest).await.unwrap(), bytes);
}

async fn two_writers_of_the_same_blob_do_not_meet(store: &dyn BlobStore) {
    let bytes = content(1, 1000);
    let blob = BlobRef::of(&bytes);
    let mut x = store.begin("x", blob).await.unwrap();
    x.write(bytes.slice(..600)).await.unwrap();
    let mut y = store.begin("y", blob).await.unwrap();
    assert_eq!(y.offset(), 0);
    y.write(bytes.slice(..100)).await.unwrap();
    assert_eq!(store.held("x", blob.digest).await.unwrap(), 600);
    assert_eq!(store.held("y", blob.digest).await.unwrap(), 100);
    y.write(bytes.slice(100..)).await.unwrap();
    assert_eq!(y.commit(&owner("y")).await.unwrap(), blob);
    x.write(bytes.slice(600..)).await.unwrap();
    assert_eq!(x.commit(&owner("x")).await.unwrap(), blob);
    store.release(blob.digest, &owner("y")).await.unwrap();
    assert_eq!(store.sweep(Duration::ZERO).await.unwrap(), SweepReport::default());
    assert_eq!(store.open(blob.digest).await.unwrap(), bytes);
}

async fn a_writer_that_begins_again_takes_over_from_its_elder(store: &dyn BlobStore) {
    let bytes = content(1, 1000);
    let blob = BlobRef::of(&bytes);
    let mut elder = store.begin("x", blob).await.unwrap();
    elder.write(bytes.slice(..400)).await.unwrap();
    let mut heir = store.begin("x", blob).await.unwrap();
    assert_eq!(heir.offset(), 400);
    elder.write(content(9, 100)).await.unwrap_err();
    heir.write(bytes.slice(400..700)).await.unwrap();
    elder.commit(&owner("elder")).await.unwrap_err();
    heir.write(bytes.slice(700..)).await.unwrap();
    assert_eq!(heir.commit(&owner("a")).await.unwrap(), blob);
    assert_eq!(store.open(blob.digest).await.unwrap(), bytes);
}

async fn bytes_of_another_digest_or_length_are_refused_and_removed(store: &dyn BlobStore) {
    let bytes = content(1, 1000);
    let announced = BlobRef::of(&bytes);
    let longer = BlobRef { len: 1001, ..announced };
    for (announced, sent) in [(announced, content(2, 1000)), (announced, bytes.slice(..999)), (longer, bytes.clone())] {
        let mut writer = store.begin("x", announced).await.unwrap();
        writer.write(sent.clone()).await.unwrap();
        match writer.commit(&owner("a")).await {
            Err(StoreError::WrongDigest { expected, found }) => {
                assert_eq!((expected, found), (announced.digest, Digest::of(&sent)));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(store.held("x", announced.digest).await.unwrap(), 0);
        assert_eq!(store.stat(announced.digest).await.unwrap(), None);
    }
    put_bytes(store, bytes, &owner("a")).await.unwrap();
    let refused = store.begin("x", longer).await.map(|writer| writer.offset());
    assert!(matches!(refused, Err(StoreError::WrongDigest { .. })), "{refused:?}");
}

async fn more_bytes_than_announced_or_allowed_are_refused(store: &dyn BlobStore) {
    let too_large = |result: Result<(), StoreError>| match result {
        Err(StoreError::TooLarge { len, max, .. }) => (len, max),
        other => panic!("{other:?}"),
    };
    let bytes = content(1, 1000);
    let mut writer = store.begin("x", BlobRef::of(&bytes)).await.unwrap();
    writer.write(bytes.slice(..999)).await.unwrap();
    assert_eq!(too_large(writer.write(bytes.slice(..2)).await), (1001, 1000));
    assert_eq!(writer.offset(), 999, "what was refused is not held");
    writer.write(bytes.slice(999..)).await.unwrap();
    writer.commit(&owner("a")).await.unwrap();

    let huge = BlobRef { len: MAX + 1, ..BlobRef::of(b"huge") };
    assert_eq!(too_large(store.begin("x", huge).await.map(drop)), (MAX + 1, MAX));
    let mut writer = store.create().await.unwrap();
    writer.write(content(2, MAX as usize)).await.unwrap();
    assert_eq!(too_large(writer.write(Bytes::from_static(b"x")).await), (MAX + 1, MAX));
    writer.commit(&owner("a")).await.unwrap();
}

async fn a_blob_already_whole_only_gains_an_owner(store: &dyn BlobStore) {
    let bytes = content(1, 1000);
    let blob = put_bytes(store, bytes.clone(), &owner("a")).await.unwrap();
    assert_eq!(store.held("x", blob.digest).await.unwrap(), 1000);
    let mut writer = store.begin("x", blob).await.unwrap();
    assert_eq!(writer.offset(), 1000);
    assert!(matches!(writer.write(bytes.slice(..1)).await, Err(StoreError::TooLarge { .. })));
    assert_eq!(writer.commit(&owner("b")).await.unwrap(), blob);
    assert_eq!(put_bytes(store, bytes.clone(), &owner("c")).await.unwrap(), blob);
    for name in ["a", "b"] {
        store.release(blob.digest, &owner(name)).await.unwrap();
        assert_eq!(store.sweep(Duration::ZERO).await.unwrap(), SweepReport::default());
    }
    store.release(blob.digest, &owner("c")).await.unwrap();
    assert_eq!(store.sweep(Duration::ZERO).await.unwrap().blobs, 1);
}

async fn a_new_blob_that_was_dropped_is_gone(store: &dyn BlobStore) {
    let bytes = content(1, 2_000_000);
    let mut writer = store.create().await.unwrap();
    writer.write(bytes.clone()).await.unwrap();
    drop(writer);
    assert_eq!(store.stat(Digest::of(&bytes)).await.unwrap(), None);
    assert_eq!(put_bytes(store, bytes.clone(), &owner("a")).await.unwrap(), BlobRef::of(&bytes));
}

async fn sweep_removes_what_nobody_owns(store: &dyn BlobStore) {
    let kept = put_bytes(store, content(1, 1000), &owner("a")).await.unwrap();
    let freed = put_bytes(store, content(2, 500), &owner("a")).await.unwrap();
    store.retain(kept.digest, &owner("b")).await.unwrap();
    store.retain(kept.digest, &owner("b")).await.unwrap();
    store.release(kept.digest, &owner("a")).await.unwrap();
    store.release(kept.digest, &owner("a")).await.unwrap();
    store.release(freed.digest, &owner("a")).await.unwrap();
    assert_eq!(store.stat(freed.digest).await.unwrap(), Some(500), "until it is swept");
    assert_eq!(store.sweep(HOUR).await.unwrap(), SweepReport { blobs: 1, partials: 0, bytes: 500 });
    assert_eq!(store.stat(freed.digest).await.unwrap(), None);
    assert_eq!(store.stat(kept.digest).await.unwrap(), Some(1000));
    store.release(kept.digest, &owner("b")).await.unwrap();
    assert_eq!(store.sweep(HOUR).await.unwrap().blobs, 1);
}

async fn a_whole_blob_swept_before_it_is_owned_is_not_found(store: &dyn BlobStore) {
    let blob = put_bytes(store, Bytes::from_static(b"nobody's"), &owner("me")).await.unwrap();
    store.release(blob.digest, &owner("me")).await.unwrap();
    let begun = store.begin("w", blob).await.unwrap();
    assert_eq!(begun.offset(), blob.len);
    assert_eq!(store.sweep(HOUR).await.unwrap().blobs, 1);
    assert!(matches!(begun.commit(&owner("me")).await, Err(StoreError::NotFound(_))));
}

async fn sweep_removes_partials_that_nobody_writes(store: &dyn BlobStore) {
    let bytes = content(1, 1000);
    let blob = BlobRef::of(&bytes);
    let mut writer = store.begin("x", blob).await.unwrap();
    writer.write(bytes.slice(..300)).await.unwrap();
    drop(writer);
    let mut alive = store.begin("y", blob).await.unwrap();
    alive.write(bytes.slice(..300)).await.unwrap();
    assert_eq!(store.held("y", blob.digest).await.unwrap(), 300);
    assert_eq!(store.sweep(HOUR).await.unwrap(), SweepReport::default());
    assert_eq!(store.held("x", blob.digest).await.unwrap(), 300);
    assert_eq!(store.sweep(Duration::ZERO).await.unwrap(), SweepReport { blobs: 0, partials: 1, bytes: 300 });
    assert_eq!(store.held("x", blob.digest).await.unwrap(), 0);
    alive.write(bytes.slice(300..)).await.unwrap();
    alive.commit(&owner("a")).await.unwrap();
}

async fn releasing_an_owner_releases_those_under_it_by_whole_names(store: &dyn BlobStore) {
    let blob = put_bytes(store, content(1, 10), &owner("a/b")).await.unwrap();
    let other = put_bytes(store, content(2, 10), &owner("a/b/c/d")).await.unwrap();
    let left = |blob: BlobRef| async move { store.stat(blob.digest).await.unwrap().is_some() };
    store.retain(blob.digest, &owner("a/b/c")).await.unwrap();
    store.retain(blob.digest, &owner("a/bc")).await.unwrap();
    store.release_all(&owner("a/b")).await.unwrap();
    store.release_all(&owner("a/b")).await.unwrap();
    store.sweep(HOUR).await.unwrap();
    assert_eq!((left(blob).await, left(other).await), (true, false));
    store.retain(blob.digest, &owner("a/b/c")).await.unwrap();
    store.release_all(&owner("a/bc")).await.unwrap();
    store.sweep(HOUR).await.unwrap();
    assert!(left(blob).await, "it has an owner again");
    store.release(blob.digest, &owner("a/b")).await.unwrap();
    store.sweep(HOUR).await.unwrap();
    assert!(left(blob).await, "release is for the owner alone, not for those under it");
    store.release_all(&owner("a")).await.unwrap();
    store.sweep(HOUR).await.unwrap();
    assert!(!left(blob).await);
}

async fn what_is_not_there_is_not_found(store: &dyn BlobStore) {
    let digest = Digest::of(b"never written");
    let folder = tempfile::tempdir().unwrap();
    let not_found = |error: StoreError| assert!(matches!(error, StoreError::NotFound(_)), "{error:?}");
    not_found(store.open(digest).await.unwrap_err());
    not_found(store.retain(digest, &owner("a")).await.unwrap_err());
    not_found(store.export(digest, &folder.path().join("file")).await.unwrap_err());
    not_found(store.import(&folder.path().join("file"), &owner("a")).await.unwrap_err());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    store.release(digest, &owner("a")).await.unwrap();
    store.release_all(&owner("a")).await.unwrap();
    assert_eq!(store.stat(digest).await.unwrap(), None);
    assert_eq!(store.held("x", digest).await.unwrap(), 0);
}

async fn an_exported_blob_is_a_file_of_its_own_and_imports_again(store: &dyn BlobStore) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("deep/model.safetensors");
    let bytes = content(1, 1_500_000);
    let blob = put_bytes(store, bytes.clone(), &owner("a")).await.unwrap();
    store.export(blob.digest, &file).await.unwrap();
    store.export(blob.digest, &file).await.unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
    assert_eq!(std::fs::read_dir(file.parent().unwrap()).unwrap().count(), 1, "nothing half written is left");
    std::fs::write(&file, b"changed by its new owner").unwrap();
    assert_eq!(store.open(blob.digest).await.unwrap(), bytes);
    let imported = store.import(&file, &owner("b")).await.unwrap();
    assert_eq!(imported, BlobRef::of(b"changed by its new owner"));
    store.release_all(&owner("a")).await.unwrap();
    assert_eq!(store.sweep(HOUR).await.unwrap().blobs, 1, "an exported copy does not keep the blob");
    assert_eq!(store.open(imported.digest).await.unwrap(), &b"changed by its new owner"[..]);
}

async fn readers_share_the_bytes_and_outlive_the_blob(store: Arc<dyn BlobStore>) {
    let bytes = content(1, 2_000_000);
    let blob = put_bytes(&*store, bytes.clone(), &owner("a")).await.unwrap();
    let first = store.open(blob.digest).await.unwrap();
    let readers = (0..8).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.open(blob.digest).await.unwrap() })
    });
    for reader in readers.collect::<Vec<_>>() {
        let read = reader.await.unwrap();
        assert_eq!(read, bytes);
        assert_eq!(read.as_ptr(), first.as_ptr(), "one mapping for all");
    }
    store.release_all(&owner("a")).await.unwrap();
    store.sweep(HOUR).await.unwrap();
    assert!(matches!(store.open(blob.digest).await, Err(StoreError::NotFound(_))));
    assert_eq!(first, bytes, "who reads it may go on");
}

fn owner(path: &str) -> Owner {
    Owner::new(path).unwrap()
}

/// `len` bytes that differ from place to place and from seed to seed.
fn content(seed: u32, len: usize) -> Bytes {
    let word = |n: u32| n.wrapping_add(seed).wrapping_mul(2_654_435_761).rotate_left(seed).to_le_bytes();
    (0..len.div_ceil(4) as u32).flat_map(word).take(len).collect::<Vec<u8>>().into()
}
