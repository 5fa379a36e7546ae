//! Rows with a checksum: whatever value of them changes is found when it is read, and by `verify`.

use super::*;
use nsfl_store::conformance::sample;

const TABLES: [&str; 4] = ["rounds", "members", "checkpoints", "events"];

/// A database with a row of each kind.
async fn filled(folder: &Path) -> SqliteJobStore {
    let store = open(folder);
    let changes = vec![
        Change::InsertJob(sample::job("a")),
        Change::PutRun(sample::run("a", 1)),
        Change::PutRound(sample::round("a", 1, TaskKind::Train, 1)),
        Change::PutMember(sample::member("a", 1, TaskKind::Train, "x")),
        Change::PutCheckpoint(sample::checkpoint("a", "one", 1)),
        Change::AppendEvent(sample::event(Some("a"), "job-queued")),
    ];
    store.commit(changes).await.unwrap();
    store
}

/// Whether the store refuses to read the table's row, for its checksum. An event is told of as damaged.
async fn is_refused(store: &SqliteJobStore, table: &str) -> bool {
    let key = sample::job_key("a");
    let error = match table {
        "rounds" => store.rounds(&key, 1).await.err(),
        "members" => store.members(&key, 1, 1).await.err(),
        "checkpoints" => store.checkpoints(&key).await.err(),
        _ => return store.events(None, 0, 10).await.unwrap()[0].kind == "event-damaged",
    };
    error.is_some_and(|error| matches!(&error, StoreError::Damaged(what) if what.contains("checksum differs")))
}

/// The columns of a table whose value in its only row is not NULL, and an expression for another value of the same type.
fn others(db: &Connection, table: &str) -> Vec<(String, String)> {
    let mut query = db.prepare("SELECT name FROM pragma_table_info(?)").unwrap();
    let names = query.query_map([table], |row| row.get::<_, String>(0)).unwrap().map(Result::unwrap);
    let type_of = |name: &str| -> String {
        db.query_row(&format!("SELECT typeof({name}) FROM {table}"), [], |row| row.get(0)).unwrap()
    };
    let other = |name: String| {
        let changed = match type_of(&name).as_str() {
            "null" => return None,
            "integer" => format!("{name} + 1"),
            "real" => format!("{name} * 2"),
            "text" => format!("{name} || ' '"),
            _ => format!("CAST({name} || x'00' AS BLOB)"),
        };
        Some((name, changed))
    };
    names.filter_map(other).collect()
}

#[tokio::test]
async fn a_changed_value_in_any_column_is_found_when_it_is_read_and_by_verify() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path()).await;
    assert_eq!(store.verify().await.unwrap(), []);
    let db = Connection::open(folder.path().join("jobs.db")).unwrap();
    db.pragma_update(None, "foreign_keys", false).unwrap();
    let mut changed = 0;
    for table in TABLES {
        assert!(!is_refused(&store, table).await, "{table} is read as it was written");
        for (column, other) in others(&db, table) {
            let before: rusqlite::types::Value =
                db.query_row(&format!("SELECT {column} FROM {table}"), [], |row| row.get(0)).unwrap();
            assert_eq!(db.execute(&format!("UPDATE {table} SET {column} = {other}"), []), Ok(1));
            let found = store.verify().await.unwrap();
            let named = |finding: &Finding| finding.damage && finding.problem.starts_with(&format!("{table} ("));
            assert_eq!(found.iter().filter(|finding| named(finding)).count(), 1, "{table}.{column}: {found:?}");
            // a row that seems to be of another job or round is not asked for
            let is_name =
                ["job", "run", "namespace"].contains(&column.as_str()) || (table, &*column) == ("members", "round");
            assert!(is_name || is_refused(&store, table).await, "{table}.{column}");
            db.execute(&format!("UPDATE {table} SET {column} = ?"), [before]).unwrap();
            changed += 1;
        }
        assert!(!is_refused(&store, table).await, "{table} is put right");
    }
    assert!(changed > 35, "{changed} columns");
    assert_eq!(store.verify().await.unwrap(), []);
}

#[tokio::test]
async fn a_damaged_row_is_named_by_job_and_round_and_client() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path()).await;
    let db = Connection::open(folder.path().join("jobs.db")).unwrap();
    db.execute("UPDATE members SET reason = 'holds Nan'", []).unwrap();
    let found = store.verify().await.unwrap();
    let expected = "members (job default/a, run 1, round 1, kind 0, attempt 1, client x): ";
    assert!(found.len() == 1 && found[0].problem.starts_with(expected), "{found:?}");
}

/// SQLite keeps neither NaN nor the sign of zero.
#[tokio::test]
async fn a_row_whose_numbers_sqlite_does_not_keep_is_not_blamed() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path()).await;
    for accuracy in [f64::NAN, -0.0, 1.0, f64::INFINITY, f64::MIN_POSITIVE] {
        let record = CheckpointRecord { accuracy: Some(accuracy), ..sample::checkpoint("a", "one", 1) };
        store.commit(vec![Change::PutCheckpoint(record)]).await.unwrap();
        assert_eq!(store.checkpoints(&sample::job_key("a")).await.unwrap().len(), 1, "{accuracy}");
    }
}

#[tokio::test]
async fn an_event_after_all_others_were_removed_has_a_new_id_and_is_not_blamed() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path()).await;
    store.commit(vec![Change::DeleteJob(sample::job_key("a"))]).await.unwrap();
    store.commit(vec![Change::AppendEvent(sample::event(None, "job-queued"))]).await.unwrap();
    assert_eq!(store.events(None, 0, 10).await.unwrap()[0].id, 2);
    assert_eq!(store.verify().await.unwrap(), []);
}
