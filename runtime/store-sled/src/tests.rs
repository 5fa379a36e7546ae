//! The conformance suite, and what only a folder of sled's can get wrong.

use super::*;
use nsfl_store::conformance::{self, sample};
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

fn open(folder: &Path) -> SledTaskStore {
    SledTaskStore::open(folder.join("tasks")).unwrap()
}

async fn inside<T: Send + 'static>(store: &SledTaskStore, work: impl FnOnce(&Db) -> T + Send + 'static) -> T {
    store.worker.run("testing", |db, _| Ok(work(db))).await.unwrap()
}

#[tokio::test]
async fn it_conforms() {
    conformance::task_store(async |folder| open(folder)).await;
}

#[tokio::test]
async fn what_it_keeps_is_there_after_it_was_closed() {
    conformance::task_store_persists(async |folder| open(folder)).await;
}

#[tokio::test]
async fn an_unreadable_record_is_removed_and_the_others_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.put(sample::task("a", "x", 10)).await.unwrap();
    store.put(sample::task("a", "y", 10)).await.unwrap();
    inside(&store, |db| db.insert(name(&sample::task("a", "x", 0).key), b"\x01rubbish").unwrap()).await;
    assert_eq!(store.all().await.unwrap(), [sample::task("a", "y", 10)]);
    assert_eq!(inside(&store, |db| db.len()).await, 1);
}

#[tokio::test]
async fn after_an_error_it_starts_afresh_and_has_what_it_had() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.put(sample::task("a", "x", 10)).await.unwrap();
    let broken = store.write("breaking", |_| Err(sled::Error::Io(io::ErrorKind::StorageFull.into()))).await;
    assert!(matches!(broken, Err(StoreError::DiskFull { .. })), "{broken:?}");
    store.put(sample::task("a", "y", 10)).await.unwrap();
    assert_eq!(store.all().await.unwrap(), [sample::task("a", "x", 10), sample::task("a", "y", 10)]);
}

#[tokio::test]
async fn after_a_panic_it_starts_afresh_and_has_what_it_had() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.put(sample::task("a", "x", 10)).await.unwrap();
    let broken = store.write("breaking", |_| panic!("in sled")).await;
    assert!(matches!(&broken, Err(error) if error.certainty() == Certainty::MaybeDone), "{broken:?}");
    assert_eq!(store.all().await.unwrap(), [sample::task("a", "x", 10)]);
}

#[tokio::test]
async fn a_record_of_a_newer_version_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    inside(&store, |db| db.insert("a task", b"\x02of the future").unwrap()).await;
    drop(store);
    for _ in 0..2 {
        let error = SledTaskStore::open(folder.path().join("tasks")).err().unwrap();
        assert!(matches!(&error, StoreError::Newer(what) if what.contains("version 2")), "{error}");
    }
}

#[tokio::test]
async fn verifying_names_the_unreadable_record_and_removes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.put(sample::task("a", "x", 10)).await.unwrap();
    store.put(sample::task("a", "y", 10)).await.unwrap();
    assert_eq!(store.verify().await.unwrap().0, []);
    inside(&store, |db| db.insert(name(&sample::task("a", "x", 0).key), b"\x01rubbish").unwrap()).await;
    let (findings, records) = store.verify().await.unwrap();
    assert!(findings.len() == 1 && findings[0].place.contains("x") && findings[0].damage, "{findings:?}");
    assert_eq!((records.len(), inside(&store, |db| db.len()).await), (1, 2));
}

#[test]
fn a_folder_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, b"").unwrap();
    let error = SledTaskStore::open(&path).err().unwrap();
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
}

const KILL: &str = "NSFL_TEST_KILL_FOLDER";

#[tokio::test]
async fn what_was_acknowledged_outlives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::puts_until_killed", "--nocapture"])
        .env(KILL, folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let last = lines.filter_map(|line| line.strip_prefix("done ")?.parse::<u64>().ok()).nth(29);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(last, Some(29));
    let kept = open(folder.path()).all().await.unwrap();
    for n in 0..30 {
        assert!(kept.contains(&sample::task("a", &format!("site-{n}"), 1000)), "{n} is lost");
    }
}

/// The child of the test above; nothing by itself.
#[tokio::test]
async fn puts_until_killed() {
    let Some(folder) = std::env::var_os(KILL) else { return };
    let store = open(Path::new(&folder));
    for n in 0.. {
        store.put(sample::task("a", &format!("site-{n}"), 1000)).await.unwrap();
        // On a line of its own, whatever the harness has printed.
        println!("\ndone {n}");
    }
}

/// The folder of a client as version 1 left it, sled's own files and all.
#[tokio::test]
async fn a_folder_of_version_1_is_opened_and_its_records_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let packed = flate2::read::GzDecoder::new(include_bytes!("../golden/1.tar.gz").as_slice());
    tar::Archive::new(packed).unpack(folder.path()).unwrap();
    let store = open(folder.path());
    assert_eq!(
        store.all().await.unwrap(),
        [sample::task("digits", "site-1", 3), sample::task("digits", "site-2", 300)]
    );
    store.put(sample::task("digits", "site-3", 1)).await.unwrap();
    assert_eq!(store.all().await.unwrap().len(), 3);
}

/// Run by hand when the form changes: then the archive gets the next number, and the older ones stay.
#[tokio::test]
#[ignore = "makes the golden folder of this version"]
async fn make_golden_folder() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.put(sample::task("digits", "site-1", 3)).await.unwrap();
    store.put(sample::task("digits", "site-2", 300)).await.unwrap();
    drop(store);
    let file = std::fs::File::create(concat!(env!("CARGO_MANIFEST_DIR"), "/golden/1.tar.gz")).unwrap();
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(file, flate2::Compression::best()));
    tar.mode(tar::HeaderMode::Deterministic);
    tar.append_dir_all(".", folder.path()).unwrap();
    tar.into_inner().unwrap().finish().unwrap();
}
