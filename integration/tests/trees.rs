//! What a task has started ends with it, also when its wardens were killed: a client finds what an earlier life has left.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use nsfl_integration::{Federation, Options, Place};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};

#[test]
fn a_client_kills_what_the_tasks_of_an_earlier_life_have_left() {
    let mut federation = Federation::start(&Options { clients: 1, ..Options::default() }).unwrap();
    federation.clients[0].kill().unwrap();
    let folder = federation.data(Place::Client(1)).join("workspace/a-task");
    let mut left =
        Command::new("sleep").arg("100000").env("NSFL_TASK_TREE", folder).stdin(Stdio::null()).spawn().unwrap();
    federation.clients[0] = federation.client(1).unwrap();
    assert_eq!(left.wait().unwrap().signal(), Some(9));
}
