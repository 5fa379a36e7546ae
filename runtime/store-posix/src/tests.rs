//! The conformance suite, and what only a folder can get wrong.

use super::*;
use nsfl_store::{conformance, put_bytes};
use nsfl_types::Code;
use std::fs;

fn open(root: &Path, max_blob_bytes: u64) -> PosixBlobStore {
    PosixBlobStore::open(PosixConfig { root: root.to_owned(), max_blob_bytes, fsync: false }).unwrap()
}

fn owner(path: &str) -> Owner {
    Owner::new(path).unwrap()
}

fn object(root: &Path, digest: Digest) -> PathBuf {
    root.join("objects").join(&digest.to_hex()[..2]).join(digest.to_hex())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_conforms() {
    conformance::blob_store(async |root, max| open(root, max)).await;
}

#[tokio::test]
async fn it_conforms_when_it_syncs() {
    let durable = |root: &Path, max_blob_bytes| PosixConfig { root: root.to_owned(), max_blob_bytes, fsync: true };
    conformance::blob_store(async |root, max| PosixBlobStore::open(durable(root, max)).unwrap()).await;
}

#[tokio::test]
async fn what_it_keeps_is_there_after_it_was_closed() {
    conformance::blob_store_persists(async |root, max| open(root, max)).await;
}

#[tokio::test]
async fn a_root_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("file");
    fs::write(&root, b"").unwrap();
    let error = PosixBlobStore::open(PosixConfig { root: root.clone(), max_blob_bytes: 1, fsync: true }).err().unwrap();
    assert!(error.to_string().contains(root.to_str().unwrap()), "{error}");
}

#[tokio::test]
async fn a_damaged_object_is_named_and_not_served() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path(), 1000);
    let bytes = Bytes::from_static(b"a model");
    let blob = put_bytes(&store, bytes.clone(), &owner("a")).await.unwrap();
    let path = object(root.path(), blob.digest);
    let shrink = |len| {
        fs::remove_file(&path).unwrap();
        fs::write(&path, &bytes[..len]).unwrap();
    };
    shrink(0);
    let error = store.open(blob.digest).await.unwrap_err();
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    assert_eq!(error.code(), Code::Store);
    shrink(3);
    let error = store.begin("x", blob).await.err().unwrap();
    assert!(matches!(error, StoreError::Damaged(_)), "{error}");

    // What the message says to do heals it, and the owner it had counts again.
    fs::remove_file(&path).unwrap();
    put_bytes(&store, bytes.clone(), &owner("a")).await.unwrap();
    assert_eq!(store.sweep(Duration::ZERO).await.unwrap(), SweepReport::default());
    assert_eq!(store.open(blob.digest).await.unwrap(), bytes);
}

#[tokio::test]
async fn a_name_that_could_leave_the_folder_cannot_write() {
    let root = tempfile::tempdir().unwrap();
    let store = open(&root.path().join("store"), 1000);
    for name in ["..", ".new", "a/b", "/", ""] {
        assert!(store.begin(name, BlobRef::of(b"x")).await.is_err(), "{name:?}");
        assert!(store.held(name, Digest::of(b"x")).await.is_err(), "{name:?}");
    }
}

#[tokio::test]
async fn releasing_leaves_no_empty_folders() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path(), 1000);
    let blob = put_bytes(&store, Bytes::from_static(b"x"), &owner("a/b/c")).await.unwrap();
    store.retain(blob.digest, &owner("a/d/e")).await.unwrap();
    store.release(blob.digest, &owner("a/b/c")).await.unwrap();
    assert!(root.path().join("refs/a/d/e").exists() && !root.path().join("refs/a/b").exists());
    store.release_all(&owner("a/d")).await.unwrap();
    assert_eq!(fs::read_dir(root.path().join("refs")).unwrap().count(), 0);
}

#[tokio::test]
async fn an_object_is_read_only_and_its_references_are_its_link_count() {
    use std::os::unix::fs::MetadataExt as _;
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path(), 1000);
    let blob = put_bytes(&store, Bytes::from_static(b"x"), &owner("a")).await.unwrap();
    store.retain(blob.digest, &owner("b")).await.unwrap();
    let file = fs::metadata(object(root.path(), blob.digest)).unwrap();
    assert_eq!((file.nlink(), file.mode() & 0o777), (3, 0o444));
}

#[tokio::test]
async fn a_live_new_blob_is_not_swept_and_a_lost_one_is() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path(), 1000);
    let mut writer = store.create().await.unwrap();
    writer.write(Bytes::from_static(b"alive")).await.unwrap();
    fs::write(root.path().join("partial/.new/left-by-a-crash"), b"lost").unwrap();
    let swept = store.sweep(Duration::ZERO).await.unwrap();
    assert_eq!(swept, SweepReport { blobs: 0, partials: 1, bytes: 4 });
    writer.commit(&owner("a")).await.unwrap();
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn pages_let_go_are_no_longer_resident_and_read_the_same() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path(), 1 << 20);
    let content: Vec<u8> = (0..1 << 20).map(|i: u32| (i >> 7) as u8).collect();
    let blob = put_bytes(&store, content.clone().into(), &owner("a")).await.unwrap();
    let bytes = store.open(blob.digest).await.unwrap();
    let resident = || {
        let maps = fs::read_to_string("/proc/self/smaps").unwrap();
        let mapping = maps.split_once(&blob.digest.to_hex()).unwrap().1;
        let line = mapping.lines().find_map(|line| line.strip_prefix("Rss:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(bytes, content);
    assert_eq!(resident(), 1024);
    store.forget(&bytes[..512 << 10]);
    assert!((512 - 64..=512).contains(&resident()), "{} kB", resident());
    store.forget(b"bytes of nobody's mapping");
    assert_eq!(bytes, content);
}

#[tokio::test]
async fn a_lent_blob_is_the_object_itself_and_outlives_its_owners() {
    use std::os::unix::fs::MetadataExt as _;
    let root = tempfile::tempdir().unwrap();
    let store = open(&root.path().join("store"), 1000);
    let blob = put_bytes(&store, Bytes::from_static(b"x"), &owner("a")).await.unwrap();
    let path = root.path().join("lent");
    store.lend(blob.digest, &path).await.unwrap();
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    assert_eq!(inode(&path), inode(&object(&root.path().join("store"), blob.digest)));
    store.release(blob.digest, &owner("a")).await.unwrap();
    assert_eq!(store.sweep(Duration::ZERO).await.unwrap(), SweepReport::default());
    fs::remove_file(&path).unwrap();
    assert_eq!(store.sweep(Duration::ZERO).await.unwrap().blobs, 1);
}

#[tokio::test]
async fn a_blob_that_changed_on_the_disk_is_not_read_and_can_be_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let config = || PosixConfig { root: folder.path().join("blobs"), max_blob_bytes: 1 << 20, fsync: false };
    let (bytes, owner) = (Bytes::from_static(b"weights of yesterday"), Owner::new("job").unwrap());
    let blob = put_bytes(&PosixBlobStore::open(config()).unwrap(), bytes.clone(), &owner).await.unwrap();

    let store = PosixBlobStore::open(config()).unwrap();
    let object = store.inner.tree.existing(blob.digest).unwrap();
    let mut changed = bytes.to_vec();
    changed[3] ^= 1;
    std::fs::remove_file(&object).unwrap();
    std::fs::write(&object, changed).unwrap();
    assert!(matches!(store.open(blob.digest).await, Err(StoreError::WrongDigest { .. })));
    assert!(matches!(store.open(blob.digest).await, Err(StoreError::NotFound(_))), "it was set aside");
    put_bytes(&store, bytes.clone(), &owner).await.unwrap();
    store.sweep(Duration::ZERO).await.unwrap();
    assert_eq!(store.open(blob.digest).await.unwrap(), bytes, "its owner holds the new one");
}

#[tokio::test]
async fn verifying_tells_each_kind_of_damage_apart_and_blames_nothing_sound() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path(), 1000);
    let mut paths = Vec::new();
    for content in ["sound", "flipped", "short", "gone"] {
        let blob = put_bytes(&store, Bytes::from_static(content.as_bytes()), &owner("a/b")).await.unwrap();
        paths.push((object(root.path(), blob.digest), content));
    }
    assert_eq!(verify(root.path()).unwrap().findings, []);
    let alter = |path: &Path, bytes: &[u8]| {
        // In place: the references still lead to it.
        let mut permissions = fs::metadata(path).unwrap().permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o644);
        fs::set_permissions(path, permissions).unwrap();
        fs::write(path, bytes).unwrap();
    };
    alter(&paths[1].0, b"flippee");
    alter(&paths[2].0, b"sho");
    fs::remove_file(&paths[3].0).unwrap();
    fs::write(root.path().join("partial/.new/left-by-a-crash"), b"lost").unwrap();
    let verified = verify(root.path()).unwrap();
    let about = |part: &str| {
        let one: Vec<_> = verified.findings.iter().filter(|f| f.place.contains(part)).collect();
        assert_eq!(one.len(), 1, "{part}: {:?}", verified.findings);
        one[0].clone()
    };
    let name = |i: usize| paths[i].0.file_name().unwrap().to_str().unwrap().to_owned();
    assert!(about(&name(1)).problem.contains("7 bytes hash to"));
    assert!(about(&name(2)).problem.contains("3 bytes hash to"));
    let gone = about(&format!("@{}", name(3)));
    assert!(gone.damage && gone.problem.contains("missing"), "{gone}");
    assert!(!about("left-by-a-crash").damage);
    assert_eq!(verified.findings.len(), 4);
    assert_eq!(verified.whole.len(), 1);
}
