//! The conformance suite, and what only a database file can get wrong.

mod sealed;

use super::*;
use nsfl_store::conformance::{self, sample};
use nsfl_store::{AccessStore as _, AuditRecord, Certainty, MemberState, Steps};
use nsfl_types::{Code, TaskKind, Timestamp};
use rusqlite::Connection;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

fn open(folder: &Path) -> SqliteJobStore {
    SqliteJobStore::open(folder.join("jobs.db"), false).unwrap()
}

fn refusal(path: &Path) -> StoreError {
    SqliteJobStore::open(path, true).err().expect("it must not open")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_conforms() {
    conformance::job_store(async |folder| open(folder)).await;
}

#[tokio::test]
async fn it_conforms_when_it_syncs() {
    conformance::job_store(async |folder| SqliteJobStore::open(folder.join("jobs.db"), true).unwrap()).await;
}

#[tokio::test]
async fn it_conforms_as_an_access_store() {
    conformance::access_store(async |folder| open(folder)).await;
    conformance::access_store_persists(async |folder| open(folder)).await;
}

#[tokio::test]
async fn what_it_keeps_is_there_after_it_was_closed() {
    conformance::job_store_persists(async |folder| open(folder)).await;
}

/// A store over the database that a golden file holds.
fn golden(folder: &Path, sql: &str) -> SqliteJobStore {
    let golden = Connection::open(folder.join("jobs.db")).unwrap();
    golden.execute_batch(sql).unwrap();
    drop(golden);
    open(folder)
}

#[tokio::test]
async fn a_database_of_schema_version_1_is_migrated_and_read_to_the_last_bit() {
    let folder = tempfile::tempdir().unwrap();
    let store = golden(folder.path(), include_str!("../golden/1.sql"));
    let key = sample::job_key("a");
    let job = JobRecord { author: "anonymous".into(), ..sample::job("a") };
    assert_eq!(store.jobs().await.unwrap(), [job]);
    assert_eq!(store.run(&key, 1).await.unwrap(), Some(sample::run("a", 1)));
    let round = RoundRecord { cause: None, ..sample::round("a", 1, TaskKind::Train, 1) };
    assert_eq!(store.rounds(&key, 1).await.unwrap(), [round]);
    let member = MemberRecord { cause: None, ..sample::member("a", 1, TaskKind::Train, "x") };
    assert_eq!(store.members(&key, 1, 1).await.unwrap(), [member]);
    assert_eq!(store.checkpoints(&key).await.unwrap(), [sample::checkpoint("a", "one", 1)]);
    let event = EventRecord { id: 1, ..sample::event(Some("a"), "job-queued") };
    assert_eq!(store.events(None, 0, 10).await.unwrap(), [event]);
    let again = sample::member("a", 1, TaskKind::Train, "x");
    store.commit(vec![Change::PutMember(again.clone())]).await.unwrap();
    assert_eq!(store.members(&key, 1, 1).await.unwrap(), [again]);
}

#[tokio::test]
async fn a_database_of_schema_version_2_opens_and_is_read_to_the_last_bit() {
    opens_and_is_read_to_the_last_bit(include_str!("../golden/2.sql")).await;
}

#[tokio::test]
async fn a_database_of_schema_version_3_opens_and_is_read_to_the_last_bit() {
    opens_and_is_read_to_the_last_bit(include_str!("../golden/3.sql")).await;
}

#[tokio::test]
async fn a_database_of_schema_version_4_opens_and_is_read_to_the_last_bit() {
    let sql = include_str!("../golden/4.sql");
    opens_and_is_read_to_the_last_bit(sql).await;
    let folder = tempfile::tempdir().unwrap();
    let store = golden(folder.path(), sql);
    assert_eq!(store.tokens().await.unwrap(), [sample::token("a", 1)]);
    let audit = AuditRecord { id: 1, status: Some(200), ..sample::audit("/x") };
    assert_eq!(store.audit(0, 10).await.unwrap(), [audit]);
    assert_eq!(store.marks().await.unwrap(), [sample::mark("c1")]);
}

#[tokio::test]
async fn a_database_of_schema_version_5_opens_and_is_read_to_the_last_bit() {
    opens_and_is_read_to_the_last_bit(include_str!("../golden/5.sql")).await;
}

#[tokio::test]
async fn a_database_of_schema_version_6_opens_and_its_members_steps_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let store = golden(folder.path(), include_str!("../golden/6.sql"));
    let at = |ms| Some(Timestamp(ms));
    let steps = Steps { sent: at(3), started: at(4), uploading: at(5), bytes: Some(6) };
    let member = MemberRecord { steps, ..sample::member("a", 1, TaskKind::Train, "x") };
    assert_eq!(store.members(&sample::job_key("a"), 1, 1).await.unwrap(), [member]);
    assert_eq!(store.verify().await.unwrap(), []);
}

async fn opens_and_is_read_to_the_last_bit(sql: &str) {
    let folder = tempfile::tempdir().unwrap();
    let store = golden(folder.path(), sql);
    let key = sample::job_key("a");
    assert_eq!(store.jobs().await.unwrap(), [sample::job("a")]);
    assert_eq!(store.run(&key, 1).await.unwrap(), Some(sample::run("a", 1)));
    assert_eq!(store.rounds(&key, 1).await.unwrap(), [sample::round("a", 1, TaskKind::Train, 1)]);
    assert_eq!(store.members(&key, 1, 1).await.unwrap(), [sample::member("a", 1, TaskKind::Train, "x")]);
    assert_eq!(store.checkpoints(&key).await.unwrap(), [sample::checkpoint("a", "one", 1)]);
    let event = EventRecord { id: 1, ..sample::event(Some("a"), "job-queued") };
    assert_eq!(store.events(None, 0, 10).await.unwrap(), [event]);
    assert_eq!(store.verify().await.unwrap(), []);
}

#[test]
fn each_migration_makes_the_schema_of_its_golden_file() {
    let schema = |scripts: &[String]| -> Vec<String> {
        let db = Connection::open_in_memory().unwrap();
        scripts.iter().for_each(|sql| db.execute_batch(sql).unwrap());
        let mut query = db.prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name").unwrap();
        query.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    };
    let migrations =
        ["1", "2", "3", "4", "5", "6"].map(|n| std::fs::read_to_string(format!("src/migrations/{n}.sql")).unwrap());
    let golden = ["1", "2", "3", "4", "5", "6"].map(|n| std::fs::read_to_string(format!("golden/{n}.sql")).unwrap());
    for (n, golden) in golden.iter().enumerate() {
        assert_eq!(schema(&migrations[..=n]), schema(std::slice::from_ref(golden)), "version {}", n + 1);
    }
}

#[test]
fn a_database_of_a_newer_version_is_refused_with_a_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    drop(SqliteJobStore::open(&path, false).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = refusal(&path);
    let said = error.to_string();
    assert!(matches!(error, StoreError::Newer(_)), "{said}");
    assert!(["jobs.db", "schema 99", "up to 6", "install"].iter().all(|part| said.contains(part)), "{said}");
    let left = Connection::open(&path).unwrap().query_row("PRAGMA user_version", [], |row| row.get(0));
    assert_eq!(left, Ok(99), "it is left as it is");
}

#[tokio::test]
async fn a_bit_that_flips_in_what_a_job_or_a_run_goes_on_from_is_found_when_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let job = JobRecord { snapshot: br#"{"round":2}"#.to_vec(), ..sample::job("a") };
    let run = RunRecord { snapshot: br#"{"round":2}"#.to_vec(), ..sample::run("a", 1) };
    store.commit(vec![Change::InsertJob(job.clone()), Change::PutRun(run.clone())]).await.unwrap();
    let (key, db) = (sample::job_key("a"), Connection::open(folder.path().join("jobs.db")).unwrap());
    assert_eq!((store.job(&key).await.unwrap(), store.run(&key, 1).await.unwrap()), (Some(job), Some(run)));
    let change = |table: &str, from: &str, to: &str| {
        let text = format!("replace(CAST(snapshot AS TEXT), '{from}', '{to}')");
        assert_eq!(db.execute(&format!("UPDATE {table} SET snapshot = CAST({text} AS BLOB)"), []), Ok(1));
    };
    // as in a page: 2 becomes 3, and the text is as good as before
    for table in ["jobs", "runs"] {
        change(table, "2}", "3}");
    }
    for error in [store.job(&key).await.unwrap_err(), store.run(&key, 1).await.unwrap_err()] {
        let said = error.to_string();
        assert!(matches!(error, StoreError::Damaged(_)) && said.contains("checksum differs"), "{said}");
    }
    for table in ["jobs", "runs"] {
        change(table, "3}", "2}");
    }
    assert!(store.run(&key, 1).await.is_ok());
    for change in
        ["jobs SET document = document || ' '", "jobs SET state = 'FAILED'", "runs SET generation = generation + 1"]
    {
        db.execute_batch(&format!("BEGIN; UPDATE {change}")).unwrap();
        let damaged = match change.starts_with("jobs") {
            true => read::job(&db, &key).is_err(),
            false => read::run(&db, &key, 1).is_err(),
        };
        assert!(damaged, "{change}");
        db.execute_batch("ROLLBACK").unwrap();
    }
}

#[tokio::test]
async fn a_copy_holds_what_was_committed_when_it_was_made_and_is_a_database_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.commit(vec![Change::InsertJob(sample::job("a"))]).await.unwrap();
    let copy = folder.path().join("copy.db");
    store.copy_to(&copy).await.unwrap();
    store.commit(vec![Change::InsertJob(sample::job("b"))]).await.unwrap();
    assert!(store.copy_to(&copy).await.is_err(), "nothing is overwritten");
    let copied = SqliteJobStore::open(&copy, false).unwrap();
    assert_eq!(copied.jobs().await.unwrap(), [sample::job("a")]);
}

#[test]
fn a_file_that_is_no_database_is_damaged_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    std::fs::write(&path, [b'x'; 8192]).unwrap();
    let error = refusal(&path);
    assert!(
        matches!(&error, StoreError::Damaged(what) if what.contains("jobs.db") && what.contains("backup")),
        "{error}"
    );
    assert_eq!(error.code(), Code::Store);
}

#[tokio::test]
async fn a_page_of_rubbish_is_found_when_it_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    let store = open(folder.path());
    for n in 0..100 {
        store.commit(vec![Change::InsertJob(sample::job(&format!("job-{n}")))]).await.unwrap();
    }
    drop(store);
    let mut bytes = std::fs::read(&path).unwrap();
    let page = bytes.len() - 4096;
    bytes[page..].fill(0xff);
    std::fs::write(&path, bytes).unwrap();
    assert!(matches!(refusal(&path), StoreError::Damaged(_)));
}

#[test]
fn a_path_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = refusal(&folder.path().join("absent/jobs.db"));
    assert!(error.to_string().contains("absent/jobs.db"), "{error}");
}

#[tokio::test]
async fn a_full_disk_is_told_as_such_and_leaves_nothing_of_the_group() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    let db = open::open(&path, false).unwrap();
    let pages: i64 = db.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    db.pragma_update(None, "max_page_count", pages + 2).unwrap();
    let writer = Writer::start(&path, db, watch::Sender::new(0)).unwrap();
    let large = JobRecord { snapshot: vec![1; 100_000], ..sample::job("large") };
    let (small, full) = tokio::join!(
        writer.commit(vec![Change::InsertJob(sample::job("small"))]),
        writer.commit(vec![Change::InsertJob(sample::job("a")), Change::InsertJob(large)]),
    );
    let full = full.unwrap_err();
    assert!(matches!(&full, StoreError::DiskFull { what, .. } if what.contains("jobs.db")), "{full}");
    assert_eq!(full.certainty(), Certainty::NotDone);
    writer.commit(vec![Change::InsertJob(sample::job("later"))]).await.unwrap();
    drop(writer);
    let kept = open(folder.path()).jobs().await.unwrap();
    let expected = if small.is_ok() { vec!["later", "small"] } else { vec!["later"] };
    assert_eq!(kept.iter().map(|job| job.key.id.as_str()).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn a_value_that_is_none_of_ours_is_damage_and_not_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let member = sample::member("a", 1, TaskKind::Train, "x");
    assert_eq!(member.state, MemberState::Refused);
    store.commit(vec![Change::InsertJob(sample::job("a")), Change::PutMember(member)]).await.unwrap();
    let other = Connection::open(folder.path().join("jobs.db")).unwrap();
    // as of before there were checksums
    other.execute("UPDATE members SET state = 'eaten', seal = NULL", []).unwrap();
    let error = store.members(&sample::job_key("a"), 1, 1).await.unwrap_err();
    assert!(matches!(&error, StoreError::Damaged(what) if what.contains("eaten")), "{error}");
    assert_eq!(store.jobs().await.unwrap().len(), 1, "the rest is still read");
}

#[tokio::test]
async fn a_folded_log_is_empty_and_the_file_alone_holds_everything() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.commit(vec![Change::InsertJob(sample::job("a"))]).await.unwrap();
    let log = folder.path().join("jobs.db-wal");
    assert_ne!(std::fs::metadata(&log).unwrap().len(), 0);
    store.fold_log().await.unwrap();
    assert_eq!(std::fs::metadata(&log).unwrap().len(), 0);
    std::fs::create_dir(folder.path().join("alone")).unwrap();
    std::fs::copy(folder.path().join("jobs.db"), folder.path().join("alone/jobs.db")).unwrap();
    assert_eq!(open(&folder.path().join("alone")).jobs().await.unwrap(), [sample::job("a")]);
    store.commit(vec![Change::InsertJob(sample::job("b"))]).await.unwrap();
}

#[tokio::test]
async fn a_row_without_its_job_is_found_and_a_sound_database_is_not_blamed() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.commit(vec![Change::InsertJob(sample::job("a")), Change::PutRun(sample::run("a", 1))]).await.unwrap();
    assert_eq!(store.verify().await.unwrap(), []);
    let other = Connection::open(folder.path().join("jobs.db")).unwrap();
    other.pragma_update(None, "foreign_keys", false).unwrap();
    other.execute("DELETE FROM jobs", []).unwrap();
    let findings = store.verify().await.unwrap();
    assert!(findings.len() == 1 && findings[0].damage && findings[0].problem.contains("runs"), "{findings:?}");
}

const KILL: &str = "NSFL_TEST_KILL_FOLDER";

#[tokio::test]
async fn what_was_acknowledged_outlives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::commits_until_killed", "--nocapture"])
        .env(KILL, folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let last = lines.filter_map(|line| line.strip_prefix("done ")?.parse::<u64>().ok()).nth(29);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(last, Some(29));
    let store = SqliteJobStore::open(folder.path().join("jobs.db"), true).unwrap();
    let jobs = store.jobs().await.unwrap().len();
    assert!(jobs >= 30, "{jobs} jobs");
    assert_eq!(store.events(None, 0, u32::MAX).await.unwrap().len(), jobs, "each batch is whole");
}

/// The child of the test above; nothing by itself.
#[tokio::test]
async fn commits_until_killed() {
    let Some(folder) = std::env::var_os(KILL) else { return };
    let store = SqliteJobStore::open(Path::new(&folder).join("jobs.db"), true).unwrap();
    for n in 0.. {
        let event = sample::event(None, "job-created");
        let batch = vec![Change::InsertJob(sample::job(&format!("job-{n}"))), Change::AppendEvent(event)];
        store.commit(batch).await.unwrap();
        // On a line of its own, whatever the harness has printed.
        println!("\ndone {n}");
    }
}
