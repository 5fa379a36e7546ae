//! A backup of a running server in the middle of a job, restored into an empty folder, goes on to the model of an undisturbed
//! run; a backup that is damaged, newer or would overwrite something is refused. Real processes.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use nsfl_integration::{Federation, Options, Place, Signal, ctl, digits_job, fsck, said, until};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

const ROUNDS: u32 = 6;

fn start() -> Federation {
    let federation = Federation::start(&Options::default()).unwrap();
    federation.submit(&digits_job("digits", 2, ROUNDS)).unwrap();
    federation
}

fn model(federation: &Federation) -> String {
    federation.model("digits").unwrap()
}

fn backup(federation: &Federation, name: &str) -> PathBuf {
    let file = federation.folder().join(name);
    let output = ctl(federation, &["backup", file.to_str().unwrap()]);
    assert!(output.status.success(), "{}", said(&output));
    file
}

fn restore(federation: &Federation, file: &Path, folder: &Path) -> Output {
    ctl(federation, &["restore", file.to_str().unwrap(), "--data-dir", folder.to_str().unwrap()])
}

/// The server is killed, its folder lost, and the backup put in its place.
fn lose_and_restore(federation: &mut Federation, file: &Path) {
    let data = federation.data(Place::Server);
    federation.server.kill().unwrap();
    fs::remove_dir_all(&data).unwrap();
    let output = restore(federation, file, &data);
    assert!(output.status.success(), "{}", said(&output));
    let (code, report) = fsck(federation);
    assert_eq!(code, Some(0), "{report}");
}

fn state(federation: &Federation) -> String {
    let database = rusqlite::Connection::open(federation.data(Place::Server).join("nsfl.sqlite")).unwrap();
    database.query_row("SELECT state FROM jobs", [], |row| row.get(0)).unwrap()
}

/// Waits until the job waits for client 1 alone, which is frozen.
fn until_client_1_is_awaited(federation: &Federation) {
    until("client 1 alone is awaited", || {
        let rounds = federation.rest.get("/namespaces/default/jobs/digits/rounds").unwrap().body;
        (rounds["current"]["awaited"] == serde_json::json!(["c1"])).then_some(())
    });
}

#[test]
fn a_backup_in_the_middle_of_a_job_brings_it_to_the_same_model_however_far_it_went_since() {
    let expected = model(&start());
    let mut federation = start();
    federation.rest.wait_for("digits", |e| e.kind == "round-opened" && e.fields["round"] == 2).unwrap();
    federation.clients[0].signal(Signal::Stop).unwrap();
    until_client_1_is_awaited(&federation);
    let file = backup(&federation, "middle.tar");
    // an update of client 2 is in it, one of client 1 is not
    lose_and_restore(&mut federation, &file);
    assert_eq!(state(&federation), "RUNNING");
    federation.restart_server().unwrap();
    federation.clients[0].signal(Signal::Continue).unwrap();
    assert_eq!(model(&federation), expected);
    // and once more, now that both clients have handed in and forgotten everything
    lose_and_restore(&mut federation, &file);
    assert_eq!(state(&federation), "RUNNING");
    federation.restart_server().unwrap();
    assert_eq!(model(&federation), expected);
}

#[test]
fn backups_taken_one_after_the_other_while_rounds_open_and_close_can_each_be_restored() {
    let mut federation = Federation::start(&Options::default()).unwrap();
    federation.submit(&digits_job("digits", 2, 30)).unwrap();
    federation.rest.wait_for("digits", |e| e.kind == "round-opened").unwrap();
    let mut files = Vec::new();
    while files.len() < 8 {
        files.push(backup(&federation, &format!("{}.tar", files.len())));
    }
    let expected = model(&federation);
    // each is clean; the first goes on to the end
    for file in files.iter().rev() {
        lose_and_restore(&mut federation, file);
    }
    federation.restart_server().unwrap();
    assert_eq!(model(&federation), expected);
}

#[test]
fn a_backup_that_is_damaged_or_cut_or_in_the_way_is_refused_and_nothing_is_touched() {
    let federation = start();
    model(&federation);
    let file = backup(&federation, "whole.tar");
    let target = federation.folder().join("restored");
    let bytes = fs::read(&file).unwrap();
    let bad = federation.folder().join("bad.tar");
    let refused = |bytes: &[u8]| {
        fs::write(&bad, bytes).unwrap();
        let output = restore(&federation, &bad, &target);
        assert_eq!(output.status.code(), Some(6), "{}", said(&output));
        assert!(said(&output).contains("damaged or not whole"), "{}", said(&output));
        assert_eq!(fs::read_dir(&target).unwrap().count(), 0);
    };
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 1;
    refused(&flipped);
    refused(&bytes[..bytes.len() / 2]);
    // a folder with something in it, such as a running server's
    let output = restore(&federation, &file, &federation.data(Place::Server));
    assert_eq!((output.status.code(), said(&output).contains("is not empty")), (Some(2), true), "{}", said(&output));
    // a backup of that name
    let output = ctl(&federation, &["backup", file.to_str().unwrap()]);
    assert_eq!((output.status.code(), said(&output).contains("exists")), (Some(2), true), "{}", said(&output));
    assert_eq!(fs::read(&file).unwrap(), bytes);
    // a server that is not there
    let other = federation.folder().join("other.tar");
    let output = ctl(&federation, &["--server", "http://127.0.0.1:1", "backup", other.to_str().unwrap()]);
    assert_eq!((output.status.code(), other.exists()), (Some(3), false), "{}", said(&output));
}

#[test]
fn a_restore_that_was_interrupted_is_not_taken_for_a_servers_state() {
    let mut federation = start();
    federation.server.kill().unwrap();
    fs::create_dir(federation.data(Place::Server).join(".restoring")).unwrap();
    let error = federation.restart_server().unwrap_err().to_string();
    assert!(error.contains("exit status: 4") && error.contains("restore was interrupted"), "{error}");
}

#[test]
fn a_backup_costs_the_server_little_memory_and_a_killed_one_leaves_nothing() {
    const MEGABYTES: usize = 96;
    let mut federation = Federation::start(&Options { clients: 0, ..Options::default() }).unwrap();
    let large = federation.stored("models/large");
    fs::create_dir_all(large.parent().unwrap()).unwrap();
    fs::write(&large, vec![7; MEGABYTES << 20]).unwrap();
    let peak = |pid: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() >> 10
    };
    let before = peak(federation.server.pid());
    let file = backup(&federation, "large.tar");
    assert!(fs::metadata(&file).unwrap().len() > (MEGABYTES as u64) << 20);
    let grown = peak(federation.server.pid()) - before;
    assert!(grown < 24, "{grown} MB for a backup of {MEGABYTES} MB");
    // nobody reads on: the server is killed while it waits
    let rest = federation.server.ready["rest"].as_str().unwrap();
    let mut reader = std::net::TcpStream::connect(rest).unwrap();
    std::io::Write::write_all(&mut reader, b"GET /api/v1/backup HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    std::io::Read::read_exact(&mut reader, &mut [0; 1000]).unwrap();
    let second = ctl(&federation, &["backup", federation.folder().join("second.tar").to_str().unwrap()]);
    assert_eq!(second.status.code(), Some(1), "{}", said(&second));
    assert!(said(&second).contains("another backup is being taken"), "{}", said(&second));
    let staging = federation.data(Place::Server).join("backup");
    assert_eq!(fs::read_dir(&staging).unwrap().count(), 1);
    federation.server.kill().unwrap();
    federation.restart_server().unwrap();
    assert!(!staging.exists());
}
