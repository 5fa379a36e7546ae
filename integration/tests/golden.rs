//! What an earlier version has stored is read by this one: a server's whole state in the middle of a job (database, snapshots,
//! blobs, storage, in a backup of that version), and that of a client with a result that it has not handed in, go on to the
//! model there would have been.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use nsfl_integration::{Federation, Options, Place, Signal, echo_job, until};
use serde_json::json;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The digest of the model the job ends with. The echo trainer adds and nothing else, so that every machine comes to the
/// same bits.
const SHA256: &str = "646d230a20431503ceaa58b578fd130f2d4b86de9511282d44585bd9d935168b";
/// Where each version's state of a server is kept.
const SERVERS: [&str; 2] = [
    "server.1.tar",
    // database schema 3: each record has a checksum
    "server.2.tar",
];
/// Servers with the client `c1` that was taken from them with the result of round 2 in hand.
const PAIRS: [(&str, &str); 3] = [
    ("server.3.tar", "client.3.tar.gz"),
    // database schema 5, snapshots 2: tasks may outlive their round
    ("server.4.tar", "client.4.tar.gz"),
    // database schema 6: when members came to each step of their way; wire version 4
    ("server.5.tar", "client.5.tar.gz"),
];

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden").join(name)
}

/// Its server has this state, and no client is there yet.
fn federation(archive: &str) -> Federation {
    let mut federation = Federation::start(&Options { clients: 0, ..Options::default() }).unwrap();
    federation.server.kill().unwrap();
    let data = federation.data(Place::Server);
    std::fs::remove_dir_all(&data).unwrap();
    nsfl_backup::restore(File::open(golden(archive)).unwrap(), &data).unwrap();
    federation.restart_server().unwrap();
    federation
}

fn join_two(federation: &mut Federation) {
    federation.clients = vec![federation.client(1).unwrap(), federation.client(2).unwrap()];
}

fn tar(args: &[&str], folder: &Path) {
    assert!(Command::new("tar").args(args).arg("-C").arg(folder).arg(".").status().unwrap().success());
}

#[test]
fn a_servers_state_of_each_version_in_the_middle_of_a_job_goes_on_to_the_model_it_would_have_had() {
    for archive in SERVERS {
        let mut federation = federation(archive);
        let before = federation.rest.events("golden").unwrap().find(|e| e.kind == "round-closed").unwrap();
        assert_eq!(before.fields["round"], 1, "what happened before is there");
        join_two(&mut federation);
        assert_eq!(federation.model("golden").unwrap(), SHA256, "{archive}");
    }
}

#[test]
fn a_clients_state_of_each_version_with_a_result_in_hand_hands_it_in_and_trains_nothing_twice() {
    for (server, client) in PAIRS {
        let mut federation = federation(server);
        let data = federation.data(Place::Client(1));
        std::fs::create_dir_all(&data).unwrap();
        tar(&["-xzf", golden(client).to_str().unwrap()], &data);
        join_two(&mut federation);
        assert_eq!(federation.model("golden").unwrap(), SHA256, "{client}");
        let log = std::fs::read_to_string(&federation.clients[0].log).unwrap();
        assert_eq!(log.matches("trainer starts").count(), 2, "of rounds 3 and 4 only: {log}");
    }
}

/// Run by hand when the form of anything stored changes: then the archives get the next number, and the older ones stay.
#[test]
#[ignore = "makes the golden archives of this version"]
fn make() {
    let mut federation = Federation::start(&Options::default()).unwrap();
    let mut job = echo_job("golden", 2, 4, 0.002);
    job["hyper_parameters"]["save_interval"] = json!(1);
    federation.submit(&job).unwrap();
    let folder = federation.data(Place::Client(1)).join("workspace/default+golden+r1.2.1.train");
    until("the training of round 2", || folder.exists().then_some(()));
    federation.clients[0].signal(Signal::Stop).unwrap();
    let awaited = || federation.rest.get("/namespaces/default/jobs/golden/rounds").unwrap().body["current"].clone();
    until("round 2 that waits for c1 alone", || {
        let current = awaited();
        (current["round"] == 2 && current["awaited"] == json!(["c1"])).then_some(())
    });
    federation.rest.download("/backup", &golden("server.5.tar")).unwrap();
    federation.server.kill().unwrap();
    federation.clients[0].signal(Signal::Continue).unwrap();
    let has_tried = || federation.clients[0].has_said("result not uploaded").unwrap();
    until("a result that cannot be handed in", || has_tried().then_some(()));
    let c1 = &mut federation.clients[0];
    c1.signal(Signal::Terminate).unwrap();
    assert!(c1.wait().unwrap().success());
    let config = federation.folder().join("c1.toml");
    let checked = nsfl_integration::node(&["fsck", "client", "--json", "--config", config.to_str().unwrap()]);
    let checked: serde_json::Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!(checked["checked"]["tasks"], 1, "{checked}");
    tar(&["-czf", golden("client.5.tar.gz").to_str().unwrap()], &federation.data(Place::Client(1)));
}
