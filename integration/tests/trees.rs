//! What a task has started ends with it: the node's own keeper, and a client that finds what an earlier life has left.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use nsfl_integration::{Federation, Options, Place, binary};
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};

#[test]
fn the_nodes_keeper_ends_all_that_a_command_has_started_when_its_daemon_is_gone() {
    let script = "env -i setsid sh -c '(setsid sleep 100000 &)'; echo ready; sleep 100000";
    let mut keeper = Command::new(binary("nsfl-node").unwrap())
        .args(["keep", "--", "sh", "-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(keeper.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    drop(keeper.stdin.take());
    // the end of the output is that of the last process that holds it
    output.read_to_end(&mut Vec::new()).unwrap();
    assert_eq!(keeper.wait().unwrap().signal(), Some(9));
}

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
