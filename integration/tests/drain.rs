//! SIGTERM ends a node orderly within `shutdown_ms`, whatever hangs: a frozen peer, a frozen trainer, requests that are never
//! finished and streams that nobody reads. Afterwards the job goes on. Real processes.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use nsfl_integration::{Federation, Options, Place, Signal, digits_job, is_there, trainer, until};
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// What the nodes of these tests are given.
const SHUTDOWN_MS: u64 = 3000;
/// From the end of the actors' time to that of the process: this much is not the node's.
const SLACK: Duration = Duration::from_millis(1500);

fn start(place: Place, epochs: u32) -> Federation {
    let env = Some((place, vec![("NSFL_SHUTDOWN_MS", SHUTDOWN_MS.to_string())]));
    let federation = Federation::start(&Options { env, ..Options::default() }).unwrap();
    let mut job = digits_job("digits", 2, 2);
    job["parameters"]["epochs"] = json!(epochs);
    federation.submit(&job).unwrap();
    federation
}

fn within_its_time(begun: Instant) {
    let took = begun.elapsed();
    assert!(took < Duration::from_millis(SHUTDOWN_MS) + SLACK, "it took {took:?}");
}

#[test]
fn a_server_ends_in_its_time_beside_frozen_clients_and_requests_that_hang() {
    let mut federation = start(Place::Server, 1);
    federation.rest.wait_for("digits", |e| e.kind == "round-opened").unwrap();
    federation.clients.iter().for_each(|client| client.signal(Signal::Stop).unwrap());
    let rest = federation.server.ready["rest"].as_str().unwrap();
    let ask = |text: &str| {
        let mut stream = TcpStream::connect(rest).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        stream
    };
    let events = "/api/v1/namespaces/default/jobs/digits/events";
    let mut followed = ask(&format!("GET {events} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"));
    followed.read_exact(&mut [0; 64]).unwrap();
    let half = "PUT /api/v1/namespaces/default/files/half HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nhalf of it";
    let _half = ask(half);
    let begun = Instant::now();
    federation.server.signal(Signal::Terminate).unwrap();
    assert_eq!(federation.server.wait().unwrap().code(), Some(0));
    within_its_time(begun);
    federation.restart_server().unwrap();
    federation.clients.iter().for_each(|client| client.signal(Signal::Continue).unwrap());
    federation.model("digits").unwrap();
}

#[test]
fn a_client_ends_in_its_time_beside_a_frozen_server_and_a_frozen_trainer_and_takes_it_along() {
    let mut federation = start(Place::Client(1), 400);
    let client = federation.clients[0].pid();
    let pid = until("a trainer", || trainer(client));
    let raw = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(raw, rustix::process::Signal::STOP).unwrap();
    federation.server.signal(Signal::Stop).unwrap();
    let begun = Instant::now();
    federation.clients[0].signal(Signal::Terminate).unwrap();
    assert_eq!(federation.clients[0].wait().unwrap().code(), Some(0));
    within_its_time(begun);
    // one that is killed may take a moment longer to be gone than its daemon
    until("the trainer's end", || (!is_there(pid)).then_some(()));
    federation.server.signal(Signal::Continue).unwrap();
    federation.clients[0] = federation.client(1).unwrap();
    federation.model("digits").unwrap();
}
