//! Disks that fill up under a running job: a clear error, nothing lost, and the model of an undisturbed run once there is
//! room again.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test ends at the first surprise and says what it skips"
)]

use nsfl_integration::faults::Story;
use nsfl_integration::{Federation, Options, Place, SmallDisk, digits_job};

const ROUNDS: u32 = 8;

fn undisturbed() -> String {
    let job = digits_job("digits", 2, ROUNDS);
    Story::begin(Federation::start(&Options::default()).unwrap(), &job).undisturbed().unwrap()
}

fn small_disk() -> Option<SmallDisk> {
    SmallDisk::mount(24).map_err(|error| eprintln!("skipped: {error:#}")).ok()
}

/// Lets the disk of `place` be full from the third round on until its log says so.
fn filled(place: Place, disk: &SmallDisk) -> String {
    let options = Options { data: vec![(place, disk.path().join("data"))], ..Options::default() };
    let mut story = Story::begin(Federation::start(&options).unwrap(), &digits_job("digits", 2, ROUNDS));
    let (mut full, mut said) = (false, false);
    let digest = story.to_its_end(|story| {
        let round = story.last.as_ref().map_or(0, |(_, event)| event.fields["round"].as_u64().unwrap_or(0));
        let log = match place {
            Place::Server => &story.federation.server.log,
            Place::Client(number) => &story.federation.clients[number - 1].log,
        };
        if !full && !said && round >= 3 {
            full = true;
            disk.fill()?;
        }
        if full && std::fs::read_to_string(log)?.contains("disk full") {
            (full, said) = (false, true);
            assert_eq!(story.federation.rest.get("/health")?.status, 200, "the server answers all the while");
            disk.free()?;
        }
        Ok(())
    });
    assert!(said, "the disk was full and nobody said so: {digest:?}");
    digest.unwrap()
}

#[test]
fn a_servers_full_disk_is_said_clearly_and_costs_nothing_once_there_is_room_again() {
    let Some(disk) = small_disk() else { return };
    assert_eq!(filled(Place::Server, &disk), undisturbed());
}

#[test]
fn a_clients_full_disk_is_said_clearly_and_costs_nothing_once_there_is_room_again() {
    let Some(disk) = small_disk() else { return };
    assert_eq!(filled(Place::Client(1), &disk), undisturbed());
}

#[test]
fn a_server_that_finds_its_disk_full_ends_with_code_5_and_starts_when_there_is_room() {
    let Some(disk) = small_disk() else { return };
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
