//! A link beside a bare gRPC stream, both over mutual TLS between two processes: messages and calls a second,
//! latencies also while blobs flow, and what a peer that stops reading costs the server. `cargo bench -p nsfl-transport`.
//! Prints; judges nothing.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a stopwatch"
)]

mod bare;
mod dial;
mod server;
mod stopped;

use bytes::Bytes;
use futures_util::StreamExt as _;
use nsfl_store::memory::MemoryBlobStore;
use nsfl_transport::provision::{Authority, Validity};
use nsfl_transport::{BlobClient, Delivery, Link};
use nsfl_types::BlobRef;
use server::{COUNT, EXPORT, number};
use std::time::{Duration, Instant};
use time::OffsetDateTime;

const PAYLOAD: Bytes = Bytes::from_static(&[7; 64]);
/// Calls under way at once.
const IN_FLIGHT: usize = 64;
const CALLS: usize = 50_000;
const TELLS: u64 = 200_000;
const REPEATS: usize = 5;
const PATIENCE: Duration = Duration::from_secs(60);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if let Ok(folder) = std::env::var(server::FOLDER) {
        return runtime.block_on(server::run(folder.as_ref()));
    }
    let folder = tempfile::tempdir().unwrap();
    let valid = || Validity::days(OffsetDateTime::now_utc(), 1);
    let authority = Authority::create("bench", valid()).unwrap();
    dial::write(folder.path(), "ca", authority.pem());
    dial::write(folder.path(), "server", &authority.issue_server(&"server".parse().unwrap(), valid()).unwrap());
    for name in ["link", "bare", "stopped"] {
        dial::write(folder.path(), name, &authority.issue_client(&name.parse().unwrap(), valid()).unwrap());
    }
    let server = server::Process::start(folder.path());
    runtime.block_on(measure(folder.path(), &server));
}

async fn measure(folder: &std::path::Path, server: &server::Process) {
    println!("64 bytes a message, two processes, mutual TLS; medians of {REPEATS}");
    let (link, _events, blobs) = dial::link(folder, server.link).await;
    let mut bare = bare::Stream::open(folder, server.bare).await;

    let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..REPEATS {
        theirs.push(bare.calls(CALLS, IN_FLIGHT).await);
        ours.push(calls(&link).await);
        ratios.push(ours.last().unwrap() / theirs.last().unwrap());
    }
    let (ours, theirs) = (median(ours), median(theirs));
    println!(
        "calls/s, {IN_FLIGHT} under way   link {ours:>9.0}   bare stream {theirs:>9.0}   ratio {:.2}",
        median(ratios)
    );
    for delivery in [Delivery::AtMostOnce, Delivery::AtLeastOnce] {
        let mut rates = Vec::new();
        for _ in 0..REPEATS {
            rates.push(tells(&link, delivery).await);
        }
        println!("tells/s, {delivery:<14}   link {:>9.0}", median(rates), delivery = format!("{delivery:?}"));
    }
    let mut left = 5000;
    let quiet = latencies(&link, || {
        left -= 1;
        left == 0
    });
    let quiet = quiet.await;
    println!(
        "one call at a time, µs       link p50 {} p99 {}   bare stream {}",
        at(&quiet, 50),
        at(&quiet, 99),
        bare.latency().await
    );
    while_blobs_flow(&link, &blobs).await;
    stopped::measure(folder, server.link, &link).await;
}

async fn calls(link: &Link) -> f64 {
    let began = Instant::now();
    let mut answers =
        futures_util::stream::iter(0..CALLS).map(|_| link.ask(EXPORT, PAYLOAD, PATIENCE)).buffer_unordered(IN_FLIGHT);
    while let Some(answer) = answers.next().await {
        answer.unwrap();
    }
    CALLS as f64 / began.elapsed().as_secs_f64()
}

/// Messages a second until the other side has taken the last.
async fn tells(link: &Link, delivery: Delivery) -> f64 {
    let before = number(&link.ask(EXPORT, COUNT, PATIENCE).await.unwrap());
    let began = Instant::now();
    for _ in 0..TELLS {
        link.send(EXPORT, PAYLOAD, delivery, PATIENCE).await.unwrap();
    }
    while number(&link.ask(EXPORT, COUNT, PATIENCE).await.unwrap()) < before + TELLS {}
    TELLS as f64 / began.elapsed().as_secs_f64()
}

/// Sorted latencies of calls one after the other until `over`, in µs.
async fn latencies(link: &Link, mut over: impl FnMut() -> bool) -> Vec<u128> {
    let mut all = Vec::new();
    while !over() {
        let began = Instant::now();
        link.ask(EXPORT, PAYLOAD, PATIENCE).await.unwrap();
        all.push(began.elapsed().as_micros());
    }
    all.sort_unstable();
    all
}

/// Calls while blobs of 64 MiB go up and down on the blob connection.
async fn while_blobs_flow(link: &Link, blobs: &BlobClient) {
    let moving = blobs.clone();
    let flow = tokio::spawn(async move {
        for turn in 0..8_u8 {
            let bytes = Bytes::from(vec![turn; 64 << 20]);
            let (blob, store) = (BlobRef::of(&bytes), MemoryBlobStore::default());
            moving.put(blob, bytes).await.unwrap();
            moving.get(blob, &store, "link", &server::owner()).await.unwrap();
        }
    });
    let began = Instant::now();
    let busy = latencies(link, || flow.is_finished()).await;
    flow.await.unwrap();
    println!(
        "the same while 64 MiB blobs flow (memory stores), µs   p50 {} p99 {} max {}   {} calls in {:.1} s",
        at(&busy, 50),
        at(&busy, 99),
        at(&busy, 100),
        busy.len(),
        began.elapsed().as_secs_f64(),
    );
}

fn at(sorted: &[u128], percent: usize) -> u128 {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
