//! What an earlier version has stored is read by this one: a server's whole state in the middle of a job (database, snapshots,
//! blobs, storage, in a backup of that version) goes on to the model it would have had.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use nsfl_integration::{Federation, Options, Place, Signal, echo_job};
use serde_json::json;
use std::path::PathBuf;

/// Where a version's state is kept, and the digest of the model its job ends with. The echo trainer adds and nothing else, so
/// that every machine comes to the same bits.
const VERSIONS: [(&str, &str); 2] = [
    ("server.1.tar", "646d230a20431503ceaa58b578fd130f2d4b86de9511282d44585bd9d935168b"),
    // database schema 3: each record has a checksum
    ("server.2.tar", "646d230a20431503ceaa58b578fd130f2d4b86de9511282d44585bd9d935168b"),
];

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden").join(name)
}

#[test]
fn a_servers_state_of_each_version_in_the_middle_of_a_job_goes_on_to_the_model_it_would_have_had() {
    for (name, sha256) in VERSIONS {
        let mut federation = Federation::start(&Options { clients: 0, ..Options::default() }).unwrap();
        federation.server.kill().unwrap();
        let data = federation.data(Place::Server);
        std::fs::remove_dir_all(&data).unwrap();
        nsfl_backup::restore(std::fs::File::open(golden(name)).unwrap(), &data).unwrap();
        federation.restart_server().unwrap();
        let before = federation.rest.events("golden").unwrap().find(|e| e.kind == "round-closed").unwrap();
        assert_eq!(before.fields["round"], 1, "what happened before is there");
        federation.clients = vec![federation.client(1).unwrap(), federation.client(2).unwrap()];
        assert_eq!(federation.model("golden").unwrap(), sha256, "{name}");
    }
}

/// Run by hand when the form of anything stored changes: then the archive gets the next number, and the older ones stay.
#[test]
#[ignore = "makes the golden archive of this version"]
fn make() {
    let federation = Federation::start(&Options::default()).unwrap();
    let mut job = echo_job("golden", 2, 4, 0.002);
    job["hyper_parameters"]["save_interval"] = json!(1);
    federation.submit(&job).unwrap();
    federation.rest.wait_for("golden", |e| e.kind == "round-opened" && e.fields["round"] == 2).unwrap();
    federation.clients[0].signal(Signal::Stop).unwrap();
    while federation.rest.get("/namespaces/default/jobs/golden/rounds").unwrap().body["current"]["awaited"]
        != json!(["c1"])
    {}
    federation.rest.download("/backup", &golden("server.2.tar")).unwrap();
    federation.clients[0].signal(Signal::Continue).unwrap();
    std::fs::write(golden("server.2.sha256"), federation.model("golden").unwrap()).unwrap();
}
