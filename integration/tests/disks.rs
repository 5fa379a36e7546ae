//! Disks that fill up under a running job: a clear error, nothing lost. More of it is in the fault matrix.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test ends at the first surprise and says what it skips"
)]

use nsfl_integration::faults::{Expected, Ground, full_disk};
use nsfl_integration::{Federation, Options, Place, SmallDisk, binary};

fn costs_nothing(place: Place) {
    let program = binary("nsfl-node").unwrap();
    match full_disk(&Ground { expected: Expected::new(program.clone()), program }, place) {
        Ok(outcome) => assert_eq!(outcome.sha256, outcome.expected),
        Err(error) if error.to_string().starts_with("skipped: ") => eprintln!("{error}"),
        Err(error) => panic!("{error:#}"),
    }
}

#[test]
fn a_servers_full_disk_is_said_clearly_and_the_job_goes_on_once_there_is_room_again() {
    costs_nothing(Place::Server);
}

#[test]
fn a_clients_full_disk_is_said_clearly_and_the_job_goes_on_once_there_is_room_again() {
    costs_nothing(Place::Client(1));
}

#[test]
fn a_server_that_finds_its_disk_full_ends_with_code_5_and_starts_when_there_is_room() {
    let disk = match SmallDisk::mount(24) {
        Ok(disk) => disk,
        Err(error) => return eprintln!("skipped: {error:#}"),
    };
    let options = Options { clients: 0, data: vec![(Place::Server, disk.path().join("data"))], ..Options::default() };
    let mut federation = Federation::start(&options).unwrap();
    federation.server.kill().unwrap();
    std::fs::remove_dir_all(disk.path().join("data")).unwrap();
    disk.fill().unwrap();
    let error = federation.restart_server().unwrap_err().to_string();
    assert!(error.contains("exit status: 5") && error.contains("disk full"), "{error}");
    disk.free().unwrap();
    federation.restart_server().unwrap();
}
