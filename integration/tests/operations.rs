//! What an operator relies on: an orderly end leaves nothing to be replayed, `fsck` finds what is wrong in real data
//! folders, a newer version's state is left alone, and one job's damage is no other job's business.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use nsfl_integration::{Federation, Options, Signal, digits_job, fsck, node};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// More rounds than any test waits for: the job is still at work when its server is told to end.
const ENDLESS: u32 = 100_000;

/// A server that was told to end in the middle of a job, in its second round or a later one.
fn stopped_in_the_middle() -> Federation {
    let mut federation = Federation::start(&Options::default()).unwrap();
    federation.submit(&digits_job("digits", 2, ENDLESS)).unwrap();
    federation.rest.wait_for("digits", |e| e.kind == "update-accepted" && e.fields["round"] == 2).unwrap();
    end(&mut federation);
    federation
}

fn end(federation: &mut Federation) {
    federation.server.signal(Signal::Terminate).unwrap();
    assert_eq!(federation.server.wait().unwrap().code(), Some(0));
}

fn database(federation: &Federation) -> PathBuf {
    federation.folder().join("server/nsfl.sqlite")
}

fn change(federation: &Federation, sql: &str) {
    let changed = rusqlite::Connection::open(database(federation)).unwrap().execute(sql, []).unwrap();
    assert_eq!(changed, 1, "{sql}");
}

fn objects(federation: &Federation) -> Vec<PathBuf> {
    let shards = fs::read_dir(federation.folder().join("server/blobs/objects")).unwrap();
    shards.flat_map(|shard| fs::read_dir(shard.unwrap().path()).unwrap()).map(|file| file.unwrap().path()).collect()
}

/// Changes an object where it lies, so that what refers to it still does.
fn alter(object: &Path, how: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let before = fs::read(object).unwrap();
    let mut bytes = before.clone();
    how(&mut bytes);
    fs::set_permissions(object, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(object, bytes).unwrap();
    before
}

#[test]
fn a_server_told_to_end_leaves_no_log_to_be_replayed() {
    let federation = stopped_in_the_middle();
    let log = fs::metadata(database(&federation).with_extension("sqlite-wal")).map_or(0, |log| log.len());
    assert_eq!(log, 0);
}

#[test]
fn a_data_folder_stopped_in_the_middle_of_a_job_is_clean_and_each_damage_is_named() {
    let federation = stopped_in_the_middle();
    let (code, report) = fsck(&federation);
    assert_eq!((code, &report["clean"]), (Some(0), &true.into()), "{report}");
    // what was left over at the end belongs to nobody: to lose it is no damage
    let left_over = report["findings"].to_string();
    let name_of = |object: &Path| object.file_name().unwrap().to_str().unwrap().to_owned();
    let object = objects(&federation).into_iter().find(|object| !left_over.contains(&name_of(object))).unwrap();
    let name = name_of(&object);
    let damaged = |what: &str| {
        let (code, report) = fsck(&federation);
        assert_eq!(code, Some(4), "{what}: {report}");
        assert!(report["findings"].to_string().contains(&name), "{what}: {report}");
    };
    let whole = alter(&object, |bytes| bytes[0] ^= 1);
    damaged("a flipped bit");
    alter(&object, |bytes| bytes.truncate(10));
    damaged("a truncated object");
    alter(&object, |bytes| *bytes = whole);
    assert_eq!(fsck(&federation).0, Some(0), "put right again");
    fs::remove_file(&object).unwrap();
    damaged("a missing object");
}

#[test]
fn a_damaged_database_and_a_folder_in_use_have_exit_codes_of_their_own() {
    let mut federation = stopped_in_the_middle();
    federation.restart_server().unwrap();
    assert_eq!(fsck(&federation).0, Some(6));
    end(&mut federation);
    fs::write(database(&federation), [0x55; 8192]).unwrap();
    let (code, report) = fsck(&federation);
    assert_eq!(code, Some(4), "{report}");
    assert!(report["findings"].to_string().contains("nsfl.sqlite"), "{report}");
}

#[test]
fn a_finished_jobs_folders_are_clean_and_a_changed_checkpoint_is_named() {
    let mut federation = Federation::start(&Options::default()).unwrap();
    federation.submit(&digits_job("digits", 2, 2)).unwrap();
    federation.rest.wait_until_at_rest("digits").unwrap();
    end(&mut federation);
    federation.clients[0].signal(Signal::Terminate).unwrap();
    assert_eq!(federation.clients[0].wait().unwrap().code(), Some(0));
    assert_eq!(fsck(&federation).0, Some(0));
    let client = federation.folder().join("c1.toml");
    let output = node(&["fsck", "client", "--config", client.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    alter(&federation.stored("out/fl_digits_output_V1/checkpoint_2.safetensors"), |bytes| bytes[100] ^= 1);
    let (code, report) = fsck(&federation);
    assert_eq!(code, Some(4), "{report}");
    assert!(report["findings"].to_string().contains("checkpoint_2.safetensors"), "{report}");
}

#[test]
fn a_run_of_a_newer_version_keeps_the_server_from_starting_and_is_left_as_it_is() {
    let federation = stopped_in_the_middle();
    let newer = r#"UPDATE runs SET snapshot = CAST('{"version":99,"machine":{}}' AS BLOB)"#;
    change(&federation, newer);
    let config = federation.folder().join("server.toml");
    let output = node(&["server", "--until-stdin-closes", "--config", config.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("version 99") && said.contains("install"), "{said}");
    let state: String = rusqlite::Connection::open(database(&federation))
        .unwrap()
        .query_row("SELECT state FROM jobs", [], |row| row.get(0))
        .unwrap();
    assert_ne!(state, "FAILED");
}

#[test]
fn a_job_whose_snapshot_is_damaged_fails_with_its_causes_and_the_other_job_ends() {
    let mut federation = stopped_in_the_middle();
    change(&federation, "UPDATE runs SET snapshot = CAST('rubbish' AS BLOB)");
    federation.restart_server().unwrap();
    federation.submit(&digits_job("other", 2, 2)).unwrap();
    let failed = federation.rest.wait_until_at_rest("digits").unwrap();
    assert_eq!(failed["status"]["state"], "FAILED", "{failed}");
    let reason = failed["status"]["reason"].as_str().unwrap();
    assert!(reason.contains("the snapshot of a run machine cannot be read: "), "{reason}");
    assert_eq!(federation.rest.wait_until_at_rest("other").unwrap()["status"]["state"], "FINISHED");
}
